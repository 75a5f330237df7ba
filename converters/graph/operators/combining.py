"""Operators that put several tensors together: states into a stack, features into one value."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters.graph.building.alignment import align, common, in_one_step, merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.grids import formed, learn_positions
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators import delays, ends, padding
from grurt.converters.graph.operators.constants import with_constants
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.operators.windows import read
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.parameters import axis_index
from grurt.converters.graph.tracing.values import MAX_STACK, SEQUENCE_RANK, Arguments, Row, Tensor, Value, stacked
from grurt.errors import DesignReason, UnsupportedError


@operator("Concat", in_loops="aware", reads_padding=True, reads_repeats=True)
def concat(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Concat: of states along an axis of their own, of features, or of a sequence and numbers before and behind it."""
    if (delay := delays.of_concat(node, args, build)) is not None:
        return (delay,)
    args = read(node, args, build)
    if (longer := padding.of_concat(node, args, build)) is not None:
        return (longer,)
    if (places := ends.of_places(node, args, build)) is not None:
        return (places,)
    tensors = list(with_constants(node, args, build))
    index = axis_index(node, node.integer("axis", 0), len(tensors[0].dims))
    if len(tensors) == 1:
        return (tensors[0],)
    if any(len(tensor.dims) != len(tensors[0].dims) for tensor in tensors):
        raise node.invalid("its inputs have different numbers of axes")
    sequence = _whole_sequence(tensors, index)
    if sequence is not None:
        build.written_out.add(len(tensors))
        return (sequence,)
    values, at = in_one_step(node, tuple(tensors), build)
    joined = _joined(node, [value for value in values if isinstance(value, Tensor)], index, build)
    return (joined if at is None else replace(joined, at=at),)


def _joined(node: Node, tensors: list[Tensor], index: int, build: Builder) -> Tensor:
    if not any(tensor.dims[index] for tensor in tensors):  # along an axis of their own
        tensors = [merged_features(node, tensor, build) if tensor.stacks else tensor for tensor in tensors]
    if all(_stackable(tensor, index) for tensor in tensors):
        return _stack(node, tensors, index)
    if index == len(tensors[0].dims) - 1 and _are_states_of_groups(tensors):
        return _side_by_side(node, tensors, build)
    return _concat_features(node, tensors, index, build)


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
            first = first.with_dim(position, common(node, first, other, position, build))
    stacks = stacked(len(rows), node)
    return replace(first.with_dim(len(first.dims) - 1, (*stacks, *first.dims[-1])), rows=rows, stacks=stacks)


def _whole_sequence(tensors: list[Tensor], index: int) -> Tensor | None:
    """Return the value whose timesteps, all of them in order, are put together again; None if they are not that."""
    first = tensors[0]
    if first.at is None or any(tensor.at is None or tensor.dims[index] for tensor in tensors):
        return None
    axis = first.at[0]
    if axis.size != len(tensors):
        return None
    found = [(tensor.rows, tensor.at[0].root, tensor.at[1]) for tensor in tensors if tensor.at is not None]
    in_order = [(first.rows, axis.root, position) for position in range(axis.size)]
    if found == in_order:
        return replace(first, at=None).with_dim(index, (axis,))
    return replace(first, at=None).with_dim(index, (axis.reversed(),)) if found == in_order[::-1] else None


def rows_along(tensor: Tensor, index: int) -> tuple[Row, ...]:
    """Return the rows along a dimension that is the stack, means nothing, or is an axis of a model input."""
    check_rows_along(tensor, index)
    dim = tensor.dims[index]
    return tensor.rows if dim == tensor.stacks else tensor.picking(dim[0], range(dim[0].size))


def check_rows_along(tensor: Tensor, index: int) -> None:
    """Raise UnsupportedError for a dimension that is none of those, or is too long."""
    dim = tensor.dims[index]
    if dim == tensor.stacks:
        return
    if tensor.stacks:
        raise UnsupportedError(
            f"{dim[0].where if dim else 'a new axis'} holds states, which are stacked along another axis: "
            f"{tensor.stacks[0].where}; stack states along one axis"
        )
    if dim[0].size > MAX_STACK:
        raise UnsupportedError(
            f"{dim[0].where} stacks {dim[0].size} states; at most {MAX_STACK} are supported", reason=DesignReason.SIZE
        )


def _stackable(tensor: Tensor, index: int) -> bool:
    """Say whether a tensor can lie along a stack: its dimension is one, or means nothing, or is unknown.

    What is last is features unless these are elsewhere.
    """
    dim = tensor.dims[index]
    if tensor.stacks:
        return dim == tensor.stacks
    if index == len(tensor.dims) - 1:
        return not dim and _has_features(tensor)
    return not dim or (len(dim) == 1 and dim[0].role in (None, Role.STATE))


def _has_features(tensor: Tensor) -> bool:
    """Say whether a tensor has an axis of features: of which nothing is known yet, if it has three axes that mean much.

    A single feature that was squeezed away is none.
    """
    axes = [axis for dim in tensor.dims for axis in dim]
    single = any(axis.role in (None, Role.FEATURE) for axis in tensor.dropped)
    return any(axis.role is Role.FEATURE for axis in axes) or (len(axes) >= SEQUENCE_RANK and not single)


def _stack(node: Node, tensors: list[Tensor], index: int) -> Tensor:
    count = sum(tensor.shape[index] for tensor in tensors)
    if count > MAX_STACK:
        raise node.unsupported(f"it stacks {count} values", f"at most {MAX_STACK} are supported", DesignReason.SIZE)
    rows = tuple(row for tensor in tensors for row in rows_along(tensor, index))
    first = tensors[0]
    for other in tensors[1:]:
        for position, (mine, others) in enumerate(zip(first.dims, other.dims, strict=True)):
            if position != index and len(mine) == len(others):
                for axis, another in zip(mine, others, strict=True):
                    axis.unify(another, node)
    stacks = stacked(len(rows), node)
    return replace(first.with_dim(index, stacks), rows=rows, stacks=stacks)


def _concat_features(node: Node, tensors: list[Tensor], index: int, build: Builder) -> Tensor:
    if build.grid and not all(tensor.dims[index] for tensor in tensors):  # what they have besides goes over positions
        for tensor in tensors:
            learn_positions(node, tensor, index)
        tensors = [formed(node, tensor, build) for tensor in tensors]
    roles = {axis.role for tensor in tensors for axis in tensor.dims[index]}
    if roles & {Role.TIME, Role.BATCH}:
        raise node.unsupported(
            f"it puts {'timesteps' if Role.TIME in roles else 'sequences'} of several values one behind the other",
            "a stream gives one output for each input",
            DesignReason.SEQUENCE_LENGTH if Role.TIME in roles else DesignReason.ACROSS_BATCH,
        )
    tensors = align(node, tensors, build, skip=index)
    for tensor in tensors:
        for axis in tensor.dims[index]:
            axis.require(Role.FEATURE, node)
        if len(tensor.dims[index]) > 1:
            raise node.unsupported(f"it concatenates along {len(tensor.dims[index])} merged axes")
    values = [tensor.rows[0].value for tensor in tensors]
    name = build.concatenated(values, lambda: build.name(node, "concat"))
    size = sum(tensor.shape[index] for tensor in tensors)
    feature = Axis(size, f"the feature axis of {name!r}", Role.FEATURE)
    return tensors[0].with_row(Row(name)).with_dim(index, (feature,))
