"""The wheel, and an editable install: both bring grurt and grurt.converters, and the demo's files."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

pytestmark = pytest.mark.slow

CHECK = """
import sys, grurt, grurt.converters, grurt.converters.onnx, grurt.converters.torch, grurt.demo, grurt.kernels.codes
from importlib.metadata import version
assert version("grurt") == grurt.__version__
model = grurt.demo.load_model()
print(grurt.__file__, grurt.converters.__file__, model.unstreamable_reason)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command; wheels are built without kernels, which take their time: see test_wheel.py."""
    environment = os.environ | {"GRURT_WHEEL_CPUS": "none"}
    return subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True).stdout


def check_out(target: Path, *, links: bool = True) -> Path:
    """Copy what a checkout has; without links, a file that holds the link's text, as Git for Windows writes it."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout, but what an sdist holds")
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            text = (ROOT / name).readlink()
            copy.symlink_to(text) if links else copy.write_text(str(text))
        elif (ROOT / name).is_file():
            copy.write_bytes((ROOT / name).read_bytes())
    return target


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = check_out(folder / "source")
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
    assert {"grurt/native/module.mjs", "grurt/native/module.d.mts", "grurt/native/c99/functions.c"} <= {*names}
    assert not [name for name in names if name.startswith(("tests", "converters", "benchmarks", "examples"))]
    tracked = run("git", "ls-files", "grurt/*.py", "converters/*.py", cwd=ROOT).split()
    sources = {name if name.startswith("grurt/") else f"grurt/{name}" for name in tracked}
    sources.discard("grurt/converters.py")  # which says what is wrong in a checkout without links
    assert sources == {name for name in names if name.endswith(".py")}


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


def test_a_source_distribution_holds_the_converters_as_files(wheel: Path, tmp_path: Path) -> None:
    source = check_out(tmp_path / "source")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, source, cwd=tmp_path)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert members["grurt/converters/convert.py"].isfile()
    files = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    of_hosts = {name for name in files if name.startswith((".github/", ".git"))}
    assert {name for name in files - of_hosts - members.keys() if "egg-info" not in name} == set()
    assert not [name for name, member in members.items() if member.issym() or member.islnk()]
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, unpacked, cwd=tmp_path)
    (rebuilt,) = tmp_path.glob("*.whl")
    assert zipfile.ZipFile(rebuilt).namelist() == zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize(
    "command",
    [
        ("-c", "import grurt.converters"),
        ("-m", "grurt", "convert", "model.onnx", "-o", "model.grurt"),
        ("setup.py", "--version"),
    ],
    ids=["import", "convert", "build"],
)
def test_where_links_are_not_checked_out_that_is_said(tmp_path: Path, command: tuple[str, ...]) -> None:
    checkout = check_out(tmp_path / "checkout", links=False)
    (checkout / "model.onnx").touch()
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    result = subprocess.run(
        [sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "expected a link to the folder converters/, but this checkout has none" in result.stderr
    assert "git config core.symlinks true" in result.stderr


@pytest.mark.parametrize("module", ["grurt.converters", "grurt"])
def test_a_checkout_works_without_an_install(tmp_path: Path, module: str) -> None:
    checkout = check_out(tmp_path / "checkout")
    code = f"import {module} as module; print(module.__file__); from grurt.converters import convert"
    environment = {**os.environ, "PYTHONPATH": ""}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output == f"{checkout.joinpath(*module.split('.'))}/__init__.py\n"


def test_the_tests_of_a_source_distribution_run(wheel: Path, tmp_path: Path) -> None:
    """Some of them: helpers, data, documents and the marks are all there."""
    source = check_out(tmp_path / "source")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, source, cwd=tmp_path)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    chosen = ["tests/network", "tests/package/test_rooms.py", "tests/container/test_digest.py"]
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-m", "quick", "-p", "no:cacheprovider", *chosen]
    output = run(*command, cwd=unpacked)
    assert " passed" in output.splitlines()[-1]
