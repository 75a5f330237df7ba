"""Values that an operator combines, brought to the same axes: what ONNX calls broadcasting."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters.graph.building.arrangement import single_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.converters.graph.tracing.values import Arguments, Position, Row, Tensor


def align(node: Node, tensors: list[Tensor], build: Builder, skip: int | None = None) -> list[Tensor]:
    """Return tensors whose axes are the same, dimension by dimension, as one-row values.

    Where one of them holds single vectors, the last timestep of those stands for them whose only timestep was squeezed
    away; a vector beside a sequence is the same at every timestep, and a single feature the same for all features.
    ``skip`` is a dimension along which they may differ.
    """
    tensors = [build.single(tensor, node) for tensor in tensors]
    if any(build.is_single(tensor.rows[0].value) for tensor in tensors):
        tensors = [settled(tensor, node, build) for tensor in tensors]
    if skip is None:
        tensors = _widened(node, tensors, build)
    tensors = _beside_sequences(node, tensors, build, skip)
    first = tensors[0]
    for other in tensors[1:]:
        for index in range(len(first.dims)):
            if index != skip:
                first = first.with_dim(index, common(node, first, other, index, build))
    return [first, *tensors[1:]]


def settled(tensor: Tensor, node: Node, build: Builder) -> Tensor:
    """Return the tensor without a time axis of size 1 that was squeezed away: its last timestep stands for it."""
    if not any(axis.role is Role.TIME for axis in tensor.dropped):
        return tensor
    value = build.take(tensor.rows[0], node)
    kept = tuple(axis for axis in tensor.dropped if axis.role is not Role.TIME)
    if not build.is_single(value):
        value = build.timestep_of(value, last=True)
    return replace(tensor, rows=(Row(value),), dropped=kept)


def in_one_step(node: Node, args: Arguments, build: Builder) -> tuple[Arguments, tuple[Axis, Position] | None]:
    """Return what a node reads as it is at one timestep of a loop, and which one, where it reads other values too.

    These are vectors, the same at every timestep. Where the timesteps differ, each is picked from its sequence.
    """
    places = {value.at and (value.at[0].root, value.at[1]) for value in args if isinstance(value, Tensor)}
    if len(places) == 1:
        return args, None
    tensors = [value for value in args if isinstance(value, Tensor)]
    at = next((value.at for value in tensors if value.at is not None), None)
    rank = max((len(value.dims) for value in tensors if value.at is not None), default=0)
    are_vectors = all(_is_vector(value, rank) for value in tensors if value.at is None)
    if at is None or len(places - {None}) > 1 or not are_vectors:
        return tuple(value.settled() if isinstance(value, Tensor) else value for value in args), None
    within = tuple(
        as_vector(node, settled(value, node, build), build) if isinstance(value, Tensor) and value.at is None else value
        for value in args
    )
    return tuple(replace(value, at=None) if isinstance(value, Tensor) else value for value in within), at


def _is_vector(tensor: Tensor, rank: int) -> bool:
    """Say whether a tensor holds a vector for each sequence, beside a timestep that has so many dimensions."""
    axes = [axis for dim in tensor.dims for axis in dim]
    return len(axes) <= 2 and len(tensor.dims) <= rank and not any(axis.role is Role.TIME for axis in axes)


def as_vector(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    """Return a tensor of no time axis, ``(batch, features)`` with axes of size 1 between, as one vector a sequence."""
    axes = [axis for dim in tensor.dims for axis in dim]
    if len(axes) > 2 or any(axis.role is Role.TIME for axis in axes):
        raise node.unsupported(
            f"it repeats a value of shape {tensor.shape}",
            "a vector can be repeated along the time axis of another value",
        )
    tensor = build.single(tensor, node)
    value = tensor.rows[0].value
    return tensor if build.is_single(value) else tensor.with_row(Row(build.timestep_of(value, last=True)))


def merged_features(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    """Return the tensor with rows merged into the features, where they are stacked along them, or are one each."""
    merged = any(len(dim) > 1 and any(axis in tensor.stacks for axis in dim) for dim in tensor.dims)
    merged = merged or (tensor.dims[-1:] == (tensor.stacks,) and single_features(tensor) is not None)
    return build.single(tensor, node) if merged or tensor.integer else tensor


def common(node: Node, first: Tensor, other: Tensor, index: int, build: Builder) -> Dim:
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
            "a vector can be repeated over timesteps, and a single feature over features",
        )
    for axis, another in zip(mine, others, strict=True):
        axis.unify(another, node)
    return mine


def _beside_sequences(node: Node, tensors: list[Tensor], build: Builder, skip: int | None) -> list[Tensor]:
    """Return the tensors, with those as vectors that lack an axis of others: it is taken to be time.

    Should it be the batch, a GRU will say so.
    """
    roles = (Role.TIME,) if build.grid else (Role.TIME, None)
    columns = list(zip(*(tensor.dims for tensor in tensors), strict=True))
    lacking: set[int] = set()
    for index, dims in enumerate(columns):
        without = [place for place, dim in enumerate(dims) if not dim]
        axes = [dim[0] for dim in dims if len(dim) == 1 and dim[0].size > 1 and dim[0].role in roles]
        if index != skip and without and axes:
            lacking.update(without)
            for axis in axes:
                axis.require(Role.TIME, node)
    return [as_vector(node, tensor, build) if place in lacking else tensor for place, tensor in enumerate(tensors)]


def _widened(node: Node, tensors: list[Tensor], build: Builder) -> list[Tensor]:
    """Return the tensors, with those of one feature repeated for each of the features of the others."""
    rank = len(tensors[0].dims)
    for index in range(rank):
        wide = max((tensor.dims[index] for tensor in tensors), key=lambda dim: len(dim) == 1 and dim[0].size)
        narrow = [len(tensor.dims[index]) < 2 and tensor.shape[index] == 1 for tensor in tensors]
        elsewhere = any(
            axis.role is Role.FEATURE and axis.size > 1
            for tensor in tensors
            for dim in (*tensor.dims[:index], *tensor.dims[index + 1 :])
            for axis in dim
        )
        may_be = index == rank - 1 and not elsewhere
        if len(wide) == 1 and any(narrow) and _is_feature(wide[0], may_be=may_be):
            wide[0].require(Role.FEATURE, node)
            return [
                _repeated(node, tensor, index, wide[0], build) if is_narrow else tensor
                for tensor, is_narrow in zip(tensors, narrow, strict=True)
            ]
    return tensors


def _is_feature(axis: Axis, *, may_be: bool) -> bool:
    return axis.size > 1 and (axis.role is Role.FEATURE or (axis.role is None and may_be and not axis.dynamic))


def _repeated(node: Node, tensor: Tensor, index: int, axis: Axis, build: Builder) -> Tensor:
    others = [other for place, dim in enumerate(tensor.dims) if place != index for other in dim]
    if any(other.role is Role.FEATURE and other.size > 1 for other in others):
        raise node.unsupported(
            f"it repeats a value of shape {tensor.shape} along {axis.where}", "only a single feature can be repeated"
        )
    repeated = build.repeated(build.take(tensor.rows[0], node), axis.size)
    feature = Axis(axis.size, f"the feature axis of {repeated!r}", Role.FEATURE)
    return tensor.with_row(Row(repeated)).with_dim(index, (feature,))
