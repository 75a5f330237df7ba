"""Models whose GRUs scan another axis than time, as dual-path networks do: which axis is which, and values as grids.

Such a graph does not tell which of the axes that its GRUs scan is time. It is interpreted once for each axis that could
be; the others that GRUs scan or that go beside the batch are *positions*, for example the frequencies of a spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.tracing.axes import Axis, Dim, NotTimeError, Role
from grurt.converters.graph.tracing.values import Row, Tensor

TimeAxis = tuple[str, int]
"""An axis of a graph input: the input's name, and the axis's number."""


def time_candidates(graph: Graph) -> Iterator[TimeAxis]:
    """Yield the axes of inputs that might be time, the likeliest first: open ones, and those behind the first."""
    found = [
        (isinstance(size, int), index == 0, index, port.name)
        for port in graph.inputs
        if port.shape is not None and len(port.shape) >= 3 and port.dtype.startswith("float")
        for index, size in enumerate(port.shape)
    ]
    for _, _, index, name in sorted(found, key=lambda each: (each[1], each[0])):
        yield name, index


def learn_positions(node: Node, tensor: Tensor, index: int) -> None:
    """Learn, where an operator reads features along one dimension, that other axes without a meaning are positions."""
    learn_features(node, tensor.dims[index])
    for axis in (axis for dim in tensor.dims for axis in dim):
        if axis.role is None and axis.size > 1:
            axis.require(Role.POSITION, node)


def learn_features(node: Node, dim: Dim) -> None:
    """Learn, where an operator reads features along a dimension, that it merges positions with the features of each."""
    axes = [axis for axis in dim if axis.size > 1]
    for axis in axes:
        if axis.role is None:
            axis.require(Role.FEATURE if axis is axes[-1] else Role.POSITION, node)


def formed(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    """Return the tensor with its rows as grids, if positions have an axis apart from the features, else as vectors.

    A dimension that merges positions with features, the positions outermost, becomes one of features.

    Raises
    ------
    NotTimeError
        If there are several axes of positions, or one of open size, or one that is merged with features in another way.
    """
    apart = [axis for dim in tensor.dims for axis in dim if axis.role is Role.POSITION and not _is_merged(dim)]
    if len(apart) > 1 or any(axis.dynamic for axis in apart):
        raise NotTimeError
    for index, dim in enumerate(tensor.dims):
        if _is_merged(dim):
            tensor = _as_features(node, tensor, index)
    positions = apart[0].size if apart else 1
    rows = tuple(_row(row, positions, build) for row in tensor.rows)
    return replace(tensor, rows=rows)


def _row(row: Row, positions: int, build: Builder) -> Row:
    known = row.value in build.layers or positions > 1
    return replace(row, value=build.with_positions(row.value, positions)) if known else row


def _is_merged(dim: Dim) -> bool:
    roles = {axis.role for axis in dim}
    return Role.POSITION in roles and Role.FEATURE in roles


def _as_features(node: Node, tensor: Tensor, index: int) -> Tensor:
    dim = tensor.dims[index]
    if [axis.role for axis in dim] != [Role.POSITION, Role.FEATURE] or set(tensor.stacks) & set(dim):
        raise NotTimeError
    size = dim[0].size * dim[1].size
    return tensor.with_dim(index, (Axis(size, f"the merged features of {node}", Role.FEATURE),))
