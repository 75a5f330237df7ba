"""The examples in the README, in docs/ and in docstrings run as they stand, and links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from paths import ROOT

import grurt
import grurt.converters

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PARSER = doctest.DocTestParser()


def module_names() -> list[str]:
    return [
        module.name
        for package in (grurt, grurt.converters)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ]


def skip_without_torch(text: str) -> None:
    if re.search(r"^ *>>> (import|from) torch", text, re.MULTILINE):
        pytest.importorskip("torch")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    # The closing fence of a block would be read as expected output.
    text = page.read_text().replace("```", "")
    skip_without_torch(text)
    runner.run(PARSER.get_doctest(text, {}, page.name, str(page), 0))
    assert runner.failures == 0


@pytest.mark.parametrize("name", module_names())
def test_examples_of_a_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip("torch is not installed")
    skip_without_torch(Path(str(module.__file__)).read_text("utf-8"))
    assert doctest.testmod(module, optionflags=OPTIONS).failed == 0


def test_there_are_examples() -> None:
    assert sum(len(PARSER.get_examples(page.read_text())) for page in PAGES) >= 10
    finder = doctest.DocTestFinder(exclude_empty=True)
    documented = [test.name for test in finder.find(grurt.Model) + finder.find(grurt.Stream) if test.examples]
    assert len(documented) >= 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_public_name_has_a_docstring() -> None:
    assert [name for name in grurt.__all__ if not name.startswith("__") and not getattr(grurt, name).__doc__] == []
