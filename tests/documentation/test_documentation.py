"""The examples in the README, in docs/ and in docstrings run as they stand, and links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from extras import why_missing
from pages import OPTIONS, PAGES, PARSER, run_examples, skip_without_torch
from paths import ROOT
from readers import Reader

import grurt
import grurt.converters


def module_names() -> list[str]:
    return [
        module.name
        for package in (grurt, grurt.converters)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Reader(tmp_path, monkeypatch):
        run_examples(page)


@pytest.mark.parametrize("name", module_names())
def test_examples_of_a_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        reason = why_missing(error.name or "")
        if reason is None:
            raise
        pytest.skip(reason)
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
