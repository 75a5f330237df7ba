"""One number of many: sums, extremes, and their places."""

from __future__ import annotations

import numpy as np

from grurt.converters.graph.nodes import ALL_AXES, Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.elementwise import apply, combine, number
from grurt.converters.literal.handlers.logic import compare
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given
from grurt.network import functions, operators

_OPERATIONS = {
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceSum": "sum",
    "ReduceSumSquare": "sum_square",
}
_MOST_FACTORS = 64


def reduced(build: ProgramBuilder, value: Value, axes: tuple[int, ...], operation: str) -> Value:
    """Return one number of all along some axes, which stay with size 1."""
    return build.emit(operators.Reduce, value, axes=axes, operation=operation) if axes else value


@handler(*_OPERATIONS)
def reduction(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Reduce to sums, means, extremes and norms over axes."""
    value, axes = given(node, args), _axes(node, args)
    if not axes:
        return value
    build.mixes(node, 0, *axes)
    return _kept(node, build, reduced(build, value, axes, _OPERATIONS[node.op]), axes)


@handler("ReduceLogSum")
def log_sum(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ReduceLogSum: the logarithm of a sum."""
    value, axes = given(node, args), _axes(node, args)
    build.mixes(node, 0, *axes)
    return _kept(node, build, apply(build, reduced(build, value, axes, "sum"), functions.Log()), axes)


@handler("ReduceLogSumExp")
def log_sum_exp(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ReduceLogSumExp: the logarithm of a sum of exponentials, taken of what is below the largest."""
    value, axes = given(node, args), _axes(node, args)
    build.mixes(node, 0, *axes)
    largest = reduced(build, value, axes, "max")
    total = reduced(build, apply(build, combine(build, "sub", value, largest), functions.Exp()), axes, "sum")
    return _kept(node, build, combine(build, "add", apply(build, total, functions.Log()), largest), axes)


@handler("ReduceProd")
def product(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ReduceProd: the product of few numbers."""
    value, axes = given(node, args), _axes(node, args)
    build.mixes(node, 0, *axes)
    for axis in axes:
        if value.shape[axis] > _MOST_FACTORS:
            raise node.unsupported(f"it multiplies {value.shape[axis]} numbers", f"supported are {_MOST_FACTORS}")
        total, *factors = (build.slice(value, {axis: range(i, i + 1)}) for i in range(value.shape[axis]))
        for factor in factors:
            total = combine(build, "mul", total, factor)
        value = total
    return _kept(node, build, value, axes)


@handler("ArgMax", "ArgMin")
def place(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ArgMax and ArgMin: the first place of those that hold the extreme, or the last."""
    value = given(node, args)
    axis = parameters.axis_index(node, node.integer("axis", 0), value.ndim)
    build.mixes(node, 0, axis)
    is_last, size = bool(node.integer("select_last_index", 0)), value.shape[axis]
    extreme = reduced(build, value, (axis,), "max" if node.op == "ArgMax" else "min")
    places = np.arange(size, dtype=np.float32).reshape([-1 if at == axis else 1 for at in range(value.ndim)])
    none = number(-1 if is_last else size)
    found = build.emit(operators.Where, compare(build, "equal", value, extreme), places, none, dtype=np.dtype(np.int64))
    return _kept(node, build, reduced(build, found, (axis,), "max" if is_last else "min"), (axis,))


@handler("GlobalAveragePool", "GlobalMaxPool")
def over_all_places(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """GlobalAveragePool and GlobalMaxPool: the mean or the largest of all places."""
    value = given(node, args)
    axes = tuple(range(2, value.ndim))
    build.mixes(node, 0, *axes)
    return reduced(build, value, axes, "mean" if node.op == "GlobalAveragePool" else "max")


@handler("Softmax", "LogSoftmax")
def softmax(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Softmax and LogSoftmax over an axis; with `ALL_AXES`, over all from it on."""
    value = given(node, args)
    axis = parameters.axis_index(node, node.integer("axis", -1), value.ndim)
    is_log, shape = node.op == "LogSoftmax", value.shape
    if node.integer(ALL_AXES, 0):
        build.mixes(node, 0, *range(axis, value.ndim))
        merged = build.reshape(value, (*shape[:axis], int(np.prod(shape[axis:]))))
        return build.reshape(build.emit(operators.Softmax, merged, axis=axis, log=is_log), shape)
    build.mixes(node, 0, axis)
    return build.emit(operators.Softmax, value, axis=axis, log=is_log)


@handler("LpNormalization")
def norm(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """LpNormalization: divided by the sum of sizes, or the root of the sum of squares."""
    value, order = given(node, args), node.integer("p", 2)
    axis = parameters.axis_index(node, node.integer("axis", -1), value.ndim)
    build.mixes(node, 0, axis)
    if order not in (1, 2):
        raise node.invalid(f"its order is {order}")
    return combine(build, "div", value, reduced(build, value, (axis,), f"l{order}"))


def _axes(node: Node, args: Arguments) -> tuple[int, ...]:
    """Return the axes that are reduced: all, if none are listed, unless the node says otherwise."""
    rank = given(node, args).ndim
    axes = parameters.listed_axes(node, args, 1, rank)
    does_nothing = node.integer("noop_with_empty_axes", 0)
    return axes or (() if does_nothing else tuple(range(rank)))


def _kept(node: Node, build: ProgramBuilder, value: Value, axes: tuple[int, ...]) -> Value:
    """Return what was reduced along axes, with or without these, as the node says."""
    if node.integer("keepdims", 1):
        return value
    return build.reshape(value, [size for axis, size in enumerate(value.shape) if axis not in axes])
