"""Operators that move data without changing it, on layer values: only the meaning of the axes moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.alignment import as_vector
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.folding import shape_slice
from grurt.converters.graph.tracing.parameters import constant, optional, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.errors import DesignReason

_TOKENS = (np.dtype(np.int32), np.dtype(np.int64))
_FEATURES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_OF_CONDITIONS = (*_TOKENS, *_FEATURES, np.dtype(np.bool_))


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


@operator("Cast", moves_axes=True)
def cast(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Cast between floating-point types (grurt computes in float32), or between integer types of tokens.

    Conditions, and integers that layers have found, are numbers too.
    """
    target = dtype_of(node.integer("to", 0), str(node))
    tensor = tensor_input(node, args)
    integer = tensor.integer
    if (tensor.boolean and target in _OF_CONDITIONS) or (integer and target in _FEATURES and build.is_computed(tensor)):
        return (replace(tensor, integer=target in _TOKENS, boolean=target.kind == "b"),)
    if target not in (_TOKENS if integer else _FEATURES):
        raise node.unsupported(f"it casts {'integers' if integer else 'features'} to {target.name}")
    return (tensor,)


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


@operator("Unsqueeze", moves_axes=True)
def unsqueeze(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Unsqueeze: an axis that was squeezed away before comes back."""
    tensor = tensor_input(node, args)
    dims, dropped = list(tensor.dims), list(tensor.dropped)
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
    if any(size not in (1, own) and own != 1 for size, own in zip(wanted, tensor.shape, strict=True)):
        raise node.invalid(f"it expands a value of shape {tensor.shape} to {target}")
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
    if len(places) == 1 and _is_single_feature(tensor, places[0]) and repeats[places[0]] > 0:
        return repeated_feature(node, tensor, places[0], repeats[places[0]], build)
    if len(places) > 1 or tensor.dims[places[0]] or repeats[places[0]] < 1:
        raise node.unsupported(
            f"it repeats a value of shape {tensor.shape} {tuple(repeats)} times",
            "a vector can be repeated along the time axis of another value",
        )
    tensor = as_vector(node, tensor, build)
    time = Axis(repeats[places[0]], f"the axis along which {node} repeats a vector", Role.TIME, dynamic=True)
    return tensor.with_dim(places[0], (time,))


def _is_single_feature(tensor: Tensor, index: int) -> bool:
    dim = tensor.dims[index]
    return len(dim) == 1 and dim[0].size == 1 and dim[0].role is Role.FEATURE and not tensor.stacks


def repeated_feature(node: Node, tensor: Tensor, index: int, count: int, build: Builder) -> Tensor:
    """Return the tensor with a dimension of one feature repeated."""
    tensor = build.single(tensor, node)
    value = build.repeated(tensor.rows[0].value, count)
    feature = Axis(count, f"the feature axis of {value!r}", Role.FEATURE)
    return tensor.with_row(Row(value)).with_dim(index, (feature,))


def without(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the tensor without dimensions of size 1; it remembers their axes."""
    dropped = tuple(axis for index in axes for axis in tensor.dims[index])
    dims = tuple(dim for index, dim in enumerate(tensor.dims) if index not in axes)
    return replace(tensor, dims=dims, dropped=tensor.dropped + dropped)
