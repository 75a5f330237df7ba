"""Damaged files of every format but ONNX: models or errors of grurt's own, in little time and memory, nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import converters_fuzz
import pytest

pytestmark = pytest.mark.slow


def fuzzed_without_fault(name: str, count: int, folder: Path) -> str:
    """Damage files in a process of its own, of limited memory, which may open nothing outside of a folder."""
    arguments = [sys.executable, converters_fuzz.__file__, name, "0", str(count), str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", converters_fuzz.TARGETS)
def test_mutated_files(name: str, tmp_path: Path) -> None:
    found = fuzzed_without_fault(name, 300, tmp_path)
    assert "ConversionError" in found
    assert "converted" in found


@pytest.mark.long
@pytest.mark.parametrize("name", converters_fuzz.TARGETS)
def test_a_hundred_thousand_mutated_files(name: str, tmp_path: Path) -> None:
    assert "ConversionError" in fuzzed_without_fault(name, 100_000, tmp_path)
