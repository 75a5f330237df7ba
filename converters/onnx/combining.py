"""Operators that put several tensors together: states into a stack, features into one value."""

from __future__ import annotations

from dataclasses import replace

from grurt.errors import UnsupportedError
from grurt.layers import Concat

from .axes import Axis, Dim, Role
from .builder import Builder
from .graph import Node
from .movement import tensor_input
from .parameters import axis_index
from .values import MAX_STACK, Arguments, Row, Tensor, Value, stacked


def concat(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Concat: of states along an axis of their own, or of features."""
    tensors = [tensor_input(node, args, index) for index in range(len(args))]
    index = axis_index(node, node.integer("axis", 0), len(tensors[0].dims))
    if len(tensors) == 1:
        return (tensors[0],)
    if any(len(tensor.dims) != len(tensors[0].dims) for tensor in tensors):
        raise node.invalid("its inputs have different numbers of axes")
    sequence = _whole_sequence(tensors, index)
    if sequence is not None:
        return (sequence,)
    if len({None if tensor.at is None else (tensor.at[0].root, tensor.at[1]) for tensor in tensors}) > 1:
        tensors = [tensor.settled() for tensor in tensors]
    if index < len(tensors[0].dims) - 1 and all(_stackable(tensor, index) for tensor in tensors):
        return (_stack(node, tensors, index),)
    if index == len(tensors[0].dims) - 1 and _are_states_of_groups(tensors):
        return (_side_by_side(node, tensors, build),)
    return (_concat_features(node, tensors, index, build),)


def _are_states_of_groups(tensors: list[Tensor]) -> bool:
    """Say whether these are the final states of as many GRUs, of one size."""
    alone = all(len(tensor.rows) == 1 and tensor.rows[0].final and not tensor.rows[0].picked for tensor in tensors)
    return alone and len({tensor.shape for tensor in tensors}) == 1 and all(len(t.dims[-1]) == 1 for t in tensors)


def _side_by_side(node: Node, tensors: list[Tensor], build: Builder) -> Tensor:
    """Return states joined along their features, as rows: they may be joined, or be the states that a model returns."""
    first = tensors[0]
    rows = tuple(tensor.rows[0] for tensor in tensors)
    for other in tensors[1:]:
        for position in range(len(first.dims) - 1):
            first = first.with_dim(position, _common(node, first, other, position, build))
    stack, dim = stacked(rows, node)
    return replace(first.with_dim(len(first.dims) - 1, (*dim, *first.dims[-1])), rows=rows, stack=stack)


def _whole_sequence(tensors: list[Tensor], index: int) -> Tensor | None:
    """Return the value whose timesteps, all of them in order, are put together again; None if they are not that."""
    first = tensors[0]
    if first.at is None or any(tensor.at is None or tensor.dims[index] for tensor in tensors):
        return None
    axis = first.at[0]
    found = [(tensor.rows, tensor.at[0].root, tensor.at[1]) for tensor in tensors if tensor.at is not None]
    if found != [(first.rows, axis.root, position) for position in range(axis.size)]:
        return None
    return replace(first, at=None).with_dim(index, (axis,))


def align(node: Node, tensors: list[Tensor], build: Builder, skip: int | None = None) -> list[Tensor]:
    """Return tensors whose axes are the same, dimension by dimension, as one-row values.

    Where one of them holds single vectors, the last timestep of those stands for them whose only timestep was squeezed
    away. ``skip`` is a dimension along which they may differ.
    """
    tensors = [build.single(tensor, node) for tensor in tensors]
    if any(build.is_single(tensor.rows[0].value) for tensor in tensors):
        tensors = [settled(tensor, node, build) for tensor in tensors]
    first = tensors[0]
    for other in tensors[1:]:
        for index in range(len(first.dims)):
            if index != skip:
                first = first.with_dim(index, _common(node, first, other, index, build))
    return [first, *tensors[1:]]


def settled(tensor: Tensor, node: Node, build: Builder) -> Tensor:
    """Return the tensor without a time axis of size 1 that was squeezed away: its last timestep stands for it."""
    if not any(axis.role is Role.TIME for axis in tensor.dropped):
        return tensor
    value = build.take(tensor.rows[0], node)
    kept = tuple(axis for axis in tensor.dropped if axis.role is not Role.TIME)
    if not build.is_single(value):
        value = build.step(value, last=True)
    return replace(tensor, rows=(Row(value),), dropped=kept)


def rows_along(tensor: Tensor, index: int) -> tuple[Row, ...]:
    """Return the rows along a dimension that is a stack, means nothing, or is an axis of a model input."""
    dim = tensor.dims[index]
    if tensor.stack is not None or not dim:
        return tensor.rows
    if dim[0].size > MAX_STACK:
        raise UnsupportedError(f"{dim[0].where} stacks {dim[0].size} states; at most {MAX_STACK} are supported")
    return tuple(row for position in range(dim[0].size) for row in tensor.picking(dim[0], position))


def _common(node: Node, first: Tensor, other: Tensor, index: int, build: Builder) -> Dim:
    """Return the axes of a dimension that two tensors share, found to be the same."""
    mine, others = first.dims[index], other.dims[index]
    if len(mine) != len(others):
        if first.shape[index] == other.shape[index] == 1:
            return mine or others
        short = other if mine else first
        if any(axis.role is Role.TIME for axis in mine or others) and build.is_single(short.rows[0].value):
            return mine or others
        raise node.unsupported(
            f"it combines values of the shapes {first.shape} and {other.shape}, whose axes are not the same",
            "no value can be repeated over timesteps or features",
        )
    for axis, another in zip(mine, others, strict=True):
        axis.unify(another, node)
    return mine


def _stackable(tensor: Tensor, index: int) -> bool:
    """Say whether a tensor can lie along a stack of states: its dimension is one, or means nothing, or is unknown."""
    dim = tensor.dims[index]
    if tensor.stack is not None:
        return dim == (tensor.stack,)
    return not dim or (len(dim) == 1 and dim[0].role in (None, Role.STATE))


def _stack(node: Node, tensors: list[Tensor], index: int) -> Tensor:
    rows = tuple(row for tensor in tensors for row in rows_along(tensor, index))
    first = tensors[0]
    for other in tensors[1:]:
        for position, (mine, others) in enumerate(zip(first.dims, other.dims, strict=True)):
            if position != index and len(mine) == len(others):
                for axis, another in zip(mine, others, strict=True):
                    axis.unify(another, node)
    stack, dim = stacked(rows, node)
    return replace(first.with_dim(index, dim), rows=rows, stack=stack)


def _concat_features(node: Node, tensors: list[Tensor], index: int, build: Builder) -> Tensor:
    tensors = align(node, tensors, build, skip=index)
    for tensor in tensors:
        for axis in tensor.dims[index]:
            axis.require(Role.FEATURE, node)
        if len(tensor.dims[index]) > 1:
            raise node.unsupported(f"it concatenates along {len(tensor.dims[index])} merged axes")
    layer = Concat(name=build.name(node, "concat"), inputs=tuple(tensor.rows[0].value for tensor in tensors))
    name = build.add(layer)
    size = sum(tensor.shape[index] for tensor in tensors)
    feature = Axis(size, f"the feature axis of {name!r}", Role.FEATURE)
    return tensors[0].with_row(Row(name)).with_dim(index, (feature,))
