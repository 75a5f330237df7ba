"""docs/adding-a-layer.md: its table names all that knows the layer which it adds, and its code is the code."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

PAGE = (ROOT / "docs" / "adding-a-layer.md").read_text()
NAMES = re.compile(r"\bRMS_?Norm\w*|\brms_norm\w*|\bRMS_NORM\b")
IN_GRURT, IN_A_CONVERTER = 7, 1


def files_that_know_it() -> set[str]:
    """Return the modules that name the layer, in whatever spelling; `grurt/converters` is a link."""
    sources = [*(ROOT / "converters").rglob("*.py"), *(ROOT / "grurt").rglob("*.py")]
    paths = {path.relative_to(ROOT) for path in sources if NAMES.search(path.read_text())}
    return {path.as_posix() for path in paths if path.parts[:2] != ("grurt", "converters")}


def files_in(text: str) -> list[str]:
    """Return the modules that the tables of a text name, in their first column."""
    return re.findall(r"^\| `([\w/]+\.py)` \|", text, re.MULTILINE)


def test_the_tables_name_every_file_and_few_are_enough() -> None:
    edited, others = map(files_in, PAGE.split("can do without", 1))
    assert sorted(edited + others) == sorted(files_that_know_it())
    assert len([path for path in edited if path.startswith("grurt/")]) <= IN_GRURT
    by_converter = [path.split("/")[1] for path in edited if path.startswith("converters/")]
    assert all(by_converter.count(name) <= IN_A_CONVERTER for name in by_converter)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_code_stands_in_the_sources(code: str) -> None:
    lines = [line.strip() for line in code.splitlines() if line.strip()]
    sources = [(ROOT / path).read_text() for path in files_that_know_it()]
    assert any(all(line in source for line in lines) for source in sources), code
