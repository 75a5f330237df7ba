"""Products of constant matrices."""

from __future__ import annotations

import math
import re

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.folds.rules import Rule, Rules, arrays_of, first_of
from grurt.converters.graph.tracing.parameters import constant, optional, required
from grurt.converters.graph.tracing.values import Arguments

_PRODUCTS_PER_BYTE = 4
"""How many multiplications are worth looking through one byte."""


def _factors(node: Node, args: Arguments) -> tuple[Array, Array]:
    return first_of(node, args), constant(node, required(node, args, 1), "matrix")


def _matmul(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (np.asarray(np.matmul(*_factors(node, args))),)


def _shape_of_matmul(node: Node, args: Arguments) -> tuple[int, ...]:
    a, b = _factors(node, args)
    if not a.ndim or not b.ndim:
        raise node.invalid("its inputs do not fit together")
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.ndim > 1 else ()
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *rows, *columns)


def _written_out(*arrays: Array) -> int:
    """Return how many bytes arrays take that repeat themselves, and are written out to be multiplied."""
    return sum(array.nbytes for array in arrays if 0 in array.strides)


def _of_matmul(node: Node, args: Arguments) -> int:
    product = math.prod(_shape_of_matmul(node, args)) * first_of(node, args).itemsize
    return int(product + _written_out(*_factors(node, args)))


def _work_of_matmul(node: Node, args: Arguments) -> int:
    return int(math.prod(_shape_of_matmul(node, args)) * first_of(node, args).shape[-1] // _PRODUCTS_PER_BYTE)


def _gemm(node: Node, args: Arguments) -> tuple[Array, ...]:
    """Gemm: ``alpha * A' B' + beta * C``, where A may also be one row, or rows of several axes."""
    a, b = _oriented(node, args)
    product = node.number("alpha", 1.0) * np.matmul(a, b)
    beta, offset = node.number("beta", 1.0), optional(args, 2)
    if offset is not None:
        product = product + beta * constant(node, offset, "C")
    return (np.asarray(product, a.dtype),)


def _oriented(node: Node, args: Arguments) -> tuple[Array, Array]:
    a, b = _factors(node, args)
    is_transposed = bool(node.integer("transA", 0))
    if not a.ndim or b.ndim != 2 or (is_transposed and a.ndim != 2):
        raise node.invalid("its inputs do not fit together")
    return a.T if is_transposed else a, b.T if node.integer("transB", 0) else b


def _of_gemm(node: Node, args: Arguments) -> int:
    a, b = _oriented(node, args)
    return int(2 * math.prod(a.shape[:-1]) * b.shape[1] * a.itemsize + _written_out(a, b))


def _work_of_gemm(node: Node, args: Arguments) -> int:
    a, b = _oriented(node, args)
    return int(a.size * b.shape[1] // _PRODUCTS_PER_BYTE)


def _einsum(node: Node, args: Arguments) -> tuple[Array, ...]:
    _sizes(node, args)
    return (np.asarray(np.einsum(_equation(node), *arrays_of(node, args))),)


def _equation(node: Node) -> str:
    equation = node.text("equation", "").replace(" ", "")
    if not re.fullmatch(r"[a-zA-Z]{1,16}(,[a-zA-Z]{1,16}){0,3}->[a-zA-Z]{0,16}", equation):
        raise node.unsupported(f"its equation is {equation[:50]!r}", "supported are sums that name all axes")
    return equation


def _sizes(node: Node, args: Arguments) -> dict[str, int]:
    """Return the sizes of the axes, by their letters."""
    operands, arrays = _equation(node).split("->")[0].split(","), arrays_of(node, args)
    pairs = [
        (letter, size)
        for letters, array in zip(operands, arrays, strict=True)
        for letter, size in zip(letters, array.shape, strict=True)
    ]
    sizes = dict(pairs)
    if any(sizes[letter] != size for letter, size in pairs):
        raise node.invalid("its inputs do not fit together")
    return sizes


def _of_einsum(node: Node, args: Arguments) -> int:
    sizes, written = _sizes(node, args), _equation(node).split("->")[1]
    if not set(written) <= sizes.keys():
        raise node.invalid("its equation does not fit its inputs")
    return math.prod(sizes[letter] for letter in written) * first_of(node, args).itemsize


def _work_of_einsum(node: Node, args: Arguments) -> int:
    return math.prod(_sizes(node, args).values())


RULES: Rules = {
    "Einsum": Rule(_einsum, _of_einsum, _work_of_einsum, is_late=True),
    "Gemm": Rule(_gemm, _of_gemm, _work_of_gemm, is_late=True),
    "MatMul": Rule(_matmul, _of_matmul, _work_of_matmul, is_late=True),
}
