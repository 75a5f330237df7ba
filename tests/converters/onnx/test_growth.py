"""The work of a conversion grows as the graph does: counted in lines of Python, not in time."""

from __future__ import annotations

from contextlib import suppress

import pytest
from growing_graphs import FAMILIES
from onnx import ModelProto
from onnx_graphs import convert
from work import lines_run

from grurt.errors import GrurtError

pytestmark = pytest.mark.slow

SMALL, LARGE = 100, 200


def lines_of_conversion(model: ModelProto) -> int:
    """Return how many lines of Python a conversion runs, also one that ends in an error."""

    def attempt() -> None:
        with suppress(GrurtError):
            convert(model)

    return lines_run(attempt)


@pytest.mark.parametrize("name", FAMILIES)
def test_twice_the_graph_is_twice_the_work(name: str) -> None:
    make = FAMILIES[name]
    lines_of_conversion(make(2))
    assert lines_of_conversion(make(LARGE)) < 2.25 * lines_of_conversion(make(SMALL))
