"""Messages that say what to install say it for the copy of grurt that is running."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import pytest
from paths import ROOT

from grurt import installing
from grurt.installing import install_command

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
METADATA = """Metadata-Version: 2.4
Name: grurt
Version: 1.0
Requires-Dist: msgspec>=0.19
Requires-Dist: numba<0.69; sys_platform != "linux"
Requires-Dist: onnx>=1.16; extra == "onnx"
Requires-Dist: onnxruntime>=1.20; python_version < "3.15" and extra == "onnx"
Requires-Dist: click>=8.1; extra == "cli"
"""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a copy of grurt that runs now."""
    package = tmp_path / "site" / "grurt"
    package.mkdir(parents=True)
    monkeypatch.setattr(installing, "_PACKAGE", package)
    monkeypatch.syspath_prepend(package.parent)
    return package


def install(package: Path, direct_url: dict[str, object] | None) -> None:
    """Write what pip writes beside a package."""
    folder = package.parent / "grurt-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    (folder / "RECORD").write_text("grurt/__init__.py,,\n")
    if direct_url is not None:
        (folder / "direct_url.json").write_text(json.dumps(direct_url))


def test_from_an_index(copy: Path) -> None:
    install(copy, None)
    assert install_command("onnx") == 'pip install "grurt[onnx]"'


@pytest.mark.parametrize(
    "origin", [{"dir_info": {}}, {"dir_info": {"editable": True}}, {"archive_info": {}}, {"vcs_info": {"vcs": "git"}}]
)
def test_from_elsewhere(copy: Path, origin: dict[str, object]) -> None:
    install(copy, {"url": "file:///tmp/grurt", **origin})
    assert install_command("onnx") == """pip install "onnx>=1.16" "onnxruntime>=1.20; python_version < '3.15'\""""
    assert install_command("cli") == 'pip install "click>=8.1"'


def test_what_is_installed_beside_another_copy_says_nothing_of_this_one(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(copy, None)
    monkeypatch.setattr(installing, "_PACKAGE", tmp_path / "checkout" / "grurt")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").write_text(
        '[project]\nname = "grurt"\noptional-dependencies.onnx = ["onnx>=2"]\n'
    )
    assert install_command("onnx") == 'pip install "onnx>=2"'


@pytest.mark.parametrize("content", [None, "", "[project", '[project]\nname = "another"\noptional-dependencies = {}\n'])
def test_a_copy_that_says_nothing_of_itself(copy: Path, content: str | None) -> None:
    if content is not None:
        (copy.parent / "pyproject.toml").write_text(content)
    assert install_command("report") == 'pip install "grurt[report]"'


@pytest.mark.parametrize("extra", ["cli", "jit", "keras", "onnx", "report", "torch"])
def test_every_extra_that_messages_name(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "_own_distribution", lambda: None)
    assert shlex.split(install_command(extra)) == ["pip", "install", *EXTRAS[extra]]


def test_numba_has_one_range() -> None:
    (everywhere,) = (each for each in PROJECT["dependencies"] if each.startswith("numba"))
    assert [everywhere.partition(";")[0]] == EXTRAS["jit"]
