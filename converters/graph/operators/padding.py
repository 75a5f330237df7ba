"""Numbers before and behind others: a Pad of features, and timesteps that a Concat puts around a sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.constants import beside_features
from grurt.converters.graph.operators.windows import resampled
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.parameters import axis_index
from grurt.converters.graph.tracing.values import MAX_STACK, SEQUENCE_RANK, Arguments, Row, Tensor
from grurt.converters.windows import Window

_MOST_PARTS = 3
"""A sequence, and what stands before and behind it."""


def of_features(
    node: Node, tensor: Tensor, changed: Sequence[tuple[int, int, int]], fill: float, build: Builder
) -> Tensor | None:
    """Return the tensor with a number around its features, or without some; None if other axes are padded.

    Parameters
    ----------
    node
        The Pad.
    tensor
        What it pads.
    changed
        The axes that it pads, each with how much is put before and behind, or cut off where that is negative.
    fill
        The number.
    build
        Takes the layers.
    """
    if len(changed) != 1 or tensor.padding or tensor.surplus:
        return None
    index, before, after = changed[0]
    dim = tensor.dims[index]
    if len(dim) != 1 or dim[0].role is not Role.FEATURE or tensor.stacks or max(before, after) > MAX_STACK:
        return None
    size = dim[0].size
    kept = range(max(-before, 0), size - max(-after, 0))
    if not kept:
        raise node.invalid(f"it cuts all of {size} features off")
    tensor = build.single(tensor, node)
    value = tensor.rows[0].value
    value = value if len(kept) == size else build.slice(value, kept.start, kept.stop)
    parts = [
        beside_features(node, value, np.full(count, fill, np.float32), build) if count > 0 else ""
        for count in (before, after)
    ]
    joined = build.concatenated([name for name in (parts[0], value, parts[1]) if name], lambda: build.name(node, "pad"))
    feature = Axis(before + size + after, f"the feature axis of {joined!r}", Role.FEATURE)
    return tensor.with_row(Row(joined)).with_dim(index, (feature,))


def of_concat(node: Node, args: Arguments, build: Builder) -> Tensor | None:
    """Return a sequence with timesteps of one number before it or behind it; None if a Concat makes something else."""
    places = [place for place, value in enumerate(args) if isinstance(value, Tensor)]
    if len(places) != 1 or not 2 <= len(args) <= _MOST_PARTS:
        return None
    tensor = args[places[0]]
    arrays = [value for value in args if isinstance(value, np.ndarray)]
    if not isinstance(tensor, Tensor) or len(arrays) != len(args) - 1 or tensor.at is not None or tensor.integer:
        return None
    index = axis_index(node, node.integer("axis", 0), len(tensor.dims))
    fill = _the_one_number(node, arrays, build)
    if fill is None or not _may_be_padded(tensor, index) or not all(_fits(tensor, index, each) for each in arrays):
        return None
    before, after = (sum(array.shape[index] for array in each) for each in (arrays[: places[0]], arrays[places[0] :]))
    return resampled(node, build.as_sequence(tensor, node), index, Window(padding=(before, after)), build, fill)


def _the_one_number(node: Node, arrays: Sequence[Array], build: Builder) -> float | None:
    """Return the number that arrays consist of; None if they hold different ones, or one that is not finite."""
    numbers: set[float] = set()
    for array in arrays:
        compact = without_repeats(array)
        build.folder.budget.read(compact.nbytes, node)
        if not compact.size or compact.dtype.kind != "f" or not np.all(compact == compact.reshape(-1)[0]):
            return None
        numbers.add(float(compact.reshape(-1)[0]))
    (fill,) = numbers if len(numbers) == 1 else (np.inf,)
    return fill if np.isfinite(np.float32(fill)) else None


def _may_be_padded(tensor: Tensor, index: int) -> bool:
    """Say whether a dimension may be time: that of a sequence, or of timesteps of one that were picked in order."""
    dim, rank = tensor.dims[index], len(tensor.dims)
    if len(dim) != 1 or rank < SEQUENCE_RANK or tensor.rows[0].final:
        return False
    if tensor.stacks:
        return dim == tensor.stacks and len(tensor.rows[0].picked) == 1
    return dim[0].role is Role.TIME or (dim[0].role is None and index < rank - 1)


def _fits(tensor: Tensor, index: int, array: Array) -> bool:
    """Say whether a constant has the shape of a tensor, but for one dimension."""
    shape = list(tensor.shape)
    shape[index : index + 1] = array.shape[index : index + 1]
    return tuple(shape) == array.shape
