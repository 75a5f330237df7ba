"""Reshape and Flatten: axes are merged, taken apart again, or split.

What may be split are features into parts, which are rows of a tensor, stacked along the outer of the two axes, or on a
grid positions; stacks of states into layers and directions; and timesteps into groups, which are windows side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.axes import Axis, Dim, Role, regroup
from grurt.converters.graph.tracing.parameters import tensor_input
from grurt.converters.graph.tracing.values import MAX_STACK, Arguments, Row, Tensor, Value
from grurt.network.layers import Unfold


@operator("Reshape", moves_axes=True)
def reshape(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Reshape; see `axes.regroup` for where the axes go."""
    tensor = tensor_input(node, args)
    return (reshaped(node, tensor, parameters.reshape_target(node, args, tensor.shape), build),)


@operator("Flatten", moves_axes=True)
def flatten(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Flatten: a Reshape to two dimensions."""
    tensor = tensor_input(node, args)
    return (reshaped(node, tensor, parameters.flattened(node, tensor.shape), build),)


def reshaped(node: Node, tensor: Tensor, shape: tuple[int, ...], build: Builder) -> Tensor:
    """Return a tensor in another shape."""
    while (found := _first_split(tensor.dims, shape)) is not None:
        divided = _split(node, tensor, *found, shape, build)
        if divided is None:
            break
        tensor = divided
    dims, dropped = regroup(tensor.dims, tensor.dropped, shape, node)
    return _with_one_stack(node, replace(tensor, dims=dims, dropped=dropped))


def _with_one_stack(node: Node, tensor: Tensor) -> Tensor:
    """Return the tensor with one stack instead of several, where a reshape has merged them."""
    for index, dim in enumerate(tensor.dims):
        count = next((n for n in range(len(dim), 1, -1) if dim[:n] == tensor.stacks), 0)
        if count:
            merged = Axis(len(tensor.rows), f"the axis along which {node} stacks its values", Role.STATE)
            return replace(tensor.with_dim(index, (merged, *dim[count:])), stacks=(merged,))
    return tensor


def _first_split(dims: Sequence[Dim], shape: Sequence[int]) -> tuple[Axis, int] | None:
    """Return the first axis that a reshape splits, and the size of its outer part; None if it splits none evenly."""
    remaining = [axis for dim in dims for axis in dim if axis.size > 1]
    for size in shape:
        product = 1
        while remaining and product < size:
            axis = remaining.pop(0)
            if product * axis.size > size:
                outer, rest = divmod(size, product)
                return (axis, outer) if rest == 0 and axis.size % outer == 0 else None
            product *= axis.size
        if product != size:
            return None
    return None


def _split(node: Node, tensor: Tensor, axis: Axis, outer: int, shape: tuple[int, ...], build: Builder) -> Tensor | None:
    """Return the tensor with an axis split in two; None if that is possible only for axes of another meaning."""
    index = next(index for index, dim in enumerate(tensor.dims) if axis in dim)
    place = tensor.place_in_stacks(axis)
    if place is not None:
        parts = (
            Axis(outer, f"the outer part of {axis.where}", Role.STATE),
            Axis(axis.size // outer, f"the inner part of {axis.where}", Role.STATE),
        )
        stacks = (*tensor.stacks[:place], *parts, *tensor.stacks[place + 1 :])
        return replace(_replaced(tensor, index, axis, parts), stacks=stacks)
    innermost = [other for dim in tensor.dims for other in dim][-1]
    if axis is not innermost and shape[-1] == axis.size // outer * innermost.size:
        return _frames(node, tensor, index, axis, outer, build)
    is_feature = axis.role is Role.FEATURE or (axis.role is None and axis is innermost and len(tensor.dims) > 1)
    if not is_feature or axis.dynamic or tensor.integer or outer * len(tensor.rows) > MAX_STACK:
        return None
    axis.require(Role.FEATURE, node)
    size = axis.size // outer
    if build.grid:
        parts = (
            Axis(outer, f"the positions that {node} makes of {axis.where}", Role.POSITION),
            Axis(size, f"the features of each position that {node} makes", Role.FEATURE),
        )
        return _replaced(tensor, index, axis, parts)
    stack = Axis(outer, f"the axis along which {node} puts the parts of {axis.where}", Role.STATE)
    feature = Axis(size, f"a part of {axis.where}", part_of=axis)
    rows = tuple(row.narrowed(axis, start, start + size) for row in tensor.rows for start in range(0, axis.size, size))
    return replace(_replaced(tensor, index, axis, (stack, feature)), rows=rows, stacks=(*tensor.stacks, stack))


def _frames(node: Node, tensor: Tensor, index: int, axis: Axis, outer: int, build: Builder) -> Tensor | None:
    """Return the tensor with its timesteps in groups of one size; None if it is no sequence, features last."""
    count, last = axis.size // outer, tensor.dims[-1]
    if len(last) != 1 or last[0] is axis or tensor.integer or tensor.stacks or axis.role not in (None, Role.TIME):
        return None
    if axis.is_reversed or count > MAX_STACK or last[0].role not in (None, Role.FEATURE):
        return None
    axis.require(Role.TIME, node)
    last[0].require(Role.FEATURE, node)
    tensor = build.single(tensor, node)
    value = tensor.rows[0].value
    layer = Unfold(name=build.unique(f"{value}.frames"), inputs=(value,), kernel_size=count, stride=count)
    whole = Row(build.add(layer))
    features = Axis(count * last[0].size, f"the feature axis of {layer.name!r}", Role.FEATURE)
    parts = (
        Axis(outer, f"the time axis of {layer.name!r}", Role.TIME, dynamic=axis.dynamic),
        Axis(count, f"the timesteps of each of {layer.name!r}", Role.STATE),
    )
    starts = range(0, features.size, last[0].size)
    rows = tuple(whole.narrowed(features, start, start + last[0].size) for start in starts)
    return replace(_replaced(tensor, index, axis, parts), rows=rows, stacks=parts[1:])


def _replaced(tensor: Tensor, index: int, axis: Axis, parts: Dim) -> Tensor:
    place = tensor.dims[index].index(axis)
    return tensor.with_dim(index, (*tensor.dims[index][:place], *parts, *tensor.dims[index][place + 1 :]))
