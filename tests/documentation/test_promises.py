"""The page of promises leads to tests that exist, and every file that it names is there."""

from __future__ import annotations

import ast
import re

import pytest
from paths import ROOT

DOCS = ROOT / "docs"
LINKS = re.findall(r"\]\((\.\./tests/[\w/]+\.py)#(\w+)\)", (DOCS / "promises.md").read_text())


def test_there_are_promises() -> None:
    assert len(LINKS) > 30


@pytest.mark.parametrize(("path", "name"), LINKS, ids=[name for _, name in LINKS])
def test_a_promise_leads_to_its_test(path: str, name: str) -> None:
    tree = ast.parse((DOCS / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
