"""Delays: sequences shifted by some timesteps, with zeros before the first, as exporters cut and pad them.

Either the last timesteps are cut off and zeros put before the rest, or zeros are put before the sequence and as many of
the timesteps that there are then kept as the sequence has. Zeros before a sequence that nothing cuts are its padding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.converters import windows
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.windows import as_it_is
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.parameters import axis_index, slice_ranges
from grurt.converters.graph.tracing.values import ROW_BYTES, Arguments, Row, Tensor


def may_be_cut(tensor: Tensor, index: int, kept: range) -> bool:
    """Say whether a Slice keeps all but the last positions of a dimension that may be time."""
    dim = tensor.dims[index]
    if len(dim) != 1 or tensor.stacks or tensor.integer or tensor.rows[0].picked or tensor.at is not None:
        return False
    is_front = kept.step == 1 and kept.start == 0 and 1 <= len(kept) < dim[0].size
    return is_front and dim[0].role in (None, Role.TIME) and not dim[0].is_reversed


def cut(tensor: Tensor, index: int, kept: range, *, at_the_end: bool) -> Tensor:
    """Return a sequence without its last timesteps: nothing reads it but a Concat that puts zeros before it.

    ``at_the_end``: as many are cut off of sequences of any length.
    """
    (axis,) = tensor.dims[index]
    shorter = Axis(len(kept), f"{axis.where}, cut", part_of=axis)
    return replace(tensor.with_dim(index, (shorter,)), whole=tensor, is_cut=True, at_the_end=at_the_end)


def uncut(node: Node, tensor: Tensor, index: int, steps: int, build: Builder) -> Tensor | None:
    """Return what a tensor is without its last timesteps, as many as ``steps``; None if it is something else by now."""
    whole = tensor.whole
    if whole is None or len(whole.dims) != len(tensor.dims) or whole.shape[index] - tensor.shape[index] != steps:
        return None
    if any(whole.dims[place] is not dim for place, dim in enumerate(tensor.dims) if place != index):
        return None
    if tensor.is_cut:
        return whole
    if len(tensor.rows) != tensor.shape[index]:
        return None
    build.folder.budget.create(ROW_BYTES * len(tensor.rows), node)
    return whole if tensor.rows == whole.picking(whole.dims[index][0], range(tensor.shape[index])) else None


def of_concat(node: Node, args: Arguments, build: Builder) -> Tensor | None:
    """Return what a Concat makes of zeros and a sequence; None if it puts zeros before something else.

    That is a delay, if the sequence was cut at its end, or else a sequence behind zeros, as a Pad makes it.
    """
    if len(args) != 2 or not isinstance(args[0], np.ndarray) or not isinstance(args[1], Tensor):
        return None
    zeros, rest = args[0], args[1]
    index = axis_index(node, node.integer("axis", 0), len(rest.dims))
    compact = without_repeats(zeros)
    build.folder.budget.read(compact.nbytes, node)
    if zeros.ndim != len(rest.dims) or np.any(compact):
        return None
    steps = zeros.shape[index]
    whole = uncut(node, rest, index, steps, build)
    return (
        _behind_zeros(node, rest, index, steps, build) if whole is None else delayed(node, whole, index, steps, build)
    )


def _behind_zeros(node: Node, tensor: Tensor, index: int, steps: int, build: Builder) -> Tensor | None:
    """Return a sequence with zeros before its first timestep; None if these stand along another axis.

    What the last axis means that nobody has told, a convolution tells that reads the result.
    """
    dim = tensor.dims[index]
    if len(dim) != 1 or tensor.integer or tensor.stacks or tensor.rows[0].picked or tensor.rows[0].final or tensor.at:
        return None
    is_last = index == len(tensor.dims) - 1 and not dim[0].dynamic and node.outputs[0] not in build.convolved
    if dim[0].role not in (None, Role.TIME) or (dim[0].role is None and is_last):
        return None
    tensor = as_it_is(node, tensor, build)
    dim[0].require(Role.TIME, node)
    return replace(tensor, padding=steps, padded=tensor.dims[index])


def of_slice(node: Node, args: Arguments, tensor: Tensor, build: Builder) -> Tensor | None:
    """Return the delay that a Slice makes of a sequence with zeros before it, by keeping as many timesteps as it has.

    Itself, if the Slice keeps everything; None if it keeps others.
    """
    index = next(place for place, dim in enumerate(tensor.dims) if dim == tensor.padded)
    size = tensor.shape[index]
    shape = tensor.padded_shape
    dynamic = [any(axis.dynamic for axis in dim) for dim in tensor.dims]
    ranges = slice_ranges(node, args, shape, dynamic)
    if all(kept == range(shape[place]) for place, kept in ranges.items()):
        return tensor
    kept = ranges.pop(index, range(0))
    if any(each != range(shape[place]) for place, each in ranges.items()) or kept.step != 1 or len(kept) != size:
        return None
    return delayed(node, replace(tensor, padding=0, padded=()), index, tensor.padding - kept.start, build)


def delayed(node: Node, tensor: Tensor, index: int, steps: int, build: Builder) -> Tensor:
    """Return a sequence as it was some timesteps before, zeros at first."""
    for axis in tensor.dims[index]:
        axis.require(Role.TIME, node)
        if axis.is_reversed:
            raise node.unsupported("it reads a sequence that was reversed", "a delay cannot look ahead")
    if steps == 0:
        return tensor
    tensor = build.single(tensor, node)
    size = _learn_features(node, tensor, index)
    return tensor.with_row(Row(windows.delayed(build, tensor.rows[0].value, size, steps, build.name(node, "delay"))))


def _learn_features(node: Node, tensor: Tensor, time: int) -> int:
    """Return how many features a sequence has; its other dimensions are the batch and theirs, in this order."""
    others = [dim for place, dim in enumerate(tensor.dims) if place != time]
    known = [dim for dim in others if any(axis.role is Role.FEATURE for axis in dim)]
    if not known:
        known = others[1:] if len(others) > 1 or time > 0 else others
    if len(known) > 1 or any(len(dim) > 1 for dim in known):
        raise node.unsupported(
            f"it shifts a value of shape {tensor.shape} in time", "a delay is of (batch, time, features)"
        )
    for axis in (axis for dim in known for axis in dim):
        axis.require(Role.FEATURE, node)
        return axis.size
    return 1
