"""Operators that select a part of a tensor: states of a stack, one timestep, the embedding of a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.alignment import merged_features
from grurt.converters.graph.building.arrangement import merged_feature
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import is_given, is_plain
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators import convolution, delays, ends, windows
from grurt.converters.graph.operators.lengths import reordered
from grurt.converters.graph.operators.movement import without
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.operators.reshaping import reshaped
from grurt.converters.graph.rewriting.choices import choice, without_casts
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.rewriting.recompose import rewrites
from grurt.converters.graph.rewriting.sequences import SPLIT_PART
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.axes import Axis, Dim, NotTimeError, Role
from grurt.converters.graph.tracing.features import against_merging, the_one_row, without_repeats
from grurt.converters.graph.tracing.parameters import (
    axis_index,
    constant,
    optional,
    required,
    small_integer,
    tensor_input,
)
from grurt.converters.graph.tracing.values import MAX_STACK, ROW_BYTES, Arguments, Row, Tensor, Value, stacked
from grurt.converters.windows import Window
from grurt.errors import DesignReason, UnsupportedError
from grurt.network.layers import Embedding

_BYTES_PER_POSITION = 4096
"""What looking at one position is worth, of looking through bytes."""


@operator("Slice", moves_axes=True, reads_padding=True)
def slice_(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Slice: of states, of one timestep, or of everything."""
    tensor = tensor_input(node, args)
    if (tensor.surplus or tensor.padding) and _keeps_all(node, args, tensor):
        return (tensor,)
    if tensor.surplus and (uncut := convolution.without_surplus(node, args, tensor)) is not None:
        return (uncut,)
    if tensor.padding and (delay := delays.of_slice(node, args, tensor, build)) is not None:
        return (delay,)
    tensor = windows.as_it_is(node, tensor, build)
    dynamic = [any(axis.dynamic for axis in dim) for dim in tensor.dims]
    written = parameters.slices_written(node, args, len(tensor.dims))
    for index, kept in parameters.slice_ranges(node, args, tensor.shape, dynamic).items():
        start, end, step = written[index]
        single = _of_single_timestep(node, tensor, index, start, step)
        window = windows.of_positions(tensor, index, kept, start, end, build)
        tensor = _sliced(node, tensor, index, kept, window, build) if single is None else single
    return (tensor,)


def _keeps_all(node: Node, args: Arguments, tensor: Tensor) -> bool:
    """Say whether a Slice keeps everything, the timesteps of padding among it."""
    sizes = zip(tensor.shape, tensor.dims, strict=True)
    shape = [size + tensor.padding * (dim == tensor.padded) for size, dim in sizes]
    dynamic = [any(axis.dynamic for axis in dim) for dim in tensor.dims]
    return not parameters.slice_ranges(node, args, shape, dynamic)


def _of_single_timestep(node: Node, tensor: Tensor, index: int, start: int, step: int) -> Tensor | None:
    """Return what a Slice means that keeps the one timestep that a file has fixed: the last, or reversed.

    None if it means nothing, as for other axes.
    """
    dim = tensor.dims[index]
    if len(dim) != 1 or dim[0].size != 1 or dim[0].dynamic or tensor.place_in_stacks(dim[0]) is not None:
        return None
    (axis,) = dim
    if step == -1 and (axis.role is Role.TIME or (axis.role is None and not _are_features(tensor, index, 1))):
        return tensor.with_dim(index, (_reversed(node, axis),))
    is_last = start == -1 and step == 1 and axis.role is Role.TIME and not axis.is_reversed
    return _pick(node, tensor, index, axis, range(1)) if is_last else None


