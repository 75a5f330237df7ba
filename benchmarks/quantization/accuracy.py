"""What quantized models get right on real data: the demo's recordings, and the words of g2p-en."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import grurt
from benchmarks.tables import markdown_table
from grurt.demo import load_model, load_recordings
from grurt.quantization import loss

SPELL = Path(__file__).parents[2] / "examples" / "g2p" / "spell.py"

SECONDS = (1, 2, 10)


def demo_table() -> str:
    """Return the table of the demo's network: calibrated with every second recording, measured on the others."""
    model, recordings = load_model(), load_recordings()
    known, samples, labels = recordings.samples[::2], recordings.samples[1::2], recordings.labels[1::2]
    rows = []
    for name, quantized in _variants(model, known):
        answers = quantized.run(samples).argmax(axis=-1)
        rate = int(recordings.sample_rate)
        right = [f"{(answers[:, rate * second - 1] == labels).mean():.0%}" for second in SECONDS]
        cells = [f"{_bytes(quantized):,}", *right, f"{(answers == labels[:, np.newaxis]).mean():.2%}"]
        if quantized is not model:
            (output,) = loss(model, quantized, samples, steps=1).outputs
            cells += [f"{output.decibels:.1f}", f"{output.largest:.4f}", f"{output.agreement:.2%}"]
        rows.append([name, *cells, *[""] * (8 - len(cells))])
    after = [f"right after {second} s" for second in SECONDS]
    head = ["the demo", "bytes of weights", *after, "of all answers", "dB", "largest error", "same answer as float32"]
    return markdown_table(head, rows)


def phoneme_table() -> str | None:
    """Return the table of g2p-en's network, calibrated with every second word; None if the package is not there."""
    spec = importlib.util.find_spec("g2p_en")
    if spec is None or spec.origin is None:
        return None
    spell = _load(SPELL)
    words = SPELL.with_name("words.txt").read_text(encoding="utf-8").lower().split()
    encoder, decoder = spell.convert_checkpoint(Path(spec.origin).with_name("checkpoint20.npz"))
    speller = spell.Speller(encoder, decoder)
    expected = {word: speller.predict(word) for word in words}
    letters = [np.array([*(spell.GRAPHEMES.index(letter) for letter in word), 2]) for word in words[::2]]
    spoken = [np.array([spell.START, *expected[word]]) for word in words[::2]]
    rows = []
    for (name, small_encoder), (_, small_decoder) in zip(
        _variants(encoder, letters), _variants(decoder, spoken), strict=True
    ):
        found = spell.Speller(small_encoder, small_decoder)
        tested = words[1::2]
        same = sum(found.predict(word) == expected[word] for word in tested)
        alike = np.mean([_agreement(found.predict(word), expected[word]) for word in tested])
        rows.append(
            [name, f"{_bytes(small_encoder) + _bytes(small_decoder):,}", f"{same} of {len(tested)}", f"{alike:.2%}"]
        )
    return markdown_table(["g2p-en", "bytes of weights", "words spelt as by float32", "phonemes in their places"], rows)


def _variants(model: grurt.Model, known: Any) -> list[tuple[str, grurt.Model]]:
    return [
        ("float32", model),
        ("float16", model.quantize("float16")),
        ("int8", model.quantize("int8")),
        ("int8, calibrated", model.quantize("int8", calibration=known)),
        ("int4", model.quantize("int4")),
        ("int4, calibrated", model.quantize("int4", calibration=known)),
    ]


def _bytes(model: grurt.Model) -> int:
    return sum(array.nbytes for array in model.weights.values())


def _agreement(found: Sequence[int], expected: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(found, expected, strict=False)) / max(len(found), len(expected), 1)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
