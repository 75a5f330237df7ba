"""What reading a foreign file costs: memory and time in proportion to its size, whatever it says."""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import costs
import hdf5_files
import heavy_files
import numpy as np
import pytest
from checkpoints import checkpoint, state_dict, tensor
from costs import Found, Job
from heavy_files import HEAVY, MEBIBYTE, arrays, calls_in_reverse_order, npy, safetensors
from paths import ROOT

from grurt.converters import convert, describe, read_state_dict
from grurt.errors import ConversionError, DescriptionError

pytestmark = pytest.mark.slow

CONSTANT = 100 * MEBIBYTE
FACTORS = {
    ".h5": 24,
    ".keras": 24,
    ".pt": 24,
    ".pt2": 24,
    ".safetensors": 16,
    ".npz": 8,
    ".json": 8,
}
"""Bytes of memory for each byte of a file, as docs/conversion.md has them."""

SECONDS = 5


@pytest.mark.parametrize("ending", [ending for ending in FACTORS if ending != ".pt2"])
def test_the_factors_are_those_of_the_documentation(ending: str) -> None:
    text = (ROOT / "docs" / "conversion.md").read_text()
    assert re.search(rf"^\|[^|]*`{re.escape(ending)}`[^|]*\| {FACTORS[ending]} times", text, re.M)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Found]:
    """Return what comes of all heavy files, each in a process that may take no more than is promised."""
    folder = tmp_path_factory.mktemp("heavy")
    jobs = []
    for index, heavy in enumerate(HEAVY.values()):
        path, layers = folder / f"{index}{heavy.ending}", heavy.layers
        path.write_bytes(heavy.content())
        if callable(layers):
            beside = path.with_suffix(".json" if heavy.ending == ".h5" else ".toml")
            beside.write_bytes(layers())
            layers = str(beside)
        size = path.stat().st_size + (beside.stat().st_size if callable(heavy.layers) else 0)
        jobs.append(Job(str(path), layers, CONSTANT + FACTORS[heavy.ending] * size, SECONDS))
    return dict(zip(HEAVY, costs.run_jobs(jobs), strict=True))


@pytest.mark.parametrize("name", HEAVY)
def test_files_that_weigh_little_cost_little(name: str, found: Mapping[str, Found]) -> None:
    given = found[name]
    assert given.outcome in ("ConversionError", "UnsupportedError", "DescriptionError"), given
    assert re.search(HEAVY[name].message, given.message), given


def sizes_of(write: Callable[[int], bytes], ending: str, layers: str | None, folder: Path) -> list[Found]:
    """Return what files of one size, of twice and of four times that cost."""
    jobs = []
    for scale in (1, 2, 4):
        path = folder / f"{scale}{ending}"
        path.write_bytes(write(scale))
        jobs.append(Job(str(path), layers, 1 << 30, 60))
    return costs.run_jobs(jobs)


@pytest.mark.parametrize(
    ("write", "ending"),
    [
        (lambda scale: calls_in_reverse_order(1000 * scale), ".keras"),
        (lambda scale: heavy_files.chains_of_nodes(scale), ".h5"),
        (lambda scale: heavy_files.many_tensors(10_000 * scale), ".safetensors"),
        (lambda scale: arrays(5000 * scale, npy("(0,)")), ".npz"),
        (lambda scale: heavy_files.views_of_one_storage(1000 * scale, 64), ".pt"),
    ],
)
def test_the_time_is_in_proportion_to_the_size(write: Callable[[int], bytes], ending: str, tmp_path: Path) -> None:
    one, two, four = sizes_of(write, ending, None if ending in (".keras", ".h5") else "fc", tmp_path)
    assert four.seconds < 8 * max(one.seconds, 0.02), (one, two, four)


HEADS = {
    ".h5": hdf5_files.written({}),
    ".keras": calls_in_reverse_order(1)[:64],
    ".safetensors": safetensors(b"{}"),
    ".json": b'{"a":',
    ".pt": checkpoint(state_dict(w=tensor()), {"0": bytes(16)})[:64],
    ".legacy.pt": heavy_files.legacy([]),
    ".npz": arrays(1, npy("(0,)"))[:64],
    ".unknown": b"unknown",
}


def sparse(path: Path, head: bytes) -> Path:
    """Write a file that is said to be a tebibyte long, and takes no room on the disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(1 << 40)
    return path


@pytest.mark.parametrize("ending", HEADS)
def test_a_file_of_a_tebibyte_is_refused(ending: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / f"model{ending}", HEADS[ending])
    (given,) = costs.run_jobs([Job(str(path), None, 1 << 30, SECONDS)])
    assert given.outcome == "ConversionError", given
    assert given.message.startswith(f"model{ending}: "), given
    assert given.memory < CONSTANT


def test_descriptions_of_a_tebibyte_are_refused(tmp_path: Path) -> None:
    sound = tmp_path / "model.pt"
    sound.write_bytes(heavy_files.sound_weights())
    toml, text = sparse(tmp_path / "layers.toml", b"layers"), sparse(tmp_path / "model.json", b"{")
    with pytest.raises(DescriptionError, match=r"layers\.toml: expected at most 524288 bytes, got 1099511627776"):
        convert(sound, toml)
    with pytest.raises(ConversionError, match=r"model\.json: expected at most 67108864 bytes, got 1099511627776"):
        convert(heavy_files.DATA / "k2_masked.weights_only.h5", text)


def test_a_pipe_in_the_place_of_a_file_makes_nobody_wait(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    sound = tmp_path / "model.pt"
    sound.write_bytes(heavy_files.sound_weights())
    refused: Mapping[str, Callable[[], object]] = {
        r"pipe\.toml: expected a file, got a pipe; write it to a file": lambda: convert(pipe),
        r"pipe\.toml: expected a file, got a pipe; write": lambda: read_state_dict(pipe),
        r"description of the layers, got: expected a regular file, got a pipe": lambda: describe(pipe),
        r"pipe\.toml: expected a file that can be read, got: expected a regular file, got a pipe": lambda: convert(
            heavy_files.DATA / "k2_masked.weights_only.h5", pipe
        ),
    }
    for message, read in refused.items():
        with pytest.raises(ConversionError, match=message):
            read()


def test_what_has_become_a_pipe_since_it_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["grurt.converters.convert"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for known in module.FileFormat:
        if known is module.FileFormat.ONNX:
            continue
        monkeypatch.setattr(module, "detect_format", lambda path, known=known: known)
        with pytest.raises(ConversionError, match=r"^pipe: .*(got a pipe|expected a regular file)"):
            convert(pipe, None if known.value in ("pt2", "keras", "hdf5") else "fc")


def test_an_archive_with_a_very_long_directory(tmp_path: Path) -> None:
    archive = checkpoint(state_dict(w=tensor()), {"0": bytes(16)})
    start, end = archive.index(b"PK\x01\x02"), archive.index(b"PK\x05\x06")
    record = archive[start:end]
    records = record * (9 * MEBIBYTE // len(record))
    path = tmp_path / "model.pt"
    path.write_bytes(archive[:start] + records + archive[end : end + 12] + struct.pack("<LLH", len(records), start, 0))
    with pytest.raises(ConversionError, match="expected a zip archive with a list of at most 8388608 bytes, got 94"):
        convert(path, "w")


def test_memory_that_is_not_enough(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, w=np.zeros((1 << 12, 1 << 13), np.float32))
    (given,) = costs.run_jobs([Job(str(path), "fc(linear, weight=w, layout=rows)", 64 * MEBIBYTE, SECONDS)])
    assert given.message == "weights.npz: expected a model that fits into memory, got a larger one"
