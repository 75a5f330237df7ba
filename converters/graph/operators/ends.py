"""Where padded sequences end, as a model's source knows it beside its GRUs.

A mask ``arange(n_steps) < lengths`` says which timesteps lie before the end. It multiplies values, or chooses between
them and a number. And the last timestep before the end is picked, ``y[arange(batch), lengths - 1]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import is_given, is_plain, is_token
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Axis, Dim, Role, dim_size
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.parameters import axis_index, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network.layers import PastEnd

_HOLDS = {"Less": (True, 0), "LessOrEqual": (True, -1), "GreaterOrEqual": (False, 0), "Greater": (False, -1)}
"""Of ``arange op lengths + shift``: whether it holds before the ends, and with which shift."""

_SWAPPED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual", "Greater": "Less", "GreaterOrEqual": "LessOrEqual"}


def of_comparison(node: Node, operands: Sequence[Value], build: Builder) -> Tensor | None:
    """Return the mask that a comparison of ``arange(n_steps)`` with lengths is; None if it is none."""
    first, second = operands
    op = node.op if isinstance(first, np.ndarray) else _SWAPPED.get(node.op, "")
    steps, lengths = (first, second) if isinstance(first, np.ndarray) else (second, first)
    if not isinstance(steps, np.ndarray) or not isinstance(lengths, Tensor) or op not in _HOLDS:
        return None
    if not is_given(lengths, build) or is_token(lengths, build) or len(lengths.rows) != 1 or steps.size < 2:
        return None
    rank = max(steps.ndim, len(lengths.dims))
    dims: list[Dim] = [*((),) * (rank - len(lengths.dims)), *lengths.dims]
    shape = (1,) * (rank - steps.ndim) + steps.shape
    along = [index for index, size in enumerate(shape) if size > 1]
    if len(along) != 1 or dim_size(dims[along[0]]) > 1 or not _counts(steps, build, node):
        return None
    before, shift = _HOLDS[op]
    if lengths.scale != 1 or lengths.shifts is not None or lengths.clamped or lengths.shift != shift:
        raise node.unsupported(
            "it compares timesteps with something else than the lengths of sequences",
            "expected arange(n_steps) < lengths, and the like",
        )
    where = f"the timesteps that {node} compares with lengths"
    dims[along[0]] = (Axis(steps.size, where, Role.TIME, dynamic=True),)
    return replace(lengths, dims=tuple(dims), shift=0, integer=True, ends=before)


def _counts(steps: Array, build: Builder, node: Node) -> bool:
    """Say whether an array counts from 0, along its only axis."""
    build.folder.budget.read(without_repeats(steps).nbytes, node)
    return np.array_equal(steps.reshape(-1), np.arange(steps.size))


def negated(mask: Tensor) -> Tensor | None:
    """Return the opposite of a mask; None if it is none."""
    return None if mask.ends is None else replace(mask, ends=not mask.ends)


def of_product(node: Node, args: Arguments, build: Builder) -> Tensor | None:
    """Return what a mask makes of a value that it multiplies; None if there is no mask."""
    masks = [arg for arg in args if isinstance(arg, Tensor) and arg.ends is not None]
    others = [arg for arg in args if isinstance(arg, Tensor) and arg.ends is None]
    if len(masks) != 1 or len(others) != 1 or len(args) != 2 or not masks[0].ends:
        return None
    return _masked(node, others[0], masks[0], 0.0, build)


def of_choice(node: Node, operands: Sequence[Value], build: Builder) -> Tensor | None:
    """Return what a mask makes of a value by choosing between it and a number; None if it is no mask that chooses."""
    condition, then, otherwise = operands
    if not isinstance(condition, Tensor) or condition.ends is None:
        return None
    value, number = (then, otherwise) if condition.ends else (otherwise, then)
    if not isinstance(value, Tensor) or not isinstance(number, np.ndarray):
        return None
    numbers = np.unique(without_repeats(number))
    if numbers.size != 1 or not np.isfinite(numbers).all():
        raise node.unsupported(
            "behind the ends of sequences it puts something else than one finite number",
            "fill with one number, such as 0 or -1e9",
        )
    return _masked(node, value, condition, float(numbers[0]), build)


def _masked(node: Node, tensor: Tensor, mask: Tensor, number: float, build: Builder) -> Tensor:
    """Return a tensor with a number behind the ends of its sequences."""
    rank = max(len(tensor.dims), len(mask.dims))
    tensor, mask = (replace(each, dims=((),) * (rank - len(each.dims)) + each.dims) for each in (tensor, mask))
    if tensor.integer or build.grid or tensor.at is not None:
        raise node.unsupported("it masks something else than values of sequences", "mask what the layers compute")
    for own, other in zip(tensor.dims, mask.dims, strict=True):
        _unify(node, tensor, mask, own, other)
    build.note_masked_by(node, mask.rows[0].value)

    def masked(value: str) -> str:
        return build.add(PastEnd(name=build.name(node, "past_end"), inputs=(value,), value=number))

    return build.map(node, tensor, masked)


def _unify(node: Node, tensor: Tensor, mask: Tensor, own: Dim, other: Dim) -> None:
    """Learn that an axis of a mask is that of the tensor that it masks."""
    if not other or (other[0] in mask.repeats and len(own) == 1 and own[0].role is Role.FEATURE):
        return
    if not own or len(own) != len(other):
        raise node.unsupported(
            f"it masks a value of shape {tensor.shape} by the lengths of sequences in the shape {mask.shape}",
            "expected a mask with the axes of batch and time, and none of features",
        )
    for axis, another in zip(own, other, strict=True):
        another.unify(axis, node)
        if axis.role is not Role.TIME:
            axis.require(Role.BATCH, node)


def of_places(node: Node, args: Arguments, build: Builder) -> Tensor | None:
    """Return the positions that GatherND is to pick, from a Concat of constants and lengths; None if there are none."""
    given = [arg for arg in args if isinstance(arg, Tensor)]
    if len(args) != 2 or len(given) != 1 or not is_given(given[0], build) or is_token(given[0], build):
        return None
    index = axis_index(node, node.integer("axis", 0), len(given[0].dims))
    if index != len(given[0].dims) - 1 or given[0].dims[index] or len(given[0].rows) != 1:
        return None
    places = tuple(arg for arg in args if arg is not None)
    return replace(given[0].with_dim(index, (Axis(2, f"the axes that {node} picks from"),)), places=places)


def of_gather_nd(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Return the last timesteps before the ends of sequences, which GatherND picks."""
    data, indices = tensor_input(node, args), tensor_input(node, args, 1)
    batch_dims = node.integer("batch_dims", 0)
    if batch_dims == 1 and is_given(indices, build) and len(indices.dims) == 2 and indices.shape[1] == 1:
        return (_picked(node, data, indices, indices.dims[0], 0, 1, build),)
    if batch_dims or len(indices.places) != 2 or len(indices.dims) != 2 or len(data.dims) < 2:
        raise _no_end(node)
    places = list(indices.places)
    time = next(place for place, each in enumerate(places) if isinstance(each, Tensor))
    lengths, sequences = places[time], places[1 - time]
    if not isinstance(lengths, Tensor) or not isinstance(sequences, np.ndarray) or indices.dims[0] != lengths.dims[0]:
        raise _no_end(node)
    if sequences.size != data.shape[1 - time] or not _counts(sequences, build, node):
        raise _no_end(node)
    return (_picked(node, data, lengths, lengths.dims[0], 1 - time, time, build),)


