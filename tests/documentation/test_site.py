"""The documentation site is built without a warning, and has what it should."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import grurt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("sphinx", "furo", "myst_parser", "sphinx_click", "sphinx_copybutton", "nbclient", "ipykernel"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "site", "docs", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def test_every_page_of_the_documentation_is_in_the_contents(site: Path) -> None:
    contents = (site / "index.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in contents or page.stem == "index"


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    known = set(re.findall(r'id="([\w.]+)"', (site / "api.html").read_text()))
    names = {name.rpartition(".")[2] for name in known}
    assert {name for name in grurt.__all__ if not name.startswith("__")} - names == set()


def test_every_command_is_in_the_reference(site: Path) -> None:
    from grurt.cli.app import grurt as command_line

    text = html.unescape((site / "command-line.html").read_text())
    for name, command in command_line.commands.items():
        assert f"grurt {name}" in re.sub(r"<[^>]+>", "", text)
        for option in (option for parameter in command.params for option in parameter.opts if option[:2] == "--"):
            assert option in text


def test_examples_were_run(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "examples.html").read_text())
    assert "the same bits as without the interruption: True" in text
    assert "after 10.0 s: standing" in text


def test_notebooks_were_run(site: Path) -> None:
    """Their own assertions held, and what they show is there: two pictures, two sounds, and figures."""
    text = (site / "notebooks.html").read_text()
    assert (text.count('src="data:image/png'), text.count("<audio")) == (2, 2)
    shown = html.unescape(re.sub(r"<[^>]+>", "", text))
    assert re.search(r"largest difference from the engine: \d", shown)
    assert re.search(r"5\.0 dB before, 1\d\.\d dB after", shown)


def test_links_to_the_sources_lead_to_the_repository(site: Path) -> None:
    assert 'href="https://github.com/grurt/grurt/blob/main/README.md"' in (site / "index.html").read_text()
    assert not re.findall(r'href="\.\./[^"]*"', (site / "promises.html").read_text())
