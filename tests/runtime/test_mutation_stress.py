"""Twenty threads that share pools, streams and arrays without any lock, and change all that a caller can change."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from paths import HELPERS


def stress_and_check(seconds: float) -> dict[str, int]:
    """Run the threads in a process of their own, whose crash is a failure; return how often each outcome came."""
    command = [sys.executable, str(HELPERS / "mutation_stress.py"), str(seconds)]
    limit = 60 + 4 * seconds
    result = subprocess.run(command, cwd=HELPERS, timeout=limit, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    outcomes: dict[str, int] = json.loads(result.stdout)
    return outcomes


@pytest.mark.slow
def test_twenty_threads_that_change_everything() -> None:
    outcomes = stress_and_check(3)
    assert outcomes["done"] > 100
    assert outcomes["ConcurrentUseError"] > 0


@pytest.mark.long
def test_twenty_threads_that_change_everything_for_ten_minutes() -> None:
    outcomes = stress_and_check(600)
    assert outcomes["done"] > 10_000
    assert outcomes["ConcurrentUseError"] > 100
