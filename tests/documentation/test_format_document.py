"""docs/format.md: its example runs, and its table is that of the code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from paths import ROOT

from grurt.loading import read
from grurt.network.functions import AnyFunction, Function
from grurt.network.layers import AnyLayer, Layer
from grurt.network.operators import AnyOperator, Operator
from grurt.network.versions import FILE_VERSION

DOCUMENT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")


def test_the_file_by_hand_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/format.md", "exec"), {})
    model = read("sum.grurt")
    np.testing.assert_array_equal(model.run(np.float32([[1, 2], [3, 4]])), [[3], [7]])


def test_the_versions_are_those_of_the_layers() -> None:
    table = dict(re.findall(r"^\| (\d) \| (.*?) \|$", DOCUMENT, re.MULTILINE))
    assert [int(version) for version in table] == list(range(1, FILE_VERSION + 1))
    kinds: list[type[Layer | Function]] = [*get_args(AnyLayer), *get_args(AnyFunction)]
    later = {kind.__struct_config__.tag: kind.file_version for kind in kinds if kind.file_version > 1}
    later |= {field: version for kind in get_args(AnyLayer) for field, version in kind.later_fields.items()}
    documented = {kind: int(version) for version, kinds in table.items() for kind in re.findall(r"`(\w+)`", kinds)}
    assert documented == later


def documented_fields(heading: str) -> dict[str, list[str]]:
    """Return the fields of every kind in the table under a heading."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    head = re.findall(rf"^\| ({heading} .*) \|$", DOCUMENT, re.MULTILINE)[0].split(" | ")
    rows = [[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()]
    place = head.index("fields")
    return {kind: re.findall(r"`(\w+)`", row[place]) for row in rows for kind in re.findall(r"`(\w+)`", row[0])}


def fields_of(kinds: Iterable[type[msgspec.Struct]], base: type[msgspec.Struct]) -> dict[str, list[str]]:
    common = {field.name for field in msgspec.structs.fields(base)}
    return {
        kind.__struct_config__.tag: [field.name for field in msgspec.structs.fields(kind) if field.name not in common]
        for kind in kinds
    }


def test_the_table_lists_every_kind_and_field() -> None:
    assert documented_fields("kind") == fields_of(get_args(AnyLayer), Layer)


def test_the_table_of_operators_lists_every_kind_and_field() -> None:
    assert documented_fields("operator") == fields_of(get_args(AnyOperator), Operator)
