"""The work of a conversion grows as the graph does: counted in lines of Python, not in time."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
from growing_graphs import FAMILIES
from onnx import ModelProto
from onnx_graphs import convert

from grurt.errors import GrurtError

pytestmark = pytest.mark.slow

SMALL, LARGE = 100, 200


def lines_run(model: ModelProto) -> int:
    """Return how many lines of Python a conversion runs, also one that ends in an error."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(GrurtError):
            convert(model)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", FAMILIES)
def test_twice_the_graph_is_twice_the_work(name: str) -> None:
    make = FAMILIES[name]
    lines_run(make(2))
    assert lines_run(make(LARGE)) < 2.25 * lines_run(make(SMALL))
