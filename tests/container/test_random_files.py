"""Random files that hold together, and some that do not quite: they cost what is allowed, at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import models
import numpy as np
import pytest
from grurt_fuzz import hostile_file, hostile_program
from memory import memory_peak

import grurt
from grurt.network.reference_run import run_size
from grurt.runtime.engine import ready

MEMORY_FACTOR, MEMORY_CONSTANT, NANOSECONDS = 32, 1 << 22, 2000
"""Of reading, for each byte of a file: see test_hostile.py."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.grurt"


class Checked:
    """Reads and runs files, and keeps what they were allowed and took."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded = self.stepped = self.verified = 0
        self.seconds = self.allowed = 0.0

    def check(self, content: bytes) -> None:
        """Load a file and run a timestep, within the memory of its costs; refuse nothing but with an error of grurt."""
        self.path.write_bytes(content)
        reading = MEMORY_FACTOR * len(content) + MEMORY_CONSTANT
        begun = time.process_time()
        with memory_peak() as peak:
            model = self._load()
            if model:
                self._step(model)
        self.seconds += time.process_time() - begun
        self.allowed += 0.02 + 4e-9 * NANOSECONDS * len(content)  # looking at memory slows it down
        assert peak.bytes <= reading + (model.costs.bytes if model else 0)
        if model:
            self.loaded += 1
            self.allowed += 4e-9 * model.costs.operations
            self._verify(model, reading)

    def _load(self) -> grurt.Model | None:
        try:
            return grurt.load(self.path, max_bytes=1 << 25, max_operations=1 << 26)
        except grurt.ModelFileError as error:
            if not str(error).startswith(f"{self.path}: "):
                raise
            return None

    def _step(self, model: grurt.Model) -> None:
        inputs = models.random_inputs(model.inputs, 1, np.random.default_rng(0))
        try:
            if model.unstreamable_reason is None:
                self.stepped += 1
                model.stream().step({name: xs[0] for name, xs in inputs.items()})
            elif len(model.stages) == 1:
                model.run({port.name: np.zeros([1] * len(port.axes), port.dtype) for port in model.signature.inputs})
        except grurt.InputShapeError:
            assert model.unstreamable_reason is not None

    def _verify(self, model: grurt.Model, reading: int) -> None:
        run = model.reference_run
        if run is None:
            return
        sequences, timesteps = run_size(run, model.signature, model.values)
        allowed = reading + model.costs.run_bytes(sequences, timesteps) + (timesteps << 12)
        with memory_peak() as peak:
            try:
                model.verify()
                self.verified += 1
            except grurt.GrurtError:
                pass
        assert peak.bytes <= allowed


def check_files(path: Path, make: Callable[[int], bytes], seeds: range) -> Checked:
    ready()
    checked = Checked(path)
    for seed in seeds:
        checked.check(make(seed))
    assert checked.seconds < checked.allowed
    assert checked.loaded > len(seeds) // 3
    assert checked.stepped > len(seeds) // 4
    return checked


@pytest.mark.slow
def test_a_hundred_hostile_files_cost_no_more_than_is_allowed(path: Path) -> None:
    assert check_files(path, hostile_file, range(100)).verified > 1


@pytest.mark.slow
def test_a_hundred_hostile_programs_cost_no_more_than_is_allowed(path: Path) -> None:
    check_files(path, hostile_program, range(100))


@pytest.mark.long
def test_a_hundred_thousand_hostile_files_cost_no_more_than_is_allowed(path: Path) -> None:
    assert check_files(path, hostile_file, range(100_000)).verified > 1000


@pytest.mark.long
def test_ten_thousand_hostile_programs_cost_no_more_than_is_allowed(path: Path) -> None:
    check_files(path, hostile_program, range(10_000))
