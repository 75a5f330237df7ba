"""Evaluates nodes that read only constants: the arithmetic on shapes and weights that exporters leave behind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.parameters import constant, optional, required
from grurt.converters.graph.tracing.values import Arguments
from grurt.errors import ConversionError, UnsupportedError

Fold = Callable[[Node, Arguments], tuple[Array, ...]]

MAX_VIEW = 2**34
"""Elements of a constant that repeats a smaller one without taking memory, as the zeros of an initial state do."""


class Folder:
    """Evaluates nodes within a budget, so that a small file cannot ask for endless memory or time.

    Parameters
    ----------
    elements
        How many elements may be written in all.
    """

    def __init__(self, elements: int) -> None:
        self._remaining = elements

    def fold(self, node: Node, args: Arguments) -> tuple[Array, ...]:
        """Return what a node writes whose inputs are constants.

        Raises
        ------
        UnsupportedError
            If there is no rule for the operator.
        ConversionError
            If the operator refuses its inputs, or the budget is spent.
        """
        if node.op not in _FOLDS:
            raise node.unsupported("it works on constants only, and grurt does not evaluate this operator")
        self._remaining -= _elements_written(node, args)
        if self._remaining < 0:
            raise node.unsupported("the constants that the graph computes are too large")
        try:
            return tuple(np.asarray(array) for array in _FOLDS[node.op](node, args))
        except (ConversionError, UnsupportedError):
            raise
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise node.invalid("its inputs do not fit together") from error


def _elements_written(node: Node, args: Arguments) -> int:
    """Return how many elements an operator writes, before it does."""
    arrays = [constant(node, value, "inputs") for value in args if value is not None]
    if node.op in _VIEWS or not arrays:
        return 1
    if node.op == "Gather" and len(arrays) == 2:
        data, indices = arrays
        return indices.size * math.prod(data.shape[1:]) if node.integer("axis", 0) == 0 else indices.size * data.size
    if node.op == "Range":
        start, limit, step = (float(array.reshape(-1)[0]) if array.size else 0.0 for array in (arrays * 3)[:3])
        return math.ceil(abs((limit - start) / step)) if step and math.isfinite(limit - start) else 2**62
    if node.op == "Tile":
        return math.prod(max(repeat, 1) for repeat in parameters.integers(node, arrays[-1], "repeats")) * max(
            arrays[0].size, 1
        )
    if node.op in _BROADCASTING:
        try:
            return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
        except ValueError as error:
            raise node.invalid("the shapes of its inputs do not fit together") from error
    return sum(array.size for array in arrays)


def _shape(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (shape_slice(node, constant(node, args[0], "input").shape),)


def shape_slice(node: Node, shape: tuple[int, ...]) -> Array:
    """Return what the operator Shape gives for a tensor of this shape: all sizes, or those from start to end."""
    if max(shape, default=1) > MAX_VIEW:
        raise node.unsupported(f"its input of shape {shape} is too large")
    start, end = node.integer("start", 0), node.integer("end", len(shape))
    return np.array(shape[start:end], np.int64)


def _constant(node: Node, args: Arguments) -> tuple[Array, ...]:
    if node.has("value"):
        value = node.tensor("value")
        if value is not None:
            return (value,)
    if node.has("value_float"):
        return (np.array(node.number("value_float", 0.0), np.float32),)
    if node.has("value_int"):
        return (np.array(node.integer("value_int", 0), np.int64),)
    if node.has("value_floats"):
        return (np.array(node.numbers("value_floats"), np.float32),)
    if node.has("value_ints"):
        return (np.array(node.integers("value_ints"), np.int64),)
    raise node.unsupported("its value is of a kind that is not supported")


def _constant_of_shape(node: Node, args: Arguments) -> tuple[Array, ...]:
    fill = node.tensor("value")
    value = np.zeros(1, np.float32) if fill is None else fill
    return (_repeated(node, value.reshape(()), parameters.integers(node, required(node, args, 0), "shape")),)


def _expand(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    shape = parameters.integers(node, optional(args, 1), "shape")
    return (_repeated(node, array, np.broadcast_shapes(array.shape, shape)),)


def _repeated(node: Node, array: Array, shape: tuple[int, ...]) -> Array:
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_VIEW:
        raise node.unsupported(f"it makes a constant of the shape {shape}, which is too large")
    return np.broadcast_to(array, shape)


def _cast(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (constant(node, args[0], "input").astype(dtype_of(node.integer("to", 0), str(node))),)


def _gather(node: Node, args: Arguments) -> tuple[Array, ...]:
    data, indices = constant(node, args[0], "data"), constant(node, optional(args, 1), "indices")
    axis = parameters.axis_index(node, node.integer("axis", 0), data.ndim)
    return (np.take(data, indices, axis=axis, mode="raise"),)


def _concat(node: Node, args: Arguments) -> tuple[Array, ...]:
    arrays = [constant(node, value, "inputs") for value in args]
    axis = parameters.axis_index(node, node.integer("axis", 0), arrays[0].ndim)
    return (np.concatenate(arrays, axis=axis),)


def _slice(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    for axis, kept in parameters.slice_ranges(node, args, array.shape, [False] * array.ndim).items():
        array = np.moveaxis(np.moveaxis(array, axis, 0)[kept.start : _stop(kept) : kept.step], 0, axis)
    return (array,)


def _stop(kept: range) -> int | None:
    return None if kept.stop < 0 else kept.stop


def _split(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    axis = parameters.axis_index(node, node.integer("axis", 0), array.ndim)
    sizes = parameters.split_sizes(node, args, array.shape[axis])
    return tuple(np.split(array, np.cumsum(sizes)[:-1], axis=axis))


def _squeeze(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    return (np.squeeze(array, parameters.squeezed_axes(node, args, array.shape)),)


def _unsqueeze(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    return (np.expand_dims(array, parameters.unsqueezed_axes(node, args, array.ndim)),)


def _reshape(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    return (array.reshape(parameters.reshape_target(node, args, array.shape)),)


def _flatten(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    return (array.reshape(parameters.flattened(node, array.shape)),)


def _transpose(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    return (array.transpose(parameters.permutation(node, array.ndim)),)


def _range(node: Node, args: Arguments) -> tuple[Array, ...]:
    start, limit, step = (constant(node, required(node, args, i), "inputs").reshape(()) for i in range(3))
    return (np.arange(start.item(), limit.item(), step.item(), dtype=start.dtype),)


def _tile(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    return (np.tile(array, parameters.integers(node, optional(args, 1), "repeats")),)


def _divide(a: Array, b: Array) -> Array:
    """Divide as ONNX does: integers towards zero."""
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(np.divide(a, b)), a.dtype)
    return np.asarray(np.divide(a, b))


def _elementwise(function: Callable[..., Array]) -> Fold:
    def fold(node: Node, args: Arguments) -> tuple[Array, ...]:
        arrays = [constant(node, value, "inputs") for value in args]
        with np.errstate(all="ignore"):
            return (np.asarray(function(*arrays)),)

    return fold


def _reduction(function: Callable[..., Array]) -> Fold:
    def fold(node: Node, args: Arguments) -> tuple[Array, ...]:
        array = constant(node, args[0], "input")
        axes = parameters.listed_axes(node, args, 1, array.ndim)
        if node.integer("noop_with_empty_axes", 0) and axes is None:
            return (array,)
        return (np.asarray(function(array, axes, bool(node.integer("keepdims", 1)))),)

    return fold


def _l2(array: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
    return np.asarray(np.sqrt(np.sum(np.square(array), axis=axes, keepdims=keepdims)), array.dtype)


def _sum(array: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
    return np.asarray(np.sum(array, axis=axes, keepdims=keepdims), array.dtype)


def _product(array: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
    return np.asarray(np.prod(array, axis=axes, keepdims=keepdims), array.dtype)


_ARITHMETIC: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Equal": np.equal,
    "Pow": np.power,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Greater": np.greater,
    "Where": np.where,
}
_UNARY: dict[str, Callable[..., Array]] = {
    "Identity": np.asarray,
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Log": np.log,
    "Reciprocal": np.reciprocal,
    "Abs": np.abs,
    "Sign": np.sign,
    "Round": np.rint,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Sin": np.sin,
    "Cos": np.cos,
    "Not": np.logical_not,
}
_BROADCASTING = frozenset(_ARITHMETIC)
_VIEWS = frozenset({"Constant", "ConstantOfShape", "Expand", "Shape", "Identity", "Slice", "Squeeze", "Unsqueeze"})

_FOLDS: dict[str, Fold] = {
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Range": _range,
    "ReduceL2": _reduction(_l2),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **{op: _elementwise(function) for op, function in (_ARITHMETIC | _UNARY).items()},
}
