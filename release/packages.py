"""The packages of a release, each built from the sdist in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from grurt.native.cpus import CPUS
from release.kernels import NONE, VARIABLE

MACHINES = tuple(dict.fromkeys(cpu.machine for cpu in CPUS))
"""Those that wheels with compiled kernels are for; everywhere else, Numba compiles."""


def cpus_of(wheel: str) -> str:
    """Return what `VARIABLE` is for a wheel: of a machine all its CPUs, of ``any`` none."""
    return " ".join(cpu.name for cpu in CPUS if cpu.machine == wheel) or NONE


def build(root: Path, folder: Path) -> Iterator[tuple[Path, float]]:
    """Build the sdist of a checkout, and of that all wheels; yield each path with the seconds that it took."""
    folder.mkdir(parents=True, exist_ok=True)
    if there := sorted(folder.iterdir()):
        raise SystemExit(f"{folder}: expected an empty folder, got {there[0].name} in it")
    sdist, seconds = _built(["--sdist", str(root)], folder)
    yield sdist, seconds
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(sdist) as archive:
        archive.extractall(scratch, filter="data")
        (source,) = Path(scratch).iterdir()
        for wheel in (*MACHINES, "any"):
            yield _built(["--wheel", str(source)], folder, {VARIABLE: cpus_of(wheel)})


def _built(arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> tuple[Path, float]:
    begun, before = time.perf_counter(), set(folder.iterdir())
    command = [sys.executable, "-m", "build", "--outdir", str(folder), *arguments]
    result = subprocess.run(
        command, env=os.environ | (environment or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if result.returncode:
        sys.stderr.buffer.write(result.stdout)
        raise SystemExit(f"{' '.join(command)} failed")
    (path,) = set(folder.iterdir()) - before
    return path, time.perf_counter() - begun
