"""Evaluates nodes that read only constants: the arithmetic on shapes and weights that exporters leave behind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.elements import Element, dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.folds import elements, places, products, quantized, reductions
from grurt.converters.graph.tracing.folds.rules import (
    WIDEST,
    Rule,
    Rules,
    all_inputs,
    compact,
    expanded,
    n_bytes_computed,
    nothing,
)
from grurt.converters.graph.tracing.parameters import constant, optional, required
from grurt.converters.graph.tracing.values import Arguments
from grurt.errors import ConversionError, UnsupportedError

MAX_VIEW = 2**34
"""Elements of a constant that repeats a smaller one without taking memory, as the zeros of an initial state do."""


class Folder:
    """Evaluates nodes within a budget, so that a small file cannot ask for endless memory or time.

    Parameters
    ----------
    budget
        What may be created.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def folds_early(self, node: Node) -> bool:
        """Say whether a node can be evaluated before the graph is interpreted, if all that it reads is constant."""
        rule = _RULES.get(node.op)
        return rule is not None and not rule.is_late

    def fold(self, node: Node, args: Arguments) -> tuple[Array, ...]:
        """Return what a node writes whose inputs are constants.

        Raises
        ------
        UnsupportedError
            If there is no rule for the operator, or the budget is spent.
        ConversionError
            If the operator refuses its inputs.
        """
        rule = _RULES.get(node.op)
        if rule is None:
            raise node.unsupported("it works on constants only, and grurt does not evaluate this operator")
        try:
            self.budget.create(rule.bytes_created(node, args), node)
            self.budget.read(rule.bytes_read(node, args), node)
            with np.errstate(all="ignore"):
                return tuple(np.asarray(array) for array in rule.fold(node, args))
        except (ConversionError, UnsupportedError):
            raise
        except (ValueError, IndexError, TypeError, ArithmeticError) as error:
            raise node.misfit("its inputs do not fit together") from error

    def computed(self, node: Node, function: Callable[..., Array], *arrays: Array) -> Array:
        """Return a function of arrays, element by element, computed once for what repeats itself in all of them."""
        distinct, shape = compact(node, arrays)
        self.budget.create(n_bytes_computed(distinct), node)
        with np.errstate(all="ignore"):
            return expanded(np.asarray(function(*distinct)), shape)


def is_foldable(node: Node) -> bool:
    """Say whether there is a rule for a node's operator."""
    return node.op in _RULES


def _unless_contiguous(node: Node, args: Arguments) -> int:
    """Of operators that return a view of an array that lies in one piece, and copy others."""
    array = constant(node, required(node, args, 0), "input")
    return 0 if array.flags.c_contiguous else array.nbytes


def _of_gather(node: Node, args: Arguments) -> int:
    data, indices = constant(node, required(node, args, 0), "data"), constant(node, optional(args, 1), "indices")
    axis = parameters.axis_index(node, node.integer("axis", 0), data.ndim)
    kept = math.prod(size for place, size in enumerate(data.shape) if place != axis)
    return int(indices.size * max(kept, 1) * data.itemsize)


def _of_range(node: Node, args: Arguments) -> int:
    return WIDEST * _range_length(node, args)


def _of_tile(node: Node, args: Arguments) -> int:
    array, repeats = constant(node, required(node, args, 0), "input"), _repeats(node, args)
    return array.nbytes * math.prod(count for count, size in zip(repeats, array.shape, strict=True) if size > 1)


def _repeats(node: Node, args: Arguments) -> tuple[int, ...]:
    repeats = parameters.integers(node, optional(args, 1), "repeats")
    if len(repeats) != constant(node, required(node, args, 0), "input").ndim or any(count < 0 for count in repeats):
        raise node.invalid("its inputs do not fit together")
    return repeats


