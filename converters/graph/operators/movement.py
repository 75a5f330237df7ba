"""Operators that move data without changing it, on layer values: only the meaning of the axes moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.alignment import as_vector
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import is_given
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.rewriting.branches import SQUEEZE_IF_ONE
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.folding import shape_slice
from grurt.converters.graph.tracing.parameters import constant, optional, required, tensor_input
from grurt.converters.graph.tracing.values import MAX_STACK, SEQUENCE_RANK, Arguments, Row, Tensor, Value, stacked
from grurt.errors import DesignReason


@operator("Dropout")
@operator("Identity", moves_axes=True, reads_padding=True)
def identity(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Identity, and Dropout in inference."""
    node.ignore("ratio", "seed")
    training = optional(args, 2)
    if training is not None and constant(node, training, "training mode").size != 1:
        raise node.invalid("expected one value as its training mode")
    if training is not None and bool(np.any(constant(node, training, "training mode"))):
        raise node.unsupported(
            "the model was exported in training mode", "call model.eval() before the export", DesignReason.TRAINING
        )
    return (required(node, args, 0),)


@operator("Shape", moves_axes=True, reads_padding=True)
def shape(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Shape: the sizes of this interpretation."""
    tensor = tensor_input(node, args)
    sizes = [
        size + tensor.padding if tensor.padding and dim == tensor.padded else size
        for size, dim in zip(tensor.shape, tensor.dims, strict=True)
    ]
    return (shape_slice(node, tuple(sizes)),)


@operator("Transpose", moves_axes=True, reads_padding=True)
def transpose(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Transpose: the dimensions in another order."""
    tensor = tensor_input(node, args)
    perm = parameters.permutation(node, len(tensor.dims))
    return (replace(tensor, dims=tuple(tensor.dims[axis] for axis in perm)),)


@operator("Squeeze", moves_axes=True)
def squeeze(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Squeeze: axes of size 1 are dropped, and remembered."""
    tensor = tensor_input(node, args)
    return (without(tensor, parameters.squeezed_axes(node, args, tensor.shape)),)


@operator(SQUEEZE_IF_ONE, moves_axes=True)
def squeeze_if_one(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Squeeze, where an axis has size 1; else the same tensor."""
    tensor = tensor_input(node, args)
    index = parameters.axis_index(node, node.integer("axis", 0), len(tensor.dims))
    if any(axis.dynamic for axis in tensor.dims[index]):
        raise node.unsupported(
            f"it removes {tensor.dims[index][0].where} where it happens to be of size 1",
            "remove an axis whose size is known to be 1, as with x[:, 0]",
            DesignReason.DATA_DEPENDENT,
        )
    return (without(tensor, (index,)) if tensor.shape[index] == 1 else tensor,)


@operator("Unsqueeze", moves_axes=True)
def unsqueeze(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Unsqueeze: an axis that was squeezed away before comes back, but no features beside others."""
    tensor = tensor_input(node, args)
    has_features = any(axis.role is Role.FEATURE for dim in tensor.dims for axis in dim)
    dims = list(tensor.dims)
    dropped = [axis for axis in tensor.dropped if axis.role is not Role.FEATURE or not has_features]
    for axis in parameters.unsqueezed_axes(node, args, len(dims)):
        dims.insert(axis, (dropped.pop(),) if dropped else ())
    return (replace(tensor, dims=tuple(dims), dropped=tuple(dropped)),)


@operator("Expand", in_loops="single", moves_axes=True)
def expand(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Expand, where it repeats nothing, or a vector over timesteps."""
    tensor = tensor_input(node, args)
    target = parameters.integers(node, optional(args, 1), "shape")
    rank = max(len(target), len(tensor.dims))
    wanted = (1,) * (rank - len(target)) + target
    tensor = replace(tensor, dims=((),) * (rank - len(tensor.dims)) + tensor.dims)
    repeats = [size if own == 1 else 1 for size, own in zip(wanted, tensor.shape, strict=True)]
    fits = (
        own == 1 or size in (1, own) or any(axis.dynamic for axis in dim)  # an open size by another name
        for size, own, dim in zip(wanted, tensor.shape, tensor.dims, strict=True)
    )
    if not all(fits):
        raise node.misfit(f"it expands a value of shape {tensor.shape} to {target}")
    return (_repeated(node, tensor, repeats, build),)


@operator("Tile", in_loops="single", moves_axes=True)
def tile(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Tile, where it repeats nothing, or a vector over timesteps."""
    tensor = tensor_input(node, args)
    repeats = parameters.integers(node, optional(args, 1), "repeats")
    if len(repeats) != len(tensor.dims):
        raise node.invalid(f"expected a number of repeats for each of {len(tensor.dims)} axes, got {len(repeats)}")
    return (_repeated(node, tensor, repeats, build),)


def _repeated(node: Node, tensor: Tensor, repeats: Sequence[int], build: Builder) -> Tensor:
    """Return the tensor repeated along one axis that means nothing: a time axis, along which the vector is the same."""
    places = [index for index, count in enumerate(repeats) if count != 1]
    if not places:
        return tensor
    if len(places) == 1 and not tensor.dims[places[0]] and (is_given(tensor, build) or tensor.ends is not None):
        again = Axis(repeats[places[0]], f"the axis along which {node} repeats integers", dynamic=True)
        return replace(tensor.with_dim(places[0], (again,)), repeats=(*tensor.repeats, again))
    if len(places) == 1 and _are_features(tensor, places[0]) and 0 < repeats[places[0]] <= MAX_STACK:
        return repeated_features(node, tensor, places[0], repeats[places[0]], build)
    if len(places) == 1 and _is_beside_a_sequence(tensor, places[0]) and 0 < repeats[places[0]] <= MAX_STACK:
        stacks = stacked(repeats[places[0]], node)
        return replace(tensor.with_dim(places[0], stacks), rows=tensor.rows * repeats[places[0]], stacks=stacks)
    if len(places) > 1 or tensor.dims[places[0]] or repeats[places[0]] < 1:
        raise node.unsupported(
            f"it repeats a value of shape {tensor.shape} {tuple(repeats)} times",
            "a vector can be repeated along the time axis of another value",
        )
    tensor = as_vector(node, tensor, build)
    time = Axis(repeats[places[0]], f"the axis along which {node} repeats a vector", Role.TIME, dynamic=True)
    return tensor.with_dim(places[0], (time,))


def _is_beside_a_sequence(tensor: Tensor, index: int) -> bool:
    """Say whether a dimension means nothing, beside the batch, time and features."""
    others = [axis for place, dim in enumerate(tensor.dims) if place != index for axis in dim]
    return not tensor.dims[index] and not tensor.stacks and len(others) >= SEQUENCE_RANK


def _are_features(tensor: Tensor, index: int) -> bool:
    """Say whether a dimension, of which nothing else may be known yet, holds the features: then it is the last one."""
    dim = tensor.dims[index]
    if len(dim) != 1 or tensor.stacks or tensor.integer:
        return False
    unknown = dim[0].role is None and not dim[0].dynamic and index == len(tensor.dims) - 1 > 1
    return dim[0].role is Role.FEATURE or unknown


def repeated_features(node: Node, tensor: Tensor, index: int, count: int, build: Builder) -> Tensor:
    """Return the tensor with its features repeated, one time behind the other."""
    tensor.dims[index][0].require(Role.FEATURE, node)
    tensor = build.single(tensor, node)
    value, size = tensor.rows[0].value, tensor.shape[index]
    value = build.repeated(value, count) if size == 1 else build.joined([Row(value)] * count, node)
    feature = Axis(size * count, f"the feature axis of {value!r}", Role.FEATURE)
    return tensor.with_row(Row(value)).with_dim(index, (feature,))


def without(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the tensor without dimensions of size 1; it remembers their axes."""
    dropped = tuple(axis for index in axes for axis in tensor.dims[index])
    dims = tuple(dim for index, dim in enumerate(tensor.dims) if index not in axes)
    return replace(tensor, dims=dims, dropped=tensor.dropped + dropped)
