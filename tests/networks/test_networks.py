"""Networks that the scripts of examples/networks have trained give the answers of their frameworks.

The files and the answers are what the scripts write with ``--output``: see data/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grurt
from grurt.converters import convert

DATA = Path(__file__).with_name("data")
TOLERANCE = 2e-6
Array = np.ndarray[Any, np.dtype[Any]]


def stored(name: str) -> dict[str, Array]:
    with np.load(DATA / f"{name}.npz") as arrays:
        return dict(arrays)


def model_of(file: str, **options: Any) -> grurt.Model:
    return convert(DATA / file, reference=False, **options)


def expect_near(found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    """Compare in parts of the largest answer, where that is above 1."""
    assert np.shape(found) == np.shape(expected)
    assert np.abs(found - expected).max() <= tolerance * max(1, np.abs(expected).max())


def expect_streamed(model: grurt.Model, xs: Array, expected: Array) -> None:
    """A stream gives the framework's answers one by one, and in blocks the same bits."""
    stream = model.stream()
    answers = np.array([stream.step(x) for x in xs])
    expect_near(answers, expected)
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.run(xs[:3]), stream.run(xs[3:])]), answers)


def share_alike(one: Array, other: Array) -> float:
    return float(np.mean(one == other))


def test_a_sine_goes_on() -> None:
    data, model, functional = stored("sine"), model_of("sine.keras"), model_of("sine_functional.keras")
    expect_near(model.run(data["windows"]), data["expected"])
    np.testing.assert_array_equal(functional.run(data["windows"]), model.run(data["windows"]))
    stream = model.stream()
    stream.run(data["history"][:-1])
    ahead = stream.forecast(len(data["ahead"]), data["history"][-1])
    expect_near(ahead, data["ahead"], 1e-5)  # sixty answers of which each is read, in float32 there as here
    assert np.abs(model.quantize("int8").run(data["windows"]) - data["expected"]).max() < 0.05


def test_sunspots_are_rolled_out() -> None:
    """The rollout of the stored model is that of Keras, whose scaling is a part of it."""
    data, model = stored("rollout"), model_of("rollout.keras")
    expect_near(model.run(data["windows"]), data["expected"])
    expect_streamed(model, data["windows"][3], data["expected"][3])
    stream = model.stream()
    stream.run(data["known"][:-1])
    expect_near(stream.forecast(len(data["ahead"]), data["known"][-1]), data["ahead"], 1e-5)


@pytest.mark.parametrize("padding", ["in front", "behind", "none"])
def test_reviews_with_words_that_nobody_knows(padding: str) -> None:
    data = json.loads((DATA / "sentiment.json").read_text())
    model = model_of("sentiment.keras")
    words = grurt.Vocabulary(tokens=tuple(data["words"]), lowercase=True, removed=".,!?", unknown=1, padding=0)
    model = model.replaced(vocabularies={model.inputs[0].name: words})
    assert any((words.encode(text) == words.unknown).any() for text in data["texts"])
    for text, answer in zip(data["texts"], data["answers"], strict=True):
        tokens, zeros = words.encode(text), np.zeros(5, np.int64)
        if padding == "none":
            assert abs(model.run_text(text.title() + "!")[0] - answer) < TOLERANCE
            assert abs(model.stream().run(text)[-1, 0] - answer) < TOLERANCE
        else:
            padded = np.concatenate([zeros, tokens] if padding == "in front" else [tokens, zeros])
            assert abs(model.run(padded)[0] - answer) < TOLERANCE


def test_bits_are_labelled_as_long_as_they_come() -> None:
    data, model = stored("bits"), model_of("bits.keras")
    expect_near(model.run(data["bits"]), data["expected"])
    expect_streamed(model, data["bits"][0], data["expected"][0])
    bits, remainder, labels = np.random.default_rng(5).integers(0, 2, 5000), 0, []
    for bit in bits.tolist():
        remainder = (2 * remainder + bit) % 3
        labels.append(remainder == 0)
    for each in (model, model.quantize("int8")):
        answers = each.stream().run(bits[:, np.newaxis].astype(np.float32))[:, 0]
        np.testing.assert_array_equal(answers > 0.5, labels)


