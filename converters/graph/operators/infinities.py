"""Infinities that a graph adds to some features, as masks before a softmax do: no weight holds one."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.network import functions
from grurt.network.layers import Add, Constant


def with_infinities_added(node: Node, value: str, numbers: Array, build: Builder) -> str:
    """Return a value with those of the numbers ``()`` or ``(size,)`` added that are infinite.

    The logarithm of 0 is minus infinity, and that of 1 adds nothing.
    """
    for sign in (-1, 1):
        if not np.any(numbers == sign * np.inf):
            continue
        infinity = _logarithm(node, value, np.asarray(numbers != sign * np.inf, np.float32), build)
        if sign > 0:
            infinity = build.function(infinity, functions.Affine(scale=-1.0, offset=0.0), build.name(node, "infinity"))
        value = build.add(Add(name=build.name(node, "add"), inputs=(value, infinity)))
    return value


def _logarithm(node: Node, value: str, numbers: Array, build: Builder) -> str:
    """Return the logarithms of numbers, at every timestep of a value."""
    if numbers.ndim == 0:
        # Whatever is limited to one number is that number, of how many features there ever are.
        number = float(numbers)
        zero = build.function(value, functions.Clip(minimum=number, maximum=number), build.name(node, "constant"))
    else:
        layer = Constant(name=build.name(node, "constant"), inputs=(value,), size=numbers.size)
        zero = build.add(layer, {"weight": numbers})
    return build.function(zero, functions.Log(), build.name(node, "infinity"))
