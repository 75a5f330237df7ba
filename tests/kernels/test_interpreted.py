"""The kernels in plain Python, with GRURT_ENGINE=python: the answers of the compiled ones, under a debugger."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import every_call
import every_layer
import models
import numpy as np
import pytest

import grurt
from grurt.kernels import cell
from grurt.runtime import engine

THREADS = """
import sys
import numpy as np
import grurt
model = grurt.load(sys.argv[1])
xs = np.load(sys.argv[2])
for threads in (1, 3):
    pool = model.pool(len(xs), threads=threads)
    answers = [pool.step(np.arange(len(xs)), np.ascontiguousarray(xs[:, t])) for t in range(2)]
    np.save(f"{sys.argv[3]}/{threads}.npy", np.stack(answers, axis=1))
"""

WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import grurt
stream = grurt.load(sys.argv[1]).stream()
try:
    stream.step([1, float("nan")])
except grurt.InputValueError as error:
    print(error)
print(stream.step([1, 2]).tolist())
"""

INTERRUPTED = """
import sys
import grurt
from grurt.kernels import cell
stream = grurt.load(sys.argv[1]).stream()
def interrupt(frame, event, argument):
    if frame.f_code is cell.timestep.__code__:
        raise KeyboardInterrupt
    return None
sys.settrace(interrupt)
try:
    stream.step([1, 2])
except KeyboardInterrupt:
    sys.settrace(None)
    print(stream.steps, stream.step([1, 2]).tolist())
"""


def in_python(*command: object, text: str | None = None) -> str:
    """Return what a process prints whose kernels are not compiled."""
    environment = os.environ | {"GRURT_ENGINE": "python"}
    result = subprocess.run(
        [sys.executable, *map(str, command)], env=environment, input=text, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def assert_same_bits(path: Path, expected: dict[str, Any]) -> None:
    found = dict(np.load(path))
    assert found.keys() == expected.keys()
    assert not [name for name, array in expected.items() if found[name].tobytes() != array.tobytes()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.grurt"
    models.gru_model(2, 20, np.random.default_rng(81), output_size=2).save(path)
    return path


@pytest.mark.slow
def test_every_layer_in_every_format(tmp_path: Path) -> None:
    in_python(every_layer.__file__, tmp_path / "answers.npz")
    assert_same_bits(tmp_path / "answers.npz", every_layer.answers())


def test_every_call(model: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.grurt"
    every_layer.program_model().save(program)
    in_python(every_call.__file__, tmp_path / "answers.npz", model, program)
    assert_same_bits(tmp_path / "answers.npz", every_call.answers([model, program]))


def test_threads_share_a_pool(model: Path, tmp_path: Path) -> None:
    xs = np.random.default_rng(82).normal(size=(70, 2, 2)).astype(np.float32)
    np.save(tmp_path / "xs.npy", xs)
    in_python("-c", THREADS, model, tmp_path / "xs.npy", tmp_path)
    expected = grurt.load(model).run(xs)
    for threads in (1, 3):
        np.testing.assert_array_equal(np.load(tmp_path / f"{threads}.npy"), expected, strict=True)


def test_numba_is_not_needed(model: Path) -> None:
    error, answer = in_python("-c", WITHOUT_NUMBA, model).splitlines()
    assert error.startswith("input 'x' at [1]: expected finite numbers, got nan")
    assert answer == str(grurt.load(model).stream().step([1, 2]).tolist())


def test_a_breakpoint_stops_inside_a_kernel(model: Path, tmp_path: Path) -> None:
    """As docs/debugging.md has it."""
    script = tmp_path / "step.py"
    script.write_text(f"import grurt\nstream = grurt.load({str(model)!r}).stream()\nprint(stream.step([1, 2]))\n")
    commands = "from grurt.kernels import cell\nbreak cell.update\ncontinue\nwhere\np sums.z\nclear 1\ncontinue\nquit\n"
    printed = in_python("-m", "pdb", script, text=commands)
    lines, first = inspect.getsourcelines(cell.update.py_func)
    stop = re.search(r"Breakpoint 1 at \S+cell\.py:(\d+)\n", printed)
    assert stop
    assert first <= int(stop[1]) < first + len(lines)
    assert re.search(r"> \S+cell\.py\(\d+\)update\(\)\n", printed)
    assert re.search(r"stream\.py\(\d+\)step\(\)\n(.*\n)*.*entry\.py\(\d+\)advance\(\)\n", printed)
    assert "dtype=float32" in printed
    assert str(grurt.load(model).stream().step([1, 2])) in printed


def test_what_interrupts_a_kernel_leaves_the_stream_usable(model: Path) -> None:
    """Compiled kernels cannot be interrupted."""
    steps, answer = in_python("-c", INTERRUPTED, model).split(maxsplit=1)
    assert steps == "0"
    assert answer.strip() == str(grurt.load(model).stream().step([1, 2]).tolist())


def test_it_is_chosen_before_the_kernels_are_imported() -> None:
    with pytest.raises(grurt.EngineError, match="GRURT_ENGINE=python: expected it to be set before grurt is imported"):
        engine._load("python")
