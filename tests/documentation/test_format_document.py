"""docs/format.md: its example runs, and its table is that of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from paths import ROOT

from grurt.loading import read
from grurt.network.functions import AnyFunction, Function
from grurt.network.layers import AnyLayer, Layer
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


def test_the_table_lists_every_kind_and_field() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) ?\| (.*?) ?\|$", DOCUMENT, re.MULTILINE)
    documented = {kind: fields.split() for kinds, fields, _ in rows for kind in re.findall(r"`(\w+)`", kinds)}
    common = {field.name for field in msgspec.structs.fields(Layer)}
    expected = {
        layer.__struct_config__.tag: [
            f"`{field.name}`" for field in msgspec.structs.fields(layer) if field.name not in common
        ]
        for layer in get_args(AnyLayer)
    }
    assert documented == expected
