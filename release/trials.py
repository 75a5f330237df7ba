"""Installs each package of a release as a stranger would, and compares the bits of its answers with this checkout's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grurt import host_cpu
from grurt.demo import load_model
from release.emulated import ARM, Arm, reason_not

ROOT = Path(__file__).resolve().parent.parent
CALLS = ROOT / "tests" / "helpers" / "every_call.py"

ENGINE = """
import sys
from grurt.runtime.engine import entry_point
entry_point()
print("Numba" if "numba" in sys.modules else "compiled kernels, without Numba")
"""


@dataclass(frozen=True)
class Trial:
    """What became of a package in an environment of its own."""

    wheel: str
    where: str
    engine: str
    megabytes: float
    """What is installed, the dependencies among it."""
    different: tuple[str, ...]
    """The calls whose answers have other bits than this checkout's."""


def trials(wheels: list[Path], folder: Path) -> Iterator[Trial]:
    """Yield the trial of each wheel that runs here, or under emulation."""
    sys.path.insert(0, str(CALLS.parent))
    import every_call

    models = _models(folder)
    expected = every_call.answers(models)
    for wheel in wheels:
        scratch = Path(tempfile.mkdtemp(dir=folder))
        if wheel.name.endswith(("-any.whl", f"_{host_cpu.machine()}.whl")):
            yield _here(wheel, scratch, models, expected)
        elif wheel.name.endswith(f"_{ARM}.whl") and reason_not() is None:
            yield from _emulated(wheel, folder, scratch, models, expected)


def _models(folder: Path) -> list[Path]:
    demo = load_model()
    saved = {"demo": demo} | {f"demo-{each}": demo.quantize(each) for each in ("float16", "int8", "int4")}
    for name, model in saved.items():
        model.save(folder / f"{name}.grurt")
    return [folder / f"{name}.grurt" for name in saved]


def _here(wheel: Path, folder: Path, models: list[Path], expected: dict[str, np.ndarray]) -> Trial:
    venv.create(folder / "environment", with_pip=False)
    python = folder / "environment" / "bin" / "python"
    wanted = f"{wheel}[jit]" if wheel.name.endswith("-any.whl") else str(wheel)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, wanted], check=True)
    subprocess.run([python, "-I", CALLS, folder / "answers.npz", *models], check=True)
    engine = subprocess.run([python, "-I", "-c", ENGINE], check=True, capture_output=True, text=True).stdout.strip()
    installed = next((folder / "environment").glob("lib/python*/site-packages"))
    different = _different(folder / "answers.npz", expected)
    return Trial(wheel.name, f"{host_cpu.machine()}, Python {_version()}", engine, _megabytes(installed), different)


def _emulated(
    wheel: Path, folder: Path, scratch: Path, models: list[Path], expected: dict[str, np.ndarray]
) -> Iterator[Trial]:
    arm = Arm(folder / "arm")
    arm.install(str(wheel))
    for cpu in ("max", "cortex-a72"):
        arm.run(str(CALLS), str(scratch / "answers.npz"), *map(str, models), cpu=cpu)
        engine = arm.run("-c", ENGINE, cpu=cpu).strip()
        where = f"aarch64, emulated {cpu}, Python {arm.version}"
        yield Trial(wheel.name, where, engine, _megabytes(arm.site), _different(scratch / "answers.npz", expected))


def _different(path: Path, expected: dict[str, np.ndarray]) -> tuple[str, ...]:
    found = np.load(path)
    names = {*found.files, *expected}
    missing = {name for name in names if name not in found.files or name not in expected}
    return tuple(sorted(name for name in names if name in missing or found[name].tobytes() != expected[name].tobytes()))


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _version() -> str:
    return "{}.{}".format(*sys.version_info)
