"""Comparisons and logic: 1 where something holds, and 0 elsewhere."""

from __future__ import annotations

import numpy as np

from grurt.converters.graph.nodes import Node
from grurt.converters.literal.builder import BOOL, ProgramBuilder
from grurt.converters.literal.handlers.elementwise import apply, combine, number
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Traced, Value, given, is_constant
from grurt.network import functions, operators

_COMPARISONS = {
    "Less": ("less", False),
    "LessOrEqual": ("less_or_equal", False),
    "Greater": ("less", True),
    "GreaterOrEqual": ("less_or_equal", True),
    "Equal": ("equal", False),
}
"""The operation, and whether it looks at the second value first."""

_JUNCTIONS = {"And": "min", "Or": "max"}


def compare(build: ProgramBuilder, operation: str, a: Value, b: Value) -> Traced:
    """Return 1 where a comparison holds, and 0 elsewhere."""
    return build.emit(operators.Combine, a, b, operation=operation, dtype=BOOL)


def negated(build: ProgramBuilder, value: Value) -> Traced:
    """Return 1 for 0, and 0 for 1."""
    return apply(build, value, functions.Affine(-1.0, 1.0))


def is_not_zero(build: ProgramBuilder, value: Traced) -> Traced:
    """Return 1 where a value is another number than 0, or none."""
    return value if value.dtype == BOOL else negated(build, compare(build, "equal", value, build.zero))


@handler(*_COMPARISONS)
def comparison(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Comparisons of two values."""
    operation, is_swapped = _COMPARISONS[node.op]
    a, b = given(node, args, 0), given(node, args, 1)
    return compare(build, operation, *((b, a) if is_swapped else (a, b)))


@handler(*_JUNCTIONS)
def junction(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """And, the smaller one of two, and Or, the larger one."""
    return combine(build, _JUNCTIONS[node.op], given(node, args, 0), given(node, args, 1))


@handler("Xor")
def exclusive(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Xor: whether they differ."""
    return negated(build, compare(build, "equal", given(node, args, 0), given(node, args, 1)))


@handler("Not")
def inverse(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Not."""
    return negated(build, given(node, args))


@handler("IsNaN")
def is_nan(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """IsNaN: which numbers are not equal to themselves."""
    value = given(node, args)
    return negated(build, compare(build, "equal", value, value))


@handler("IsInf")
def is_infinite(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """IsInf: which numbers are infinite, of one sign where the attributes say so."""
    value = given(node, args)
    signs = node.integer("detect_positive", 1), node.integer("detect_negative", 1)
    if not any(signs):
        return np.zeros(value.shape, np.bool_)
    size = apply(build, value, functions.Abs()) if all(signs) else value
    return compare(build, "equal", size, number(np.inf if signs[0] else -np.inf))


@handler("Where")
def where(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Where: of each two numbers the first where the condition holds, else the second."""
    condition, a, b = (given(node, args, index) for index in range(3))
    dtype = b.dtype if is_constant(a) else a.dtype
    return build.emit(operators.Where, condition, a, b, dtype=dtype)