def _shape(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (shape_slice(node, constant(node, args[0], "input").shape),)


def shape_slice(node: Node, shape: tuple[int, ...]) -> Array:
    """Return what the operator Shape gives for a tensor of this shape: all sizes, or those from start to end."""
    if max(shape, default=1) > MAX_VIEW:
        raise node.unsupported(f"its input of shape {shape} is too large")
    start, end = node.integer("start", 0), node.integer("end", len(shape))
    return np.array(shape[start:end], np.int64)


def _constant(node: Node, args: Arguments) -> tuple[Array, ...]:
    for name in ("value", "sparse_value"):
        value = node.tensor(name) if node.has(name) else None
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


def _constant_fill(node: Node, args: Arguments) -> tuple[Array, ...]:
    """ConstantFill, which ConstantOfShape has taken the place of: of a shape that an attribute or its input gives."""
    given, dtype = optional(args, 0), dtype_of(node.integer("dtype", Element.FLOAT), str(node))
    if given is None:
        shape = node.integers("shape")
    elif node.integer("input_as_shape", 0):
        shape = parameters.integers(node, given, "shape")
    else:
        shape = constant(node, given, "input").shape
    value = np.asarray(node.number("value", 0.0), dtype)
    return (_repeated(node, value, (*shape, *node.integers("extra_shape"))),)


def _expand(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = constant(node, args[0], "input")
    shape = parameters.integers(node, optional(args, 1), "shape")
    return (_repeated(node, array, np.broadcast_shapes(array.shape, shape)),)


def _repeated(node: Node, array: Array, shape: tuple[int, ...]) -> Array:
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_VIEW:
        raise node.unsupported(f"it makes a constant of the shape {shape}, which is too large")
    return np.broadcast_to(array, shape)


def _identity(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (constant(node, args[0], "input"),)


def _gather(node: Node, args: Arguments) -> tuple[Array, ...]:
    data, indices = constant(node, args[0], "data"), constant(node, optional(args, 1), "indices")
    axis = parameters.axis_index(node, node.integer("axis", 0), data.ndim)
    if indices.dtype.kind not in "iu":
        raise node.invalid(f"its indices are of the type {indices.dtype}")
    return (data[(slice(None),) * axis + (indices,)],)  # np.take copies all of the data first, what they repeat too


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
    _range_length(node, args)
    start, limit, step = (constant(node, value, "inputs") for value in args[:3])
    return (np.arange(start.item(), limit.item(), step.item(), dtype=start.dtype),)


def _range_length(node: Node, args: Arguments) -> int:
    """Return how many elements Range writes: integers are counted exactly."""
    arrays = [constant(node, required(node, args, i), "inputs") for i in range(3)]
    if len({array.dtype for array in arrays}) > 1 or any(array.size != 1 for array in arrays):
        raise node.invalid("its start, limit and step are not one number each, of one type")
    start, limit, step = (array.item() for array in arrays)
    if step == 0 or not all(math.isfinite(number) for number in (start, limit, step)):
        raise node.invalid(f"it counts from {start} to {limit} by {step}")
    if arrays[0].dtype.kind in "iu":
        return len(range(start, limit, step))
    length = (limit - start) / step
    if not math.isfinite(length):
        raise node.unsupported(f"it counts from {start} to {limit} by {step}", "a range must be shorter")
    return int(max(0, math.ceil(length)))


def _tile(node: Node, args: Arguments) -> tuple[Array, ...]:
    """Tile: axes of size 1 are repeated without taking memory."""
    array, repeats = constant(node, args[0], "input"), _repeats(node, args)
    copied = [count if size > 1 else 1 for count, size in zip(repeats, array.shape, strict=True)]
    tiled = np.tile(array, copied) if max(copied, default=1) > 1 else array
    return (_repeated(node, tiled, tuple(size * count for size, count in zip(array.shape, repeats, strict=True))),)


_MOVES: Rules = {
    **{
        op: Rule(fold, nothing)
        for op, fold in (
            ("Constant", _constant),
            ("ConstantFill", _constant_fill),
            ("ConstantOfShape", _constant_of_shape),
            ("Expand", _expand),
            ("Identity", _identity),
            ("Shape", _shape),
            ("Slice", _slice),
            ("Split", _split),
            ("Squeeze", _squeeze),
            ("Transpose", _transpose),
            ("Unsqueeze", _unsqueeze),
        )
    },
    "Concat": Rule(_concat, all_inputs),
    "Flatten": Rule(_flatten, _unless_contiguous),
    "Reshape": Rule(_reshape, _unless_contiguous),
    "Gather": Rule(_gather, _of_gather),
    "Range": Rule(_range, _of_range),
    "Tile": Rule(_tile, _of_tile),
}

_RULES: Rules = {**_MOVES, **elements.RULES, **reductions.RULES, **products.RULES, **places.RULES, **quantized.RULES}
