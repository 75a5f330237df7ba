"""Integers with a scale: weights of floating point in disguise."""

from __future__ import annotations

import math

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.folds.rules import Rule, Rules, axis_of, first_of
from grurt.converters.graph.tracing.parameters import constant, optional, required
from grurt.converters.graph.tracing.values import Arguments

_FLOAT_BYTES = 4


def _dequantize(node: Node, args: Arguments) -> tuple[Array, ...]:
    """DequantizeLinear: ``(x - zero_point) * scale``, with a scale for all, for each of an axis, or for each block."""
    node.ignore("output_dtype")
    array, scale = first_of(node, args), constant(node, required(node, args, 1), "scale")
    if scale.dtype.kind != "f":
        raise node.invalid(f"its scale is of the type {scale.dtype}")
    given = optional(args, 2)
    numbers = array.astype(np.float32)
    if given is not None:
        numbers -= _beside(node, constant(node, given, "zero point"), array)
    numbers *= _beside(node, scale, array)
    return (numbers.astype(scale.dtype, copy=False),)


def _quantize(node: Node, args: Arguments) -> tuple[Array, ...]:
    """QuantizeLinear: ``round(x / scale) + zero_point``, saturated."""
    node.ignore("saturate", "precision")
    array, scale = first_of(node, args), constant(node, required(node, args, 1), "scale")
    given = optional(args, 2)
    zero_point = np.zeros((), np.uint8) if given is None else constant(node, given, "zero point")
    dtype = (
        dtype_of(node.integer("output_dtype", 0), str(node)) if node.integer("output_dtype", 0) else zero_point.dtype
    )
    if dtype.kind not in "iu" or dtype.metadata:
        raise node.unsupported("it gives numbers of less than 8 bits, or of floating point")
    numbers = np.rint(array / _beside(node, scale, array)) + _beside(node, zero_point, array)
    limits = np.iinfo(dtype)
    return (np.clip(numbers, limits.min, limits.max).astype(dtype),)


def _beside(node: Node, parameter: Array, array: Array) -> Array:
    """Return a scale or a zero point as it stands beside each element: repeated only where it is one for each block."""
    if parameter.size == 1 and parameter.ndim <= 1:
        return parameter.reshape(())
    axis, block = axis_of(node, array, 1), node.integer("block_size", 0)
    if parameter.ndim == 1 and not block:
        if parameter.size != array.shape[axis]:
            raise node.invalid(f"it has {parameter.size} scales or zero points for an axis of size {array.shape[axis]}")
        return parameter.reshape([-1 if place == axis else 1 for place in range(array.ndim)])
    expected = tuple(
        -(-size // block) if place == axis and block > 0 else size for place, size in enumerate(array.shape)
    )
    if block < 1 or parameter.shape != expected:
        raise node.invalid(f"its scales or zero points are of the shape {parameter.shape}, for blocks of {block}")
    return np.repeat(parameter, block, axis=axis)[tuple(map(slice, array.shape))]


def _of_floats(node: Node, args: Arguments) -> int:
    array = first_of(node, args)
    repeated = node.integer("block_size", 0) > 0
    return (1 + 2 * repeated) * _FLOAT_BYTES * math.prod(array.shape)


RULES: Rules = {
    "DequantizeLinear": Rule(_dequantize, _of_floats),
    "QuantizeLinear": Rule(_quantize, lambda node, args: 4 * _of_floats(node, args)),
}
