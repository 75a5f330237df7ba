"""Products of matrices."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from grurt.converters.graph.nodes import Node
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.elementwise import apply, combine
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Traced, Value, given, is_constant
from grurt.network import functions, operators


@handler("MatMul")
def product(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """MatMul, of vectors too."""
    a, b = given(node, args, 0), given(node, args, 1)
    if not a.ndim or not b.ndim:
        raise node.invalid("it multiplies a single number")
    build.mixes(node, 0, a.ndim - 1)
    rows = a if a.ndim > 1 else build.reshape(a, (1, *a.shape))
    columns = b if b.ndim > 1 else build.reshape(b, (*b.shape, 1))
    found = matmul(build, rows, columns)
    shape = list(found.shape)
    if b.ndim == 1:
        del shape[-1]
    if a.ndim == 1:
        del shape[-1 if b.ndim == 1 else -2]
    return build.reshape(found, shape)


def matmul(build: ProgramBuilder, a: Value, b: Value) -> Traced:
    """Return the product of the last two axes."""
    return build.emit(operators.MatMul, a, b, dtype=b.dtype if is_constant(a) else a.dtype)


@handler("Gemm")
def general(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Gemm: ``alpha * a @ b + beta * c``."""
    a, b, c = given(node, args, 0), given(node, args, 1), args[2] if len(args) > 2 else None
    if a.ndim < 2 or b.ndim != 2 or (node.integer("transA", 0) and a.ndim != 2):
        raise node.invalid("its inputs are no matrices")
    build.mixes(node, 0, 0 if node.integer("transA", 0) else a.ndim - 1)
    a = build.transpose(a, (1, 0)) if node.integer("transA", 0) else a
    b = build.transpose(b, (1, 0)) if node.integer("transB", 0) else b
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if is_constant(b):
        b = scaled(build, b, alpha)
        found: Value = matmul(build, a, b)
    else:
        found = scaled(build, matmul(build, a, b), alpha)
    return found if c is None else combine(build, "add", found, scaled(build, c, beta))


def scaled(build: ProgramBuilder, value: Value, factor: float) -> Value:
    """Return a value times a number."""
    if factor == 1.0:
        return value
    if is_constant(value):
        return np.asarray(value.astype(np.float64) * factor)
    return apply(build, value, functions.Affine(factor))


@handler("Einsum")
def summed_products(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Einsum of one or two values: axes brought in order, a product of matrices, and in order again."""
    sources, written = _equation(node, args)
    values: list[Value] = []
    for index, letters in enumerate(sources):
        value = given(node, args, index)
        others = "".join(other for place, other in enumerate(sources) if place != index)
        gone = [axis for axis, letter in enumerate(letters) if letter not in written and letter not in others]
        build.mixes(node, index, *(axis for axis, letter in enumerate(letters) if letter not in written))
        if gone:
            value = build.emit(operators.Reduce, value, axes=tuple(gone), operation="sum")
            value = build.reshape(value, [size for axis, size in enumerate(value.shape) if axis not in gone])
            sources[index] = "".join(letter for axis, letter in enumerate(letters) if axis not in gone)
        values.append(value)
    if len(values) == 1:
        return build.transpose(values[0], [sources[0].index(letter) for letter in written])
    return _contracted(build, values, sources, written)


def _contracted(build: ProgramBuilder, values: Sequence[Value], letters: Sequence[str], written: str) -> Value:
    a, b = letters
    sizes = {
        letter: size
        for value, word in zip(values, letters, strict=True)
        for letter, size in zip(word, value.shape, strict=True)
    }
    shared = [letter for letter in a if letter in b and letter in written]
    summed = [letter for letter in a if letter in b and letter not in written]
    rows, columns = [letter for letter in a if letter not in b], [letter for letter in b if letter not in a]

    def count(group: Sequence[str]) -> int:
        return math.prod(sizes[letter] for letter in group)

    left = build.transpose(values[0], [a.index(letter) for letter in (*shared, *rows, *summed)])
    right = build.transpose(values[1], [b.index(letter) for letter in (*shared, *summed, *columns)])
    batch = [sizes[letter] for letter in shared]
    found = matmul(
        build,
        build.reshape(left, (*batch, count(rows), count(summed))),
        build.reshape(right, (*batch, count(summed), count(columns))),
    )
    order = [*shared, *rows, *columns]
    whole = build.reshape(found, [sizes[letter] for letter in order])
    return build.transpose(whole, [order.index(letter) for letter in written])


def _equation(node: Node, args: Arguments) -> tuple[list[str], str]:
    """Return the letters of the axes of each value, and of the result; all axes have one."""
    equation = node.text("equation", "").replace(" ", "")
    read, arrow, written = equation.partition("->")
    sources = read.split(",")
    if len(sources) != len(args) or len(sources) > 2 or not re.fullmatch(r"[a-zA-Z.,>-]{1,200}", equation):
        raise node.unsupported(f"its equation is {equation[:50]!r}", "supported are those of one or two values")
    free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if letter not in equation]
    widest = 0
    for index, letters in enumerate(sources):
        if "..." in letters:
            n = max(0, given(node, args, index).ndim - (len(letters) - 3))
            widest = max(widest, n)
            sources[index] = letters.replace("...", "".join(free[:n][::-1]))
    written = written.replace("...", "".join(free[:widest][::-1]))
    if not arrow:
        together = "".join(sources)
        kept = sorted(letter for letter in set(together) if together.count(letter) == 1 and letter not in free[:widest])
        written = "".join(free[:widest][::-1]) + "".join(kept)
    for index, letters in enumerate(sources):
        if len(set(letters)) != len(letters) or len(letters) != given(node, args, index).ndim or "." in letters:
            raise node.unsupported(f"its equation is {equation[:50]!r}", "supported are those that name each axis once")
    if not set(written) <= set("".join(sources)) or len(set(written)) != len(written):
        raise node.invalid("its equation does not fit its inputs")
    return sources, written