def _sliced(node: Node, tensor: Tensor, index: int, kept: range, window: Window | None, build: Builder) -> Tensor:
    """Return the tensor at some positions, which may be a sequence without its last timesteps, to be delayed.

    ``window`` is how these are kept of sequences of any length.
    """
    may_be_cut = delays.may_be_cut(tensor, index, kept) and not _are_features(tensor, index, len(kept))
    try:
        selected = _select(node, tensor, index, kept, build)
    except NotTimeError:
        raise
    except UnsupportedError:
        if may_be_cut:
            return delays.cut(tensor, index, kept, at_the_end=window is not None)
        if window is None:
            raise
        return windows.resampled(node, tensor, index, window, build)
    is_stacked = window is not None and len(selected.stacks) == 1 and selected.stacks != tensor.stacks
    kept_by = (selected.stacks[0], window) if is_stacked and window is not None else None
    return replace(selected, whole=tensor if may_be_cut else None, window=kept_by)


@operator("ReverseSequence", in_loops="single", moves_axes=True)
def reverse_sequence(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """ReverseSequence of whole sequences."""
    tensor = tensor_input(node, args)
    index = axis_index(node, node.integer("time_axis", 0), len(tensor.dims))
    axis_index(node, node.integer("batch_axis", 1), len(tensor.dims))
    lengths, size = required(node, args, 1), tensor.shape[index]
    if not isinstance(lengths, np.ndarray) or (without_repeats(lengths) != size).any():
        raise node.unsupported(
            "it reverses sequences of different lengths", "use a bidirectional GRU with the lengths of the sequences"
        )
    return (_select(node, tensor, index, range(size - 1, -1, -1), build),)


@operator("Split", moves_axes=True)
def split(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Split: several slices of one axis."""
    tensor = tensor_input(node, args)
    index = axis_index(node, node.integer("axis", 0), len(tensor.dims))
    parts, start = [], 0
    build.folder.budget.create(ROW_BYTES * len(tensor.rows) * len(node.outputs), node)
    for size in parameters.split_sizes(node, args, tensor.shape[index]):
        parts.append(_select(node, tensor, index, range(start, start + size), build))
        start += size
    return tuple(parts)


@operator(SPLIT_PART, moves_axes=True)
def split_part(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """One output of a Split."""
    tensor, sizes = tensor_input(node, args), parameters.integers(node, required(node, args, 1), "sizes")
    index, place = axis_index(node, node.integer("axis", 0), len(tensor.dims)), node.integer("index", 0)
    if not -len(sizes) <= place < len(sizes) or sum(sizes) != tensor.shape[index] or min(sizes) < 1:
        raise node.invalid(f"it reads part {place} of an axis of size {tensor.shape[index]}, split into {sizes}")
    start = sum(sizes[: place % len(sizes)])
    return (_select(node, tensor, index, range(start, start + sizes[place]), build),)


@operator("Gather", moves_axes=True)
def gather(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Gather: an embedding where tokens select rows of a constant, else a selection at constant positions."""
    data, indices = required(node, args, 0), required(node, args, 1)
    if isinstance(data, np.ndarray):
        index = axis_index(node, node.integer("axis", 0), data.ndim)
        if isinstance(indices, Tensor) and indices.order is not None and _is_the_same_along(node, data, index, build):
            return (data,)
        if index != 0:
            raise node.unsupported(f"it looks up tokens in a table of shape {data.shape}, but not in its first axis")
        return (embedding(node, data, tensor_input(node, args, 1), build),)
    if isinstance(indices, Tensor) and indices.order is not None:
        index = axis_index(node, node.integer("axis", 0), len(data.dims))
        return (reordered(node, data, index, indices.order),)
    if isinstance(indices, Tensor) and (picked := ends.of_flat_rows(node, data, indices, build)) is not None:
        return (picked,)
    positions = constant(node, indices, "indices")
    index = axis_index(node, node.integer("axis", 0), len(data.dims))
    size = data.shape[index]
    if positions.ndim > 2 or positions.dtype.kind not in "iu" or positions.size > MAX_STACK:
        raise node.unsupported(f"it selects positions of the shape {positions.shape}; one position is supported")
    build.folder.budget.read(_BYTES_PER_POSITION * positions.size, node)
    if any(axis.dynamic for axis in data.dims[index]) and any(abs(int(each)) >= size for each in positions.reshape(-1)):
        raise node.unsupported(
            f"it picks a position far inside of {data.dims[index][0].where}, which is of open size",
            "export the model so that it reads the end of the sequence, or its beginning",
        )
    kept = [axis_index(node, int(position), size) for position in positions.reshape(-1)]
    tensor = _select(node, data, index, kept, build, alone=positions.ndim == 0)
    if positions.ndim == 2:  # windows of the features, which lie side by side so far
        return (reshaped(node, tensor, (*data.shape[:index], *positions.shape, *data.shape[index + 1 :]), build),)
    return (without(tensor, (index,)) if positions.ndim == 0 else tensor,)


def _is_the_same_along(node: Node, data: Array, index: int, build: Builder) -> bool:
    """Say whether a constant repeats itself along an axis, as initial states do for the sequences of a batch."""
    compact = without_repeats(data)
    build.folder.budget.read(compact.nbytes, node)
    return compact.size > 0 and bool((compact == compact.take([0], axis=index)).all())


@operator("GatherND", moves_axes=True)
def gather_nd(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """GatherND: the ends of sequences; or, along the first axis, how an exporter writes a selection by a mask."""
    if isinstance(required(node, args, 1), Tensor):
        return ends.of_gather_nd(node, args, build)
    tensor, places = tensor_input(node, args), constant(node, optional(args, 1), "indices")
    if node.integer("batch_dims", 0) or places.ndim != 2 or places.shape[-1:] != (1,) or places.size > MAX_STACK:
        raise node.unsupported(f"it selects positions of the shape {places.shape}", "select along one axis")
    size = tensor.shape[0]
    return (_select(node, tensor, 0, [axis_index(node, int(place), size) for place in places[:, 0]], build),)


@operator("GatherElements", moves_axes=True, reads_repeats=True)
def gather_elements(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """GatherElements: the ends of sequences; or features at constant positions, the same at every timestep."""
    if isinstance(required(node, args, 1), Tensor):
        return ends.of_gather_elements(node, args, build)
    tensor, places = tensor_input(node, args), constant(node, optional(args, 1), "indices")
    index = axis_index(node, node.integer("axis", 0), len(tensor.dims))
    is_repeated = index == len(tensor.dims) - 1 and places.shape[:-1] == tensor.shape[:-1]
    row = the_one_row(node, places, build.folder.budget) if is_repeated else None
    if row is None or row.dtype.kind not in "iu" or row.size > MAX_STACK:
        raise node.unsupported("it selects other features at each timestep", "select the same at every timestep")
    size = tensor.shape[index]
    return (_select(node, tensor, index, [axis_index(node, int(place), size) for place in row], build),)


def _select(
    node: Node, tensor: Tensor, index: int, kept: Sequence[int], build: Builder, *, alone: bool = False
) -> Tensor:
    """Return the tensor at some positions of a dimension; ``alone``: at one, which is then without that dimension."""
    dim = tensor.dims[index]
    size = tensor.shape[index]
    if kept == range(size) or (len(kept) == size and list(kept[:MAX_STACK]) == list(range(size)[:MAX_STACK])):
        return tensor
    if isinstance(kept, range) and _starts_with_stack(tensor, dim):
        return _select_direction(node, tensor, index, kept, build)
    if len(dim) > 1 and merged_feature(tensor, index) is not None:
        return _select_features(node, build.single(tensor, node), index, kept, build)
    in_loop = build.unrolled and alone and dim and dim[0].role is None  # if it is a feature, that is found out later
    if _are_features(tensor, index, len(kept)) and not in_loop:
        return _select_features(node, tensor, index, kept, build)
    if (
        len(dim) == 1
        and tensor.place_in_stacks(dim[0]) is None
        and len(kept) == size > 1
        and kept == range(size - 1, -1, -1)
    ):
        return tensor.with_dim(index, (_reversed(node, dim[0]),))
    axis = _selectable(node, tensor, dim, len(kept))
    if axis.is_reversed:
        axis, kept = axis.reversed(), [size - 1 - position for position in kept]
    if build.unrolled and len(kept) == 1 and tensor.at is None and tensor.place_in_stacks(axis) is None:
        tensor = merged_features(node, tensor, build) if tensor.stacks else tensor
        if not tensor.stacks:
            return replace(tensor.with_dim(index, ()), at=(axis, kept[0]))
    return _pick(node, tensor, index, axis, kept)


def _pick(node: Node, tensor: Tensor, index: int, axis: Axis, kept: Sequence[int]) -> Tensor:
    """Return the tensor at some positions of the axis that a dimension consists of."""
    tensor = tensor.settled()
    place = tensor.place_in_stacks(axis)
    new_dim = stacked(len(kept), node, kept if isinstance(kept, range) and place is None else None)
    before, after = (tensor.stacks[:place], tensor.stacks[place + 1 :]) if place is not None else ((), tensor.stacks)
    rows = tensor.picking(axis, kept)
    return replace(tensor.with_dim(index, new_dim), rows=rows, stacks=(*before, *new_dim, *after))


def _reversed(node: Node, axis: Axis) -> Axis:
    """Return the time axis in reverse order."""
    if axis.root.order is not None and not axis.is_reversed:
        raise node.unsupported(f"it reverses {axis.where}", "only timesteps can be reversed")
    axis.require(Role.TIME, node)
    return axis.reversed()


def _starts_with_stack(tensor: Tensor, dim: Dim) -> bool:
    return len(dim) == 2 and dim[:1] == tensor.stacks and dim[1].role is Role.FEATURE


def _select_direction(node: Node, tensor: Tensor, index: int, kept: range, build: Builder) -> Tensor:
    """Select from a dimension that merges rows with their features: whole rows, as one direction, or some features."""
    _, feature = tensor.dims[index]
    first, last = kept.start // feature.size, (kept.stop - 1) // feature.size
    if kept != range(first * feature.size, (last + 1) * feature.size) or not kept:
        return _select_features(node, build.single(tensor, node), index, kept, build)
    rows = tensor.rows[first : last + 1]
    stacks = stacked(len(rows), node)
    return replace(tensor.with_dim(index, (*stacks, feature)), rows=rows, stacks=stacks)


def _are_features(tensor: Tensor, index: int, count: int) -> bool:
    """Say whether a selection is one of features.

    Where no operator has told yet what the axis means, it is if it is the last one, and whole axes remain besides.
    """
    dim = tensor.dims[index]
    if len(dim) != 1 or tensor.place_in_stacks(dim[0]) is not None:
        return False
    unknown = dim[0].role is None and not dim[0].dynamic and not tensor.rows[0].final
    last = index == len(tensor.dims) - 1 and (count > 1 or index > 1)
    return dim[0].role is Role.FEATURE or (unknown and last and not tensor.integer)


def _select_features(node: Node, tensor: Tensor, index: int, kept: Sequence[int], build: Builder) -> Tensor:
    """Return the tensor with some of its features: as a part of its rows, or, where they do not adjoin, joined."""
    if not 0 < len(kept) <= MAX_STACK:
        raise node.unsupported(f"it selects {len(kept)} positions of a tensor of shape {tensor.shape}")
    axis = tensor.dims[index][0]
    breaks = [place for place in range(1, len(kept)) if kept[place] != kept[place - 1] + 1]
    runs = [(kept[start], kept[stop - 1] + 1) for start, stop in zip([0, *breaks], [*breaks, len(kept)], strict=True)]
    if len(runs) == 1:
        part = Axis(len(kept), f"a part of {axis.where}", part_of=axis)
        rows = tuple(row.narrowed(axis, *runs[0]) for row in tensor.rows)
        return replace(tensor.with_dim(index, (part,)), rows=rows)
    parts = [[row.narrowed(axis, *run) for run in runs] for row in tensor.rows]
    joined = tuple(Row(build.joined(each, node)) for each in parts)
    feature = Axis(len(kept), f"the feature axis of {joined[0].value!r}", Role.FEATURE)
    return replace(tensor.with_dim(index, (feature,)), rows=joined)


def _selectable(node: Node, tensor: Tensor, dim: Dim, count: int) -> Axis:
    if not count:
        raise node.misfit(f"it selects 0 positions of a tensor of shape {tensor.shape}")
    if count > MAX_STACK:
        raise node.unsupported(f"it selects {count} positions of a tensor of shape {tensor.shape}")
    if len(dim) != 1:
        raise node.unsupported(
            f"it selects from a dimension of {len(dim)} merged axes",
            "select from each of them before they are merged",
            against_merging(dim),
        )
    axis = dim[0]
    if axis.role is Role.BATCH:
        raise node.unsupported(
            f"it selects from the batch ({axis.where})",
            "sequences must not depend on each other",
            DesignReason.ACROSS_BATCH,
        )
    other_stack = bool(tensor.stacks) and tensor.place_in_stacks(axis) is None
    if count > 1 and (axis.role is Role.TIME or other_stack or axis.dynamic):
        raise node.unsupported(
            f"it selects {count} of {axis.size} positions of {axis.where}",
            "whole sequences must be kept, in order, or one timestep",
            DesignReason.SEQUENCE_LENGTH if axis.role is Role.TIME or axis.dynamic else None,
        )
    return axis


@rewrites("Gather")
def embedding_of_any_sign(node: Node, matcher: Matcher) -> Node | None:
    """Return the embedding of tokens where negative ones have been made positive, as Gather does by itself."""
    table = matcher.array(node.inputs[0]) if len(node.inputs) == 2 and node.attributes.get("axis", 0) == 0 else None
    found = None if table is None or not table.ndim else choice(node.inputs[1], matcher)
    if table is None or found is None:
        return None
    less, added = matcher.producers.get(found.condition), matcher.producers.get(found.one)
    if less is None or added is None or (less.op, added.op) != ("Less", "Add"):
        return None
    if len(less.inputs) != 2 or len(added.inputs) != 2:
        return None
    tokens, zero, size = without_casts(found.other, matcher), less.inputs[1], table.shape[0]
    for one, other in (added.inputs, added.inputs[::-1]):
        numbers = small_integer(matcher.array(zero)), small_integer(matcher.array(other))
        same = {without_casts(each, matcher) for each in (one, less.inputs[0])} == {tokens}
        if same and numbers == (0, size):
            return replace(node, inputs=(node.inputs[0], found.other))
    return None


def embedding(node: Node, table: Array, tokens: Tensor, build: Builder) -> Tensor:
    """Return the rows of a table ``(tokens, features)`` that an input of tokens names."""
    if table.ndim != 2 or table.dtype.kind != "f":
        raise node.unsupported(f"it looks up tokens in a table of shape {table.shape}, not (tokens, features)")
    if not is_given(tokens, build) or not is_plain(tokens) or tokens.stacks or tokens.rows[0].picked:
        raise node.unsupported("the tokens of an embedding must be an input of the model")
    source = tokens.rows[0].value
    size = build.vocabulary_sizes.setdefault(source, table.shape[0])
    if size != table.shape[0]:
        raise node.unsupported(f"the input {source!r} is looked up in tables of {size} and of {table.shape[0]} tokens")
    layer = Embedding(name=build.name(node, "embedding"), inputs=(source,), vocabulary_size=size, size=table.shape[1])
    name = build.add(layer, {"weight": table})
    feature = Axis(table.shape[1], f"the feature axis of {name!r}", Role.FEATURE)
    return replace(tokens, rows=(Row(name),), dims=(*tokens.dims, (feature,)), integer=False)
