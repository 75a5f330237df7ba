"""Evaluates nodes that read only constants: the arithmetic on shapes and weights that exporters leave behind."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.features import without_repeats
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
    budget
        What may be created.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

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
            with np.errstate(all="ignore"):
                return tuple(np.asarray(array) for array in rule.fold(node, args))
        except (ConversionError, UnsupportedError):
            raise
        except (ValueError, IndexError, TypeError, ArithmeticError) as error:
            raise node.invalid("its inputs do not fit together") from error

    def computed(self, node: Node, function: Callable[..., Array], *arrays: Array) -> Array:
        """Return a function of arrays, element by element, computed once for what repeats itself in all of them."""
        compact, shape = _compact(node, arrays)
        self.budget.create(_n_bytes_computed(compact), node)
        with np.errstate(all="ignore"):
            return _expanded(np.asarray(function(*compact)), shape)


@dataclass(frozen=True)
class _Rule:
    """How an operator is evaluated, and how many bytes that creates at most, said before it does."""

    fold: Fold
    bytes_created: Callable[[Node, Arguments], int]


def _arrays(node: Node, args: Arguments) -> list[Array]:
    return [constant(node, value, "inputs") for value in args if value is not None]


def _nothing(node: Node, args: Arguments) -> int:
    """Of operators that return a view."""
    return 0


def _all_inputs(node: Node, args: Arguments) -> int:
    """Of operators that copy their inputs, and whatever these repeat."""
    return sum(array.nbytes for array in _arrays(node, args))


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
    return _WIDEST * _range_length(node, args)


def _of_places(node: Node, args: Arguments) -> int:
    """Of operators that write a number, or as many positions as there are axes, for each element of an input."""
    return sum(_WIDEST * array.size * max(array.ndim, 1) for array in _arrays(node, args))


def _of_tile(node: Node, args: Arguments) -> int:
    array, repeats = constant(node, required(node, args, 0), "input"), optional(args, 1)
    return max(array.nbytes, 1) * math.prod(max(n, 1) for n in parameters.integers(node, repeats, "repeats"))


def _of_elements(node: Node, args: Arguments) -> int:
    compact, _ = _compact(node, _arrays(node, args))
    return _n_bytes_computed(compact)


def _compact(node: Node, arrays: Sequence[Array]) -> tuple[list[Array], tuple[int, ...]]:
    """Return arrays without what they repeat, and the shape that they have together."""
    try:
        shape = _common_shape(arrays)
    except ValueError as error:
        raise node.invalid("the shapes of its inputs do not fit together") from error
    return [without_repeats(array) for array in arrays], shape


def _n_bytes_computed(arrays: Sequence[Array]) -> int:
    return _WIDEST * math.prod(_common_shape(arrays))


def _common_shape(arrays: Sequence[Array]) -> tuple[int, ...]:
    shapes = {array.shape for array in arrays}
    return shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)


def _expanded(array: Array, shape: tuple[int, ...]) -> Array:
    return array if array.shape == shape else np.broadcast_to(array, shape)


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


def _identity(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (constant(node, args[0], "input"),)


def _cast(node: Node, args: Arguments) -> tuple[Array, ...]:
    array, dtype = constant(node, args[0], "input"), dtype_of(node.integer("to", 0), str(node))
    return _elementwise(lambda compact: compact.astype(dtype))(node, (array,))


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


def _size(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (np.array(constant(node, args[0], "input").size, np.int64),)


def _non_zero(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (np.array(np.nonzero(constant(node, args[0], "input")), np.int64),)


def _triangle(node: Node, args: Arguments) -> tuple[Array, ...]:
    diagonal = optional(args, 1)
    k = 0 if diagonal is None else int(parameters.number(node, diagonal, "diagonal"))
    keep = np.triu if node.integer("upper", 1) else np.tril
    return (keep(constant(node, args[0], "input"), k),)


def _gather_elements(node: Node, args: Arguments) -> tuple[Array, ...]:
    data, indices = constant(node, args[0], "data"), constant(node, optional(args, 1), "indices")
    axis = parameters.axis_index(node, node.integer("axis", 0), data.ndim)
    return (np.take_along_axis(data, indices, axis),)


def _scatter_elements(node: Node, args: Arguments) -> tuple[Array, ...]:
    data, indices, updates = (constant(node, value, "inputs") for value in args[:3])
    if node.text("reduction", "none") != "none":
        raise node.unsupported("it combines numbers that it writes to one place")
    result = data.copy()
    np.put_along_axis(result, indices, updates, parameters.axis_index(node, node.integer("axis", 0), data.ndim))
    return (result,)


def _modulo(node: Node, args: Arguments) -> tuple[Array, ...]:
    return _elementwise(np.fmod if node.integer("fmod", 0) else np.mod)(node, args)


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
        compact, shape = _compact(node, [constant(node, value, "inputs") for value in args])
        return (_expanded(np.asarray(function(*compact)), shape),)

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
    "Max": lambda *arrays: np.asarray(functools.reduce(np.maximum, arrays)),
    "Min": lambda *arrays: np.asarray(functools.reduce(np.minimum, arrays)),
    "Where": np.where,
}
_UNARY: dict[str, Callable[..., Array]] = {
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
    "Tanh": np.tanh,
    "IsNaN": np.isnan,
    "Not": np.logical_not,
}
_WIDEST = 8
"""Bytes of an element, at most."""

_RULES: dict[str, _Rule] = {
    **{
        op: _Rule(fold, _nothing)
        for op, fold in (
            ("Constant", _constant),
            ("ConstantOfShape", _constant_of_shape),
            ("Expand", _expand),
            ("Identity", _identity),
            ("Shape", _shape),
            ("Size", _size),
            ("Slice", _slice),
            ("Split", _split),
            ("Squeeze", _squeeze),
            ("Transpose", _transpose),
            ("Unsqueeze", _unsqueeze),
        )
    },
    **{
        op: _Rule(fold, _all_inputs)
        for op, fold in (
            ("Concat", _concat),
            ("ReduceL2", _reduction(_l2)),
            ("ReduceProd", _reduction(_product)),
            ("ReduceSum", _reduction(_sum)),
            ("ScatterElements", _scatter_elements),
            ("Trilu", _triangle),
        )
    },
    "Flatten": _Rule(_flatten, _unless_contiguous),
    "Reshape": _Rule(_reshape, _unless_contiguous),
    "Cast": _Rule(_cast, _of_elements),
    "Gather": _Rule(_gather, _of_gather),
    "GatherElements": _Rule(_gather_elements, _of_places),
    "Mod": _Rule(_modulo, _of_elements),
    "NonZero": _Rule(_non_zero, _of_places),
    "Range": _Rule(_range, _of_range),
    "Tile": _Rule(_tile, _of_tile),
    **{op: _Rule(_elementwise(function), _of_elements) for op, function in (_ARITHMETIC | _UNARY).items()},
}
