"""Steps of programs read and write what they may, and nothing comes from memory that nobody has written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import watched_steps

TOO_FAR = {
    "writes whole vectors": "maps.store_first = lambda address, count, value: simd.store(address, 0, value)",
    "reads the vector behind": "maps.load = lambda address, index: simd.load(address + 64, index)",
    "reads in front": "maps.load_f32 = lambda address, index: simd.load_f32(address - 4096, index)",
}
FOUR_LANES = """
import runpy
import sys
import types
lanes = types.ModuleType("grurt.lanes")
lanes.LANES = 4
sys.modules["grurt.lanes"] = lanes
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
BROKEN = "from grurt.kernels import simd; from grurt.kernels.programs import maps; import watched_steps"


def in_python(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process whose kernels are not compiled."""
    folder = str(Path(watched_steps.__file__).parent)
    path = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"GRURT_ENGINE": "python", "PYTHONPATH": path}
    arguments = [sys.executable, *map(str, command)]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(20), marks=pytest.mark.slow),
        *(pytest.param(range(first, first + 50), marks=pytest.mark.long) for first in range(100, 500, 50)),
    ],
    ids=str,
)
def test_steps_read_and_write_what_they_may(seeds: range, tmp_path: Path) -> None:
    check_answers(tmp_path, seeds)


@pytest.mark.slow
def test_steps_do_the_same_in_vectors_of_four(tmp_path: Path) -> None:
    """As in programs for CPUs without vectors: see `grurt.native.intermediate`."""
    check_answers(tmp_path, range(20, 30), "-c", FOUR_LANES)


def check_answers(folder: Path, seeds: range, *start: str) -> None:
    """Compare what watched programs answer with what compiled kernels do."""
    finished = in_python(*start, watched_steps.__file__, folder / "answers.npz", seeds.start, seeds.stop)
    assert finished.returncode == 0, finished.stderr
    found = dict(np.load(folder / "answers.npz"))
    for seed in seeds:
        for name, answer in watched_steps.answers(watched_steps.program_of(seed), seed).items():
            assert found[name].tobytes() == answer.tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("fault", TOO_FAR)
def test_what_a_step_may_not_do_is_seen(fault: str) -> None:
    finished = in_python("-c", f"{BROKEN}; {TOO_FAR[fault]}; [watched_steps.watched(seed) for seed in range(5)]")
    assert finished.returncode
    assert "\nAssertionError: " in finished.stderr