def of_gather_elements(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Return the last timesteps before the ends of sequences, which GatherElements picks along an axis that is kept."""
    data, indices = tensor_input(node, args), tensor_input(node, args, 1)
    time = axis_index(node, node.integer("axis", 0), len(data.dims))
    plain = replace(indices, repeats=())
    if not is_given(plain, build) or len(indices.dims) != len(data.dims) or indices.shape[time] != 1:
        raise _no_end(node)
    own = [index for index, dim in enumerate(indices.dims) if dim and dim[0] not in indices.repeats]
    found = [index for index in own if index != time]
    shapes = zip(data.shape, indices.shape, strict=True)
    others = [own == other for place, (own, other) in enumerate(shapes) if place not in (time, *found)]
    if len(found) > 1 or not all(others):
        raise _no_end(node)
    batch = found[0] if found else 1 - min(time, 1)
    return (_picked(node, data, plain, indices.dims[batch], batch, time, build, keep=True),)


def of_flat_rows(node: Node, data: Value, indices: Tensor, build: Builder) -> Tensor | None:
    """Return the last timesteps that Gather picks from the rows of all timesteps; None if it does something else.

    Their numbers are ``arange(batch) * n_steps + lengths - 1``, or, with the timesteps outermost, ``(lengths - 1) *
    batch + arange(batch)``.
    """
    if not isinstance(data, Tensor) or not is_given(indices, build) or is_token(indices, build):
        return None
    if node.integer("axis", 0) != 0 or len(indices.dims) != 1 or not data.dims or len(data.dims[0]) > 2:
        return None
    shifts = np.zeros(indices.shape, np.int64) if indices.shifts is None else indices.shifts
    merged = data.dims[0]
    count = shifts.size
    sequences = np.arange(count)
    build.folder.budget.create(2 * sequences.nbytes, node)
    if len(merged) < 2:
        if count != 1 or indices.scale != 1 or shifts.any():
            return None
        apart, batch, time = replace(data, dims=((), merged, *data.dims[1:])), 0, 1
    else:
        outer, inner = merged
        apart = replace(data, dims=((outer,), (inner,), *data.dims[1:]))
        if indices.scale == 1 and outer.size == count and np.array_equal(shifts, sequences * inner.size):
            batch, time = 0, 1
        elif indices.scale == inner.size == count and np.array_equal(shifts, sequences):
            batch, time = 1, 0
        else:
            return None
    if indices.shift != -indices.scale:
        return None
    lengths = replace(indices, scale=1, shift=-1, shifts=None)
    return _picked(node, apart, lengths, lengths.dims[0], batch, time, build)


def _picked(
    node: Node,
    data: Tensor,
    lengths: Tensor,
    batch: Dim,
    batch_at: int,
    time_at: int,
    build: Builder,
    *,
    keep: bool = False,
) -> Tensor:
    """Return the last timestep before the end of each sequence; the axis of time stays, of size 1, for ``keep``."""
    if (
        not is_plain(replace(lengths, shift=lengths.shift + 1, clamped=False))
        or len(lengths.rows) != 1
        or lengths.rows[0].picked
    ):
        raise _no_end(node)
    own, time = data.dims[batch_at], data.dims[time_at]
    if len(own) > 1 or len(time) != 1 or build.grid or data.at is not None or data.integer:
        raise _no_end(node)
    time[0].require(Role.TIME, node)
    for axis in (*own, *batch):
        axis.require(Role.BATCH, node)
    if own and batch:
        batch[0].unify(own[0], node)
    build.note_masked_by(node, lengths.rows[0].value)
    tensor = build.single(data, node)
    value = tensor.rows[0].value
    if build.is_single(value):
        raise _no_end(node)
    picked = tensor.with_row(Row(build.last_of_length(value))).with_dim(time_at, () if keep else None)
    place = batch_at if keep or batch_at < time_at else batch_at - 1
    return picked.with_dim(place, own or batch)


def _no_end(node: Node) -> Exception:
    return node.unsupported(
        "it picks something else than the last timestep before the end of each sequence",
        "expected y[arange(batch), lengths - 1], or gather at lengths - 1, of lengths that are an input, (batch,)",
    )
