"""A wheel that carries compiled kernels: what is in it, and that it needs no Numba."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import every_call
import models
import numpy as np
import pytest
from packaging.requirements import Requirement
from paths import HELPERS, ROOT

from grurt import host_cpu
from grurt.demo import load_model
from grurt.native import cpus
from release.checks import wheel_faults
from release.emulated import reason_not
from release.packages import cpus_of
from release.trials import trials

LEVELS = [cpu for cpu in cpus.CPUS if host_cpu.runs_here(cpu.machine, cpu.flags)]
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")

QUESTION = """
import importlib.util, sys
sys.argv = ["every_call.py", "answers.npz", *sys.argv[1:]]
sys.path.insert(0, {tests!r})
import runpy
runpy.run_module("every_call", run_name="__main__")
import grurt
from grurt.runtime import engine
print(grurt.__file__)
print(engine.entry_point().__name__)
print({{"numba", "llvmlite"}} & set(sys.modules), importlib.util.find_spec("numba"))
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not LEVELS, reason="libraries are for Linux on x86-64 from level 2 on, and AArch64"),
]


def run(*command: object, cwd: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRURT_")}
    finished = subprocess.run(
        list(map(str, command)), cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def copy_sources(folder: Path) -> Path:
    """Copy what a wheel is built from."""
    source = folder / "source"
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in ("grurt", "converters", "release"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return source


def build(folder: Path, **environment: str) -> Path:
    """Build a wheel of a copy of the package."""
    source = copy_sources(folder)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, source, cwd=folder, **environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"), GRURT_WHEEL_CPUS=LEVELS[0].name)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the files of models."""
    folder = tmp_path_factory.mktemp("models")
    layered = models.gru_model(5, 24, np.random.default_rng(3), n_layers=2)
    found = {"demo": load_model(), "layered": layered}
    for weights in ("int8", "float16"):
        found |= {f"{name}-{weights}": found[name].quantize(weights) for name in ("demo", "layered")}
    for name, model in found.items():
        model.save(folder / f"{name}.grurt")
    return sorted(folder.iterdir())


def interpreter(version: str) -> str:
    """Return a Python of a version: this one, one on the path, or one of pyenv."""
    if version == "{}.{}".format(*sys.version_info[:2]):
        return sys.executable
    pyenv = subprocess.run(["pyenv", "root"], capture_output=True, text=True) if shutil.which("pyenv") else None
    folders = sorted(Path(pyenv.stdout.strip(), "versions").glob(f"{version}.*/bin")) if pyenv else []
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    found = shutil.which(f"python{version}", path=path)
    if found is None or subprocess.run([found, "-c", "import venv"], capture_output=True).returncode:
        pytest.skip(f"Python {version} is not installed")
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_all_calls_give_the_same_bits_without_numba(
    version: str, wheel: Path, saved: list[Path], tmp_path: Path
) -> None:
    run(interpreter(version), "-m", "venv", "environment", cwd=tmp_path)
    python = tmp_path / "environment" / "bin" / "python"
    run(python, "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, cwd=tmp_path)
    question = QUESTION.format(tests=str(HELPERS))
    package, entry, numba = run(python, "-I", "-c", question, *saved, cwd=tmp_path).splitlines()
    assert Path(package).is_relative_to(tmp_path)
    assert entry == LEVELS[0].symbol
    assert numba == "set() None"
    found, expected = np.load(tmp_path / "answers.npz"), every_call.answers(saved)
    assert set(found.files) == set(expected)
    assert not [name for name in expected if found[name].tobytes() != expected[name].tobytes()]
    site = Path(package).parent.parent
    files = [file for folder in site.glob("grurt*") for file in folder.rglob("*") if file.is_file()]
    sizes = {file: file.stat().st_size for file in files}
    assert sum(size for file, size in sizes.items() if file.suffix == ".so") < 1_000_000  # of one CPU
    assert sum(size for file, size in sizes.items() if file.suffix == ".py") < 5_000_000  # byte code is as large again


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    machine = LEVELS[0].machine
    assert wheel.name.endswith(f"-py3-none-manylinux_2_17_{machine}.musllinux_1_1_{machine}.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    everywhere = [line.partition(": ")[2] for line in needed if "extra" not in line]
    assert len(everywhere) == 4
    for machine, system, expected in [
        ("x86_64", "linux", False),
        ("aarch64", "linux", False),
        ("riscv64", "linux", True),
        ("arm64", "darwin", True),
        ("AMD64", "win32", True),
    ]:
        needs = [Requirement(each) for each in everywhere]
        environment = {"platform_machine": machine, "sys_platform": system}
        installed = {each.name for each in needs if each.marker is None or each.marker.evaluate(environment)}
        assert ("numba" in installed) == expected


def test_a_pure_wheel_carries_no_library_that_was_built_before(wheel: Path, tmp_path: Path) -> None:
    shutil.copytree(wheel.parent / "source", tmp_path / "source")
    assert list((tmp_path / "source" / "build").rglob("*.grurt.so"))
    pure = build(tmp_path, GRURT_WHEEL_CPUS="none")
    assert pure.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(pure).namelist() if name.endswith(".so")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("native", "GRURT_WHEEL_CPUS: expected none, or names of CPUs of one machine, .*got 'native'"),
        ("x86-64-v3 armv8-a", "expected none, or names of CPUs of one machine, .*got 'x86-64-v3 armv8-a'"),
        ("none x86-64-v3", "expected none, or names of CPUs of one machine, .*got 'none x86-64-v3'"),
    ],
)
def test_cpus_that_no_wheel_is_for(names: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        build(tmp_path, GRURT_WHEEL_CPUS=names)


def test_by_default_a_wheel_is_for_the_machine_that_builds_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In an environment of its own, as pip builds it, which needs nothing but an index."""
    folder = tmp_path_factory.mktemp("native")
    run(sys.executable, "-m", "build", "--wheel", "-o", folder, copy_sources(folder), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name.endswith(f"-py3-none-linux_{LEVELS[0].machine}.whl")
    assert wheel_faults(wheel) == []


@pytest.mark.skipif(reason_not() is not None, reason="no emulator of 64-bit Arm, or no packages of Debian")
def test_the_wheel_for_arm_gives_the_same_bits_under_emulation(
    tmp_path_factory: pytest.TempPathFactory, saved: list[Path]
) -> None:
    folder = tmp_path_factory.mktemp("arm")
    wheel = build(folder, GRURT_WHEEL_CPUS=cpus_of("aarch64"))
    assert wheel_faults(wheel) == []
    found = list(trials([wheel], folder))
    assert [trial.engine for trial in found] == ["compiled kernels, without Numba"] * 2
    assert [trial.different for trial in found] == [(), ()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name: name.replace("x86_64", "riscv64"), "holds a library for x86_64, which its name does not say"),
        (lambda name: name.rpartition("-")[0] + "-any.whl", r"expected the libraries \[\], got \['grurt/native"),
    ],
)
@pytest.mark.skipif(bool(LEVELS) and LEVELS[0].machine != "x86_64", reason="names are changed from x86_64")
def test_a_wheel_whose_name_is_wrong_is_found(
    change: Callable[[str], str], message: str, wheel: Path, tmp_path: Path
) -> None:
    assert wheel_faults(wheel) == []
    wrong = tmp_path / change(wheel.name)
    shutil.copy(wheel, wrong)
    (fault,) = wheel_faults(wrong)
    assert re.search(message, fault)
