"""Redis servers of the tests' own, on loopback or a socket."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def redis_server(folder: Path, *listening: object) -> Iterator[subprocess.Popen[str]]:
    """Run a Redis server that listens as its arguments say, and keeps nothing; skip the test if there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    command = ["redis-server", *map(str, listening), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while "eady to accept connections" not in (line := process.stdout.readline()):
            assert line
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)
