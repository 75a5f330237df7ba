"""The pages of README and docs: their examples in Python, and the commands that they tell to type."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

NAMES = ("README.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PARSER = doctest.DocTestParser()
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"`(\w+\.py)`[^\n]*\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def skip_without_torch(text: str) -> None:
    if re.search(r"^ *>>> (import|from) torch", text, re.MULTILINE):
        pytest.importorskip("torch")


def run_examples(page: Path) -> None:
    """Run the examples of a page in the current folder."""
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    # The closing fence of a block would be read as expected output.
    text = page.read_text("utf-8").replace("```", "")
    skip_without_torch(text)
    runner.run(PARSER.get_doctest(text, {}, page.name, str(page), 0))
    assert runner.failures == 0


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page in a language, without what they are indented by."""
    found = FENCED.findall(page.read_text("utf-8"))
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, name, text in found if name == language]


def scripts(page: Path) -> dict[str, str]:
    """Return the scripts that a page shows, each behind a line that names it."""
    return {name: text for name, text in SCRIPT.findall(page.read_text("utf-8")) if ">>> " not in text}


def commands(page: Path) -> list[str]:
    """Return the commands of a page in order: lines that go on are joined, and those with `&&` are several."""
    return [command for block in blocks(page, "sh") for command in _commands(block)]


def _commands(block: str) -> Iterator[str]:
    begun = ""
    for line in block.splitlines(keepends=True):
        begun += line.replace("\\\n", "")
        if line.endswith("\\\n") or begun.count("'") % 2 or begun.count('"') % 2:
            continue
        yield from re.split(r" +&& +", re.sub(r" +# .*", "", begun).strip())
        begun = ""
    assert not begun, f"a command without an end: {begun}"
