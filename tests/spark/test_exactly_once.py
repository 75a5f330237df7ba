"""The example, killed in the middle of micro-batches: no answer is missing, none is there twice, all have the bits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from paths import ROOT

EXAMPLE = ROOT / "examples" / "spark" / "day_of_devices.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("day_of_devices", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_killed_stream_goes_on_and_answers_every_row_once(spark: Any, tmp_path: Path) -> None:
    day_of_devices = example()
    rng = np.random.default_rng(220)
    rows = day_of_devices.day(20, 120, 3, rng)
    (tmp_path / "samples").mkdir()
    day_of_devices.write(rows, tmp_path / "samples", rng)
    assert day_of_devices.run_and_kill(tmp_path, 1) == 1
    assert day_of_devices.compare(spark, tmp_path, rows)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_twenty_kills(spark: Any) -> None:
    """The session is there to skip where there is no Java: the example has one of its own."""
    command = [sys.executable, str(EXAMPLE), "--devices", "100", "--kills", "20"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "killed 20 times, and through" in said.stdout
