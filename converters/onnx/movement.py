"""Operators that move data without changing it, on layer values: only the meaning of the axes moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import parameters
from .axes import regroup
from .builder import Builder
from .folding import shape_slice
from .graph import Node
from .parameters import constant, optional, required
from .tensors import dtype_of
from .values import Arguments, Tensor, Value

_TOKENS = (np.dtype(np.int32), np.dtype(np.int64))
_FEATURES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


def tensor_input(node: Node, args: Arguments, index: int = 0) -> Tensor:
    """Return an input that depends on the model's inputs."""
    value = required(node, args, index)
    if not isinstance(value, Tensor):
        raise node.unsupported(f"its input {index} is a constant where the features of a timestep are expected")
    return value


def identity(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Identity, and Dropout in inference."""
    node.ignore("ratio", "seed")
    training = optional(args, 2)
    if training is not None and bool(np.any(constant(node, training, "training mode"))):
        raise node.unsupported("the model was exported in training mode", "call model.eval() before the export")
    return (required(node, args, 0),)


def cast(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Cast between floating-point types (grurt computes in float32), or between integer types of tokens."""
    target = dtype_of(node.integer("to", 0), str(node))
    tensor = tensor_input(node, args)
    integer = tensor.integer
    if target not in (_TOKENS if integer else _FEATURES):
        raise node.unsupported(f"it casts {'integers' if integer else 'features'} to {target.name}")
    return (tensor,)


def shape(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Shape: the sizes of this interpretation."""
    return (shape_slice(node, tensor_input(node, args).shape),)


def transpose(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Transpose: the dimensions in another order."""
    tensor = tensor_input(node, args)
    perm = parameters.permutation(node, len(tensor.dims))
    return (replace(tensor, dims=tuple(tensor.dims[axis] for axis in perm)),)


def squeeze(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Squeeze: axes of size 1 are dropped, and remembered."""
    tensor = tensor_input(node, args)
    return (without(tensor, parameters.squeezed_axes(node, args, tensor.shape)),)


def unsqueeze(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Unsqueeze: an axis that was squeezed away before comes back."""
    tensor = tensor_input(node, args)
    dims, dropped = list(tensor.dims), list(tensor.dropped)
    for axis in parameters.unsqueezed_axes(node, args, len(dims)):
        dims.insert(axis, (dropped.pop(),) if dropped else ())
    return (replace(tensor, dims=tuple(dims), dropped=tuple(dropped)),)


def reshape(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Reshape: axes are merged or taken apart again; see `axes.regroup`."""
    tensor = tensor_input(node, args)
    return (_regrouped(tensor, parameters.reshape_target(node, args, tensor.shape), node),)


def flatten(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Flatten: a Reshape to two dimensions."""
    tensor = tensor_input(node, args)
    return (_regrouped(tensor, parameters.flattened(node, tensor.shape), node),)


def expand(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Expand, where it repeats nothing."""
    tensor = tensor_input(node, args)
    target = parameters.integers(node, optional(args, 1), "shape")
    shape = tensor.shape
    repeats = zip(target[::-1], shape[::-1], strict=False)
    if len(target) > len(shape) or any(size not in (1, own) for size, own in repeats):
        raise node.unsupported(f"it repeats a value of shape {shape} to {target}")
    return (tensor,)


def without(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the tensor without dimensions of size 1; it remembers their axes."""
    dropped = tuple(axis for index in axes for axis in tensor.dims[index])
    dims = tuple(dim for index, dim in enumerate(tensor.dims) if index not in axes)
    return replace(tensor, dims=dims, dropped=tensor.dropped + dropped)


def _regrouped(tensor: Tensor, target: tuple[int, ...], node: Node) -> Tensor:
    dims, dropped = regroup(tensor.dims, tensor.dropped, target, node)
    return replace(tensor, dims=dims, dropped=dropped)
