"""OneHot: of tokens, an embedding; of a position that layers have found, a comparison with every position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.arithmetic import scaled_and_shifted
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.operators.selection import embedding
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.parameters import axis_index, constant, number, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network.layers import Binary, Constant

_MOST_CLASSES = 1 << 12
"""The table has the square of that many numbers."""


@operator("OneHot")
def one_hot(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """OneHot along a new last axis."""
    tensor = tensor_input(node, args)
    depth = int(number(node, required(node, args, 1), "depth"))
    off_and_on = constant(node, required(node, args, 2), "values")
    rank = len(tensor.dims)
    if not 0 < depth <= _MOST_CLASSES or off_and_on.shape != (2,):
        raise node.unsupported(f"it has {depth} classes", f"at most {_MOST_CLASSES} are supported")
    if axis_index(node, node.integer("axis", -1), rank + 1) != rank or not tensor.integer:
        raise node.unsupported("its classes are not the last axis", "supported is one_hot of integers, with axis=-1")
    off, on = off_and_on.astype(np.float32)
    if not build.is_computed(tensor):
        build.folder.budget.create(depth * depth * off.nbytes, node)
        table = np.full((depth, depth), off)
        np.fill_diagonal(table, on)
        return (embedding(node, table, tensor, build),)
    places = replace(tensor, integer=False)
    equal = _equal_to_each(node, places, depth, build)
    return (scaled_and_shifted(node, equal, np.asarray(on - off), np.asarray(off), build),)


def _equal_to_each(node: Node, places: Tensor, depth: int, build: Builder) -> Tensor:
    """Return 1 at the place that a value of one feature names, and 0 at the others."""
    places = build.single(places, node)
    value = places.rows[0].value
    build.folder.budget.create(4 * depth, node)
    every: Array = np.arange(depth, dtype=np.float32)
    constant_layer = Constant(name=build.name(node, "places"), inputs=(value,), size=depth)
    inputs = (build.repeated(value, depth), build.add(constant_layer, {"weight": every}))
    name = build.add(Binary(name=build.name(node, "one_hot"), inputs=inputs, operation="equal"))
    feature = Axis(depth, f"the feature axis of {name!r}", Role.FEATURE)
    kept = tuple(dim for dim in places.dims if not any(axis.role is Role.FEATURE for axis in dim))
    dropped = tuple(axis for axis in places.dropped if axis.role is not Role.FEATURE)
    if len(kept) != len(places.dims):
        raise node.unsupported("it makes classes of a value that keeps its axis of features", "use keepdim=False")
    return replace(places, rows=(Row(name),), dims=(*kept, (feature,)), dropped=dropped)
