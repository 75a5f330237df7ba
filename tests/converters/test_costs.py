"""What reading a foreign file costs: memory and time in proportion to its size, whatever it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import costs
import heavy_files
import hdf5_files
import numpy as np
import pytest
from checkpoints import checkpoint, state_dict, tensor
from costs import Found, Job
from heavy_files import HEAVY, MEBIBYTE, arrays, calls_in_reverse_order, npy, safetensors

from grurt.converters import convert, describe, read_state_dict
from grurt.converters.keras.container import read_hdf5
from grurt.errors import ConversionError, DescriptionError, GrurtError

pytestmark = pytest.mark.slow

CONSTANT = 100 * MEBIBYTE
FACTORS = {
    ".h5": 24,
    ".keras": 24,
    ".pt": 24,
    ".pt2": 24,
    ".safetensors": 16,
    ".npz": 16,
    ".json": 8,
}
"""Bytes of memory for each byte of a file, as docs/conversion.md has them."""

SECONDS = 5


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
    assert given.outcome in ("ConversionError", "UnsupportedError", "DescriptionError", "converted"), given
    assert "fits into memory" not in given.message


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
