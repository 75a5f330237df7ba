"""Numbers of another type: a program has one, so that only what is lost has to be done."""

from __future__ import annotations

from typing import Any

import numpy as np

from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.literal.builder import BOOL, ProgramBuilder
from grurt.converters.literal.handlers.elementwise import truncated
from grurt.converters.literal.handlers.logic import is_not_zero
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Traced, Value, given


@handler("Cast")
def cast(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Cast: whole numbers are what is left of others towards zero; a condition is whether they are 0."""
    node.ignore("saturate", "round_mode")
    return converted(build, given(node, args), dtype_of(node.integer("to", 0), str(node)))


@handler("CastLike")
def cast_like(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """CastLike: to the type of another value."""
    node.ignore("saturate", "round_mode")
    return converted(build, given(node, args), given(node, args, 1).dtype)


def converted(build: ProgramBuilder, value: Value, dtype: np.dtype[Any]) -> Value:
    """Return a value as numbers of another type."""
    if not isinstance(value, Traced):
        return value.astype(dtype)
    if dtype == BOOL:
        return is_not_zero(build, value)
    if dtype.kind in "iu" and value.dtype.kind == "f":
        value = truncated(build, value)
    return Traced(value.name, value.shape, dtype)
