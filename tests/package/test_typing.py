"""What type checkers know of the calls whose results depend on their arguments."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

PROGRAM = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import grurt


def right(model: grurt.Model, session: grurt.InferenceSession, x: NDArray[np.float32]) -> NDArray[np.float32]:
    assert_type(model.run({"x": x}), dict[str, NDArray[Any]])
    assert_type(model.run({"x": [[[1.0]]]}, nonfinite="propagate"), dict[str, NDArray[Any]])
    assert_type(session.run(None, {"x": x}), list[NDArray[Any]])
    assert_type(session.get_inputs()[0].name, str)
    grurt.InferenceSession("model.onnx", None, ["CPUExecutionProvider", ("CUDAExecutionProvider", {"device_id": 0})])
    answer: NDArray[np.float32] = model.run(x)
    return answer


def wrong(model: grurt.Model, session: grurt.InferenceSession, x: NDArray[np.float32]) -> None:
    model.run({"x": x}).shape
    session.run(None, x)
    grurt.InferenceSession(1)
"""


@pytest.mark.slow
def test_results_have_the_types_of_what_is_given(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    errors = [line for line in found if ": error: " in line]
    lines = PROGRAM.split("def wrong")[0].count("\n") + 1
    assert [int(re.findall(r":(\d+): ", line)[0]) - lines for line in errors] == [1, 2, 3], found
