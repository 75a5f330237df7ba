"""The examples run as they stand, and say what they should."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

import grurt.demo
from grurt.demo import load_recordings

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: object) -> str:
    """Run an example elsewhere than in its folder, and return what it printed."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.sep).stdout


def test_stream_sensor() -> None:
    text = run("stream_sensor.py")
    activities = re.findall(r"^a recording of (\w+):$", text, re.MULTILINE)
    answers = re.findall(r"^  after 10\.0 s: (\w+) +(\d\.\d\d)$", text, re.MULTILINE)
    assert activities == ["standing", "running", "walking", "badminton"]
    assert [answer for answer, _ in answers] == activities


def test_snapshot_restore() -> None:
    text = run("snapshot_restore.py")
    assert re.search(r"^saved the state after 50 samples: \d+ bytes$", text, re.MULTILINE)
    assert "the same bits as without the interruption: True" in text
    assert re.search(r"^refused: .*truncated", text, re.MULTILINE)
    assert "the stream itself is still at sample 50" in text


def test_asyncio_streams() -> None:
    """The answers are those of the recordings one after the other: streams in one loop do not disturb each other."""
    text = run("asyncio_streams.py")
    model, recordings = grurt.demo.load_model(), load_recordings()
    right = [
        model.run(xs)[-1].argmax() == label for xs, label in zip(recordings.samples, recordings.labels, strict=True)
    ]
    found = re.search(
        r"^200 streams of 100 samples in one event loop: [\d.]+ s, (\d+) answers right$", text, re.MULTILINE
    )
    assert found is not None
    assert int(found[1]) == sum(right[index % len(right)] for index in range(200))
    assert re.search(r"^a history of 4000 samples in a thread: the last answer is \w+$", text, re.MULTILINE)


def test_from_onnx() -> None:
    text = run("from_onnx.py")
    differences = re.findall(r"largest difference (\S+)", text)
    assert len(differences) == 2
    assert all(float(difference) < 2e-6 for difference in differences)


def write_data(folder: Path) -> None:
    """Write the recordings as the files of the data set."""
    recordings = load_recordings()
    lines = [
        ":".join(",".join(str(value) for value in channel) for channel in samples.T) + f":{recordings.classes[label]}"
        for samples, label in zip(recordings.samples, recordings.labels, strict=True)
    ]
    for split in ("TRAIN", "TEST"):
        (folder / f"BasicMotions_{split}.ts").write_text("\n".join(["@problemName BasicMotions", "@data", *lines]))


def test_train_activity_reads_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("train_activity")
    write_data(tmp_path)
    samples, labels = example.read_recordings(tmp_path, "TRAIN")
    np.testing.assert_array_equal(samples, load_recordings().samples)
    np.testing.assert_array_equal(labels, load_recordings().labels)
    with zipfile.ZipFile(tmp_path / "aeon.whl", "w") as wheel:
        wheel.write(tmp_path / "BasicMotions_TEST.ts", f"{example.FOLDER}/BasicMotions_TEST.ts")
    np.testing.assert_array_equal(example.read_recordings(tmp_path / "aeon.whl", "TEST")[0], samples)

    first, second = (example.train(torch.from_numpy(samples), torch.from_numpy(labels), epochs=40) for _ in range(2))
    answers = first(torch.from_numpy(samples)).argmax(dim=-1)[:, -1].numpy()
    assert (answers == labels).mean() > 0.6
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


@pytest.mark.long
def test_train_activity(tmp_path: Path) -> None:
    write_data(tmp_path)
    text = run("train_activity.py", "--data", tmp_path, "--output", tmp_path / "build", "--epochs", 3)
    assert len(re.findall(r"^test accuracy after +\d+ s: [\d.]+%$", text, re.MULTILINE)) == 5
    with np.load(tmp_path / "build" / "recordings.npz") as arrays:
        np.testing.assert_array_equal(arrays["samples"], load_recordings().samples)
    model = grurt.load(tmp_path / "build" / "activity.grurt")
    assert model.verify().ok
    assert (tmp_path / "build" / "activity.pt").exists()
    assert str(tmp_path).encode() not in (tmp_path / "build" / "activity.onnx").read_bytes()
    assert str(EXAMPLES).encode() not in (tmp_path / "build" / "activity.onnx").read_bytes()


def g2p_weights(path: Path) -> dict[str, np.ndarray]:
    """Write random weights under the names, and in the layout, of the package g2p-en: a smaller network."""
    random = np.random.default_rng(5)
    embedded, hidden, phonemes = 6, 9, 12
    arrays = {
        "enc_emb": (29, embedded),
        "dec_emb": (phonemes, embedded),
        "fc_w": (phonemes, hidden),
        "fc_b": (phonemes,),
    }
    for part in ("enc", "dec"):
        arrays |= {f"{part}_w_ih": (3 * hidden, embedded), f"{part}_w_hh": (3 * hidden, hidden)}
        arrays |= {f"{part}_b_ih": (3 * hidden,), f"{part}_b_hh": (3 * hidden,)}
    weights = {name: random.normal(size=shape) for name, shape in arrays.items()}
    np.savez(path, **weights)
    return weights


def spelled(word: str, weights: dict[str, np.ndarray]) -> list[int]:
    """Return the phonemes of a word, by the equations of a GRU, in float64."""

    def step(part: str, token: int, h: np.ndarray) -> np.ndarray:
        given = weights[f"{part}_w_ih"] @ weights[f"{part}_emb"][token] + weights[f"{part}_b_ih"]
        kept = weights[f"{part}_w_hh"] @ h + weights[f"{part}_b_hh"]
        (r, z, n), (r_kept, z_kept, n_kept) = np.split(given, 3), np.split(kept, 3)
        r, z = 1 / (1 + np.exp(-(r + r_kept))), 1 / (1 + np.exp(-(z + z_kept)))
        return np.asarray((1 - z) * np.tanh(n + r * n_kept) + z * h)

    h = np.zeros(len(weights["enc_b_hh"]) // 3)
    for letter in word:
        h = step("enc", 3 + ord(letter) - ord("a") if letter.isalpha() else 1, h)
    h, found, token = step("enc", 2, h), [], 2
    while len(found) < 20:
        h = step("dec", token, h)
        token = int((weights["fc_w"] @ h + weights["fc_b"]).argmax())
        if token == 3:
            break
        found.append(token)
    return found


def test_spell_with_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "g2p")
    example = importlib.import_module("spell")
    weights = g2p_weights(tmp_path / "weights.npz")
    speller = example.Speller(*example.convert_checkpoint(tmp_path / "weights.npz"))
    words = ["a", "it's", *(EXAMPLES / "g2p" / "words.txt").read_text(encoding="utf-8").split()[:60]]
    found = [speller.predict(word) for word in words]
    assert found == [spelled(word, weights) for word in words]
    assert len({tuple(phonemes) for phonemes in found}) > 10


@pytest.mark.skipif(importlib.util.find_spec("g2p_en") is None, reason="the weights are those of the package g2p-en")
def test_spell() -> None:
    text = run("g2p/spell.py")
    assert "303 of 303 words have the same phonemes as in the package" in text
    assert re.search(r"^words a second: NumPy [\d,]+, grurt [\d,]+: [\d.]+ times as fast$", text, re.MULTILINE)
