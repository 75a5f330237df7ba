"""The wheel, and an editable install: both bring grurt and grurt.converters, and the demo's files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

CHECK = """
import sys, grurt, grurt.converters, grurt.converters.onnx, grurt.converters.torch, grurt.demo, grurt.kernels.codes
from importlib.metadata import version
assert version("grurt") == grurt.__version__
model = grurt.demo.load_model()
print(grurt.__file__, grurt.converters.__file__, model.unstreamable_reason)
"""


def run(*command: str | Path, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def python_with(install: list[str | Path], folder: Path) -> Path:
    """Return the Python of a new environment that sees this one's dependencies, with grurt installed into it."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = next(folder.glob("lib/python*/site-packages"))
    dependencies = Path(pytest.__file__).parent.parent
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-build-isolation",
        "--force-reinstall", *install, cwd=folder,
    )  # fmt: skip
    return python


def test_wheel_holds_what_it_should(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "grurt/py.typed" in names
    assert "grurt/converters/convert.py" in names
    assert "grurt/demo/activity.grurt" in names
    assert not [name for name in names if name.startswith(("tests", "converters", "benchmarks", "examples"))]


def test_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    python = python_with([wheel], tmp_path / "environment")
    output = run(python, "-I", "-c", CHECK, cwd=tmp_path)
    assert output.count(str(tmp_path)) == 2
    assert output.endswith("None\n")


def test_editable_install_works(tmp_path: Path) -> None:
    output = run(sys.executable, "-c", CHECK, cwd=tmp_path)
    assert output.endswith("None\n")
    grurt_file, converters_file, _ = output.split()
    assert Path(grurt_file).parent.name == "grurt"
    assert Path(converters_file).parent.name == "converters"
