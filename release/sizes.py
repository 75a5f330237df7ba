"""What installing takes, of grurt and of what else runs such networks: a table, measured in fresh environments."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "native.md"
BEGIN, END = "<!-- installation: begin -->\n", "<!-- installation: end -->"
PEERS = ("onnxruntime", "ai-edge-litert", "sherpa-onnx")


@dataclass(frozen=True)
class Installation:
    """What one took; megabytes are of 10^6 bytes."""

    name: str
    downloaded: float | None
    """None where pip builds, and fetches what that needs by itself."""
    installed: float
    cpu_seconds: float


def installations(wheels: list[Path]) -> Iterator[Installation]:
    """Yield what installing each takes: grurt's wheels for this machine, a checkout, and the peers."""
    here = next(wheel for wheel in wheels if wheel.name.endswith(f"_{platform.machine()}.whl"))
    pure = next(wheel for wheel in wheels if wheel.name.endswith("-any.whl"))
    yield _from_files("grurt", str(here))
    yield _from_source("grurt, from a checkout, kernels compiled")
    yield _from_files("grurt, with Numba in place of compiled kernels", f"{pure}[jit]")
    for name in PEERS:
        yield _from_files(name, name)


def _from_files(name: str, requirement: str) -> Installation:
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "files")
        _pip("download", "--only-binary=:all:", "--dest", str(files), requirement)
        python, site = _environment(Path(scratch))
        before = _cpu_seconds()
        _pip("--python", str(python), "install", "--no-index", "--find-links", str(files), requirement)
        return Installation(name, _megabytes(files), _megabytes(site), _cpu_seconds() - before)


def _from_source(name: str) -> Installation:
    with tempfile.TemporaryDirectory() as scratch:
        python, site = _environment(Path(scratch))
        before = _cpu_seconds()
        _pip("--python", str(python), "install", str(ROOT))
        return Installation(name, None, _megabytes(site), _cpu_seconds() - before)


def _environment(folder: Path) -> tuple[Path, Path]:
    venv.create(folder / "environment", with_pip=False)
    site = next((folder / "environment").glob("lib/python*/site-packages"))
    return folder / "environment" / "bin" / "python", site


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def table(found: list[Installation]) -> str:
    """Return the table, and what it was measured with."""
    rows = ["| in a fresh environment | MB to download | MB installed | CPU seconds |", "| --- | ---: | ---: | ---: |"]
    for each in found:
        downloaded = "" if each.downloaded is None else f"{each.downloaded:.0f}"
        rows.append(f"| {each.name} | {downloaded} | {each.installed:.0f} | {each.cpu_seconds:.1f} |")
    today = datetime.now(UTC).date()
    note = f"{platform.system()}, {platform.machine()}, Python {platform.python_version()}, {today}; with dependencies"
    return "\n".join([*rows, "", f"<sub>{note}. `python -m release sizes`</sub>", ""])


def write(found: list[Installation]) -> None:
    """Put the table between its marks on the page."""
    head, rest = PAGE.read_text("utf-8").split(BEGIN)
    PAGE.write_text(head + BEGIN + table(found) + END + rest.split(END, 1)[1], "utf-8")