def test_digits_are_read_row_by_row() -> None:
    data, model = stored("digits"), model_of("digits.onnx")
    expect_near(model.run(data["images"]), data["expected"])
    expect_near(np.array([model.stream().run(image)[-1] for image in data["images"]]), data["expected"])
    small = model.quantize("int8").run(data["images"])
    assert share_alike(small.argmax(axis=1), data["expected"].argmax(axis=1)) > 0.95
    assert share_alike(small.argmax(axis=1), data["labels"]) > 0.9


def test_names_end_where_they_end() -> None:
    data, model = stored("lengths"), model_of("lengths.onnx")
    tokens, lengths = data["tokens"], data["lengths"]
    expect_near(model.run({"tokens": tokens, "lengths": lengths})["y"], data["expected"])
    expect_near(model.run(tokens, lengths=lengths), data["expected"])
    ends = [model.stream().run(row[:n])[-1] for row, n in zip(tokens, lengths, strict=True)]
    expect_near(np.array(ends), data["expected"])
    pool = model.pool(len(tokens))
    rows = np.concatenate([row[:n] for row, n in zip(tokens, lengths, strict=True)])
    found = pool.run_ragged(np.arange(len(tokens)), rows, lengths)
    np.testing.assert_array_equal(found[np.cumsum(lengths) - 1], np.array(ends))


def test_dna_is_labelled_in_both_directions() -> None:
    data, model = stored("dna"), model_of("dna.pt", layers="embedding(embedding), gru, fc:sigmoid")
    found = model.run(data["tokens"], lengths=data["lengths"])[..., 0]
    expect_near(found, data["expected"], 1e-5)  # the network amplifies rounding: PyTorch itself is off by 2.5e-6
    inside = np.arange(found.shape[1]) < data["lengths"][:, np.newaxis]
    assert share_alike(found[inside] > 0.5, data["wanted"][inside] > 0.5) > 0.95
    assert "reverse" in str(model.unstreamable_reason)


LETTERS = grurt.Vocabulary(tokens=("", *"abcdefghijklmnopqrstuvwxyz0123456789 ,."), split="characters", padding=0)
SYMBOLS = grurt.Vocabulary(tokens=("<", ">", *"0123456789-"), split="characters", start=0, end=1)
ATTENTION = {"imported": "literal", "context": ["memory"], "size": {"letters": 32}}


@pytest.mark.parametrize("name", ["dates", "dates_attention"])
def test_dates_are_translated(name: str) -> None:
    options, inputs = ({}, {"memory": "y"}) if name == "dates" else (ATTENTION, {})
    encoder = model_of(f"{name}_encoder.pt", layers="embedding(embedding), encoder")
    encoder = encoder.replaced(vocabularies={encoder.inputs[0].name: LETTERS})
    decoder = model_of(f"{name}_decoder.onnx", **options).replaced(vocabularies={"symbol": SYMBOLS})
    dates = json.loads((DATA / f"{name}.json").read_text())
    translator = grurt.Translator(encoder, decoder, inputs=inputs)
    small = grurt.Translator(encoder.quantize("int8"), decoder.quantize("int8"), inputs=inputs)
    for each in dates:
        found = translator(each["date"], max_tokens=11)
        assert found.tokens.tolist() == each["symbols"]
        assert found.text == SYMBOLS.decode(each["symbols"])
        assert translator(each["date"], beam=4, max_tokens=11).score >= found.score - TOLERANCE
    alike = [small(each["date"], max_tokens=11).tokens.tolist() == each["symbols"] for each in dates]
    assert np.mean(alike) > 0.9


def test_names_are_those_that_pytorch_draws() -> None:
    """Two hundred names that the same uniform numbers draw with PyTorch's probabilities, at temperature 0.8."""
    data, model = stored("characters"), model_of("characters.pt", layers="embedding(embedding), gru, fc")
    expect_near(model.run(data["tokens"]), data["expected"])
    expect_streamed(model, data["tokens"], data["expected"])
    ends = np.cumsum(data["lengths"])
    for seed, expected in enumerate(np.split(data["drawn"], ends[:-1])):
        found = model.generate([0], 16, temperature=0.8, seed=seed, stop=1)
        assert np.array_equal(found, expected) or data["near"][seed]
    assert data["near"].sum() <= 2
