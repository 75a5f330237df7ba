"""Element-wise arithmetic: sums and products of values, and of values and constants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.alignment import align, merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import is_given, multiplied, shifted, with_numbers
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators import ends
from grurt.converters.graph.operators.infinities import with_infinities_added
from grurt.converters.graph.operators.movement import repeated_features
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.operators.time_pooling import is_weight, weighted
from grurt.converters.graph.tracing.axes import Role
from grurt.converters.graph.tracing.features import per_feature, without_repeats
from grurt.converters.graph.tracing.parameters import required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network.layers import Add, Mul

_ZERO, _ONE = np.zeros((), np.float32), np.ones((), np.float32)


@operator("Add", "Sum", reads_repeats=True)
def add(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Add (and Sum): of values, or of a value and a constant."""
    if len(args) == 2 and (moved := shifted(*args, 1, build) or shifted(*args[::-1], 1, build)) is not None:
        return (moved,)
    args = _numbers(node, args, build)
    result = _of_values(node, args, Add, build)
    for array in _constants(args):
        result = _with_constant(node, result, _ONE, array, build)
    return (_of_type(args, result),)


@operator("Sub", reads_repeats=True)
def subtract(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Sub: ``a - b``, where one of them may be constant."""
    first, second = required(node, args, 0), required(node, args, 1)
    if (moved := shifted(first, second, -1, build)) is not None:
        return (moved,)
    first, second = (required(node, _numbers(node, args, build), index) for index in range(2))
    if not isinstance(second, Tensor):
        tensor = tensor_input(node, (first,))
        shift = np.asarray(-_in_floats(tensor, without_repeats(second)))
        return (_of_type(args, _with_constant(node, tensor, _ONE, shift, build)),)
    negated = _of_type(args, _scaled(node, second, -_ONE, _ZERO, build))
    if isinstance(first, Tensor):
        return (_of_type(args, combined(node, [first, negated], Add, build)),)
    return (_of_type(args, _with_constant(node, negated, _ONE, first, build)),)


@operator("Mul", reads_repeats=True)
def multiply(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Mul: of values, or of a value and a constant."""
    if len(args) == 2 and (moved := multiplied(*args, build) or multiplied(*args[::-1], build)) is not None:
        return (moved,)
    if (masked := ends.of_product(node, args, build)) is not None:
        return (masked,)
    if len(args) == 2 and any(map(is_weight, args)):
        weights, other = args if is_weight(args[0]) else args[::-1]
        if isinstance(weights, Tensor) and isinstance(other, Tensor):
            return (weighted(node, weights, other, build),)
    args = _numbers(node, args, build)
    result = _of_values(node, args, Mul, build)
    for array in _constants(args):
        result = _with_constant(node, result, array, _ZERO, build)
    return (_of_type(args, result),)


@operator("Neg")
def negate(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Neg: ``-x``."""
    return (_of_type(args, _scaled(node, tensor_input(node, args), -_ONE, _ZERO, build)),)


def _of_type(args: Arguments, result: Tensor) -> Tensor:
    """Return the result of an operation, which of integers is one, too."""
    return replace(result, integer=all(value.integer for value in args if isinstance(value, Tensor)))


def combined(node: Node, tensors: list[Tensor], layer: type[Add | Mul], build: Builder) -> Tensor:
    """Return the sum or product of tensors, whose axes are found to be the same."""
    found = aligned(node, tensors, build)
    inputs = tuple(tensor.rows[0].value for tensor in found)
    name = build.name(node, "add" if layer is Add else "mul")
    return found[0].with_row(Row(build.add(layer(name=name, inputs=inputs))))


def aligned(node: Node, tensors: list[Tensor], build: Builder) -> list[Tensor]:
    """Return tensors of any ranks as one-row values, whose axes are found to be the same."""
    rank = max(len(tensor.dims) for tensor in tensors)
    padded = [replace(tensor, dims=((),) * (rank - len(tensor.dims)) + tensor.dims) for tensor in tensors]
    return align(node, padded, build)


def scaled_and_shifted(node: Node, tensor: Tensor, scale: Array, shift: Array, build: Builder) -> Tensor:
    """Return ``scale * x + shift``; the same tensor where that changes nothing."""
    return tensor if np.all(scale == 1) and not shift.any() else _scaled(node, tensor, scale, shift, build)


def scaled(node: Node, tensor: Tensor, scale: Array, build: Builder) -> Tensor:
    """Return ``scale * x``, by one number or by one for each feature."""
    return _with_constant(node, tensor, scale, _ZERO, build)


def _numbers(node: Node, args: Arguments, build: Builder) -> Arguments:
    """Return what is combined, with integers of an input as numbers: float32 has what comes of them and of others."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    if len(tensors) > 1 and all(tensor.integer for tensor in tensors):
        return args
    return tuple(
        with_numbers(node, value, build) if isinstance(value, Tensor) and is_given(value, build) else value
        for value in args
    )


def _of_values(node: Node, args: Arguments, layer: type[Add | Mul], build: Builder) -> Tensor:
    tensors = [value for value in args if isinstance(value, Tensor)]
    return combined(node, tensors, layer, build) if len(tensors) > 1 else tensors[0]


def _constants(args: Arguments) -> Iterable[Array]:
    return [value for value in args if isinstance(value, np.ndarray)]


def _with_constant(node: Node, tensor: Tensor, scale: Array, shift: Array, build: Builder) -> Tensor:
    """Return ``scale * x + shift``, where one of the two may hold a number for each feature."""
    numbers = [_in_floats(tensor, array) for array in (scale, shift)]
    tensor = merged_features(node, tensor, build)
    for array in numbers:
        tensor = _for_each(node, tensor, array, build)
    scale, shift = (per_feature(node, tensor, array, build.folder.budget) for array in numbers)
    return _scaled(node, tensor, scale, shift, build)


def _in_floats(tensor: Tensor, array: Array) -> Array:
    """Return a constant beside integers, if they are that, as the numbers that they are."""
    is_integer = tensor.integer and array.dtype.kind in "iu"
    return without_repeats(array).astype(np.float32) if is_integer else array


def _for_each(node: Node, tensor: Tensor, array: Array, build: Builder) -> Tensor:
    """Return a tensor of a single feature as often as a constant has numbers for features; others as they are."""
    last = len(tensor.dims) - 1
    is_single = last >= 0 and [axis.role for axis in tensor.dims[last]] == [Role.FEATURE] and tensor.shape[last] == 1
    if not is_single or array.size == 1 or array.shape[-1:] != (array.size,):
        return tensor
    return repeated_features(node, tensor, last, array.size, build)


def _scaled(node: Node, tensor: Tensor, scale: Array, shift: Array, build: Builder) -> Tensor:
    if np.isinf(shift).any():
        finite = build.folder.computed(node, lambda array: np.where(np.isinf(array), np.float32(0), array), shift)
        tensor = scaled_and_shifted(node, tensor, scale, finite, build)
        return build.map(node, tensor, lambda value: with_infinities_added(node, value, shift, build))
    return build.map(node, tensor, lambda value: build.scale_and_shift(node, value, scale, shift))
