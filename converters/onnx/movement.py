"""Operators that move data without changing it, on layer values: only the meaning of the axes moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.errors import UnsupportedError
from grurt.layers import Concat, Embedding

from . import parameters
from .axes import Axis, Dim, Role, regroup
from .builder import Builder
from .folding import shape_slice
from .graph import Array, Node
from .parameters import axis_index, constant, optional, required
from .tensors import dtype_of
from .values import Arguments, Row, Tensor, Value, stacked

MAX_STACK = 4096
"""The most states that one tensor may stack."""


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
    if (target.kind in "iu") != integer or target.kind not in "fiu":
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
    return (_without(tensor, parameters.squeezed_axes(node, args, tensor.shape)),)


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


def slice_(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Slice: of states, of one timestep, or of everything."""
    tensor = tensor_input(node, args)
    dynamic = [any(axis.dynamic for axis in dim) for dim in tensor.dims]
    for index, kept in parameters.slice_ranges(node, args, tensor.shape, dynamic).items():
        tensor = _select(node, tensor, index, kept)
    return (tensor,)


def split(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Split: several slices of one axis."""
    tensor = tensor_input(node, args)
    index = axis_index(node, node.integer("axis", 0), len(tensor.dims))
    parts, start = [], 0
    for size in parameters.split_sizes(node, args, tensor.shape[index]):
        parts.append(_select(node, tensor, index, range(start, start + size)))
        start += size
    return tuple(parts)


def gather(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Gather: an embedding where tokens select rows of a constant, else a selection at constant positions."""
    data, indices = required(node, args, 0), required(node, args, 1)
    if isinstance(data, np.ndarray):
        return (_embedding(node, data, tensor_input(node, args, 1), build),)
    positions = constant(node, indices, "indices")
    index = axis_index(node, node.integer("axis", 0), len(data.dims))
    size = data.shape[index]
    if positions.ndim > 1 or positions.dtype.kind not in "iu" or positions.size > MAX_STACK:
        raise node.unsupported(f"it selects positions of the shape {positions.shape}; one position is supported")
    kept = [axis_index(node, int(position), size) for position in positions.reshape(-1)]
    tensor = _select(node, data, index, kept)
    return (_without(tensor, (index,)) if positions.ndim == 0 else tensor,)


def concat(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Concat: of states along an axis of their own, or of features."""
    tensors = [tensor_input(node, args, index) for index in range(len(args))]
    index = axis_index(node, node.integer("axis", 0), len(tensors[0].dims))
    if len(tensors) == 1:
        return (tensors[0],)
    if any(len(tensor.dims) != len(tensors[0].dims) for tensor in tensors):
        raise node.invalid("its inputs have different numbers of axes")
    if index < len(tensors[0].dims) - 1 and all(_stackable(tensor, index) for tensor in tensors):
        return (_stack(node, tensors, index),)
    return (_concat_features(node, tensors, index, build),)


def align(node: Node, tensors: list[Tensor], build: Builder, skip: int | None = None) -> list[Tensor]:
    """Return tensors whose axes are the same, dimension by dimension, as one-row values.

    Where one of them holds single vectors, the last timestep of those stands for them whose only timestep was squeezed
    away. ``skip`` is a dimension along which they may differ.
    """
    tensors = [build.single(tensor, node) for tensor in tensors]
    if any(build.is_single(tensor.rows[0].value) for tensor in tensors):
        tensors = [settled(tensor, node, build) for tensor in tensors]
    first = tensors[0]
    for other in tensors[1:]:
        for index in range(len(first.dims)):
            if index != skip:
                first = first.with_dim(index, _common(node, first, other, index))
    return [first, *tensors[1:]]


def _common(node: Node, first: Tensor, other: Tensor, index: int) -> Dim:
    """Return the axes of a dimension that two tensors share, found to be the same."""
    mine, others = first.dims[index], other.dims[index]
    if len(mine) != len(others):
        if first.shape[index] == other.shape[index] == 1:
            return mine or others
        raise node.unsupported(
            f"it combines values of the shapes {first.shape} and {other.shape}, whose axes are not the same",
            "no value can be repeated over timesteps or features",
        )
    for axis, another in zip(mine, others, strict=True):
        axis.unify(another, node)
    return mine


def settled(tensor: Tensor, node: Node, build: Builder) -> Tensor:
    """Return the tensor without a time axis of size 1 that was squeezed away: its last timestep stands for it."""
    if not any(axis.role is Role.TIME for axis in tensor.dropped):
        return tensor
    value = build.take(tensor.rows[0], node)
    kept = tuple(axis for axis in tensor.dropped if axis.role is not Role.TIME)
    if not build.is_single(value):
        value = build.step(value, last=True)
    return replace(tensor, rows=(Row(value),), dropped=kept)


def _regrouped(tensor: Tensor, target: tuple[int, ...], node: Node) -> Tensor:
    dims, dropped = regroup(tensor.dims, tensor.dropped, target, node)
    return replace(tensor, dims=dims, dropped=dropped)


def _without(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    dropped = tuple(axis for index in axes for axis in tensor.dims[index])
    dims = tuple(dim for index, dim in enumerate(tensor.dims) if index not in axes)
    return replace(tensor, dims=dims, dropped=tensor.dropped + dropped)


def _select(node: Node, tensor: Tensor, index: int, kept: range | list[int]) -> Tensor:
    """Return the tensor at some positions of a dimension."""
    dim = tensor.dims[index]
    size = tensor.shape[index]
    if len(kept) == size and all(position == i for i, position in enumerate(kept[:MAX_STACK])):
        return tensor
    if isinstance(kept, range) and _starts_with_stack(tensor, dim):
        return _select_direction(node, tensor, index, kept)
    axis = _selectable(node, tensor, dim, len(kept))
    rows = tuple(row for position in kept for row in tensor.picking(axis, position))
    stack, new_dim = stacked(rows, node)
    if tensor.stack is not None and axis.root is not tensor.stack.root:
        stack, new_dim = tensor.stack, ()
    return replace(tensor.with_dim(index, new_dim), rows=rows, stack=stack)


def _starts_with_stack(tensor: Tensor, dim: Dim) -> bool:
    return len(dim) == 2 and dim[0] is tensor.stack and dim[1].role is Role.FEATURE


def _select_direction(node: Node, tensor: Tensor, index: int, kept: range) -> Tensor:
    """Select whole rows from a dimension that merges them with their features: one direction of a bidirectional GRU."""
    _, feature = tensor.dims[index]
    first, last = kept.start // feature.size, (kept.stop - 1) // feature.size
    if kept != range(first * feature.size, (last + 1) * feature.size) or not kept:
        raise node.unsupported(f"it selects {len(kept)} of {tensor.shape[index]} features of a timestep")
    rows = tensor.rows[first : last + 1]
    stack, new_dim = stacked(rows, node)
    return replace(tensor.with_dim(index, (*new_dim, feature)), rows=rows, stack=stack)


def _selectable(node: Node, tensor: Tensor, dim: Dim, count: int) -> Axis:
    if not 0 < count <= MAX_STACK:
        raise node.unsupported(f"it selects {count} positions of a tensor of shape {tensor.shape}")
    if len(dim) != 1:
        raise node.unsupported(f"it selects from a dimension of {len(dim)} merged axes")
    axis = dim[0]
    if axis.role is Role.FEATURE:
        raise node.unsupported(
            f"it selects from the features of a timestep ({axis.where})", "a layer must read all features of a value"
        )
    if axis.role is Role.BATCH:
        raise node.unsupported(f"it selects from the batch ({axis.where})", "sequences must not depend on each other")
    other_stack = tensor.stack is not None and axis.root is not tensor.stack.root
    if count > 1 and (axis.role is Role.TIME or other_stack or axis.dynamic):
        raise node.unsupported(
            f"it selects {count} of {axis.size} positions of {axis.where}",
            "whole sequences must be kept, in order, or one timestep",
        )
    return axis


def _embedding(node: Node, table: Array, tokens: Tensor, build: Builder) -> Tensor:
    if axis_index(node, node.integer("axis", 0), table.ndim) != 0 or table.ndim != 2 or table.dtype.kind != "f":
        raise node.unsupported(f"it looks up tokens in a table of shape {table.shape}, not (tokens, features)")
    if not tokens.integer or tokens.stack is not None or tokens.rows[0].picked:
        raise node.unsupported("the tokens of an embedding must be an input of the model")
    source = tokens.rows[0].value
    size = build.vocabulary_sizes.setdefault(source, table.shape[0])
    if size != table.shape[0]:
        raise node.unsupported(f"the input {source!r} is looked up in tables of {size} and of {table.shape[0]} tokens")
    layer = Embedding(name=build.name(node, "embedding"), inputs=(source,), vocabulary_size=size, size=table.shape[1])
    name = build.add(layer, {"weight": table})
    feature = Axis(table.shape[1], f"the feature axis of {name!r}", Role.FEATURE)
    return replace(tokens, rows=(Row(name),), dims=(*tokens.dims, (feature,)), integer=False)


def _stackable(tensor: Tensor, index: int) -> bool:
    """Say whether a tensor can lie along a stack of states: its dimension is one, or means nothing, or is unknown."""
    dim = tensor.dims[index]
    if tensor.stack is not None:
        return dim == (tensor.stack,)
    return not dim or (len(dim) == 1 and dim[0].role in (None, Role.STATE))


def _stack(node: Node, tensors: list[Tensor], index: int) -> Tensor:
    rows = tuple(row for tensor in tensors for row in rows_along(tensor, index))
    first = tensors[0]
    for other in tensors[1:]:
        for position, (mine, others) in enumerate(zip(first.dims, other.dims, strict=True)):
            if position != index and len(mine) == len(others):
                for axis, another in zip(mine, others, strict=True):
                    axis.unify(another, node)
    stack, dim = stacked(rows, node)
    return replace(first.with_dim(index, dim), rows=rows, stack=stack)


def rows_along(tensor: Tensor, index: int) -> tuple[Row, ...]:
    """Return the rows along a dimension that is a stack, means nothing, or is an axis of a model input."""
    dim = tensor.dims[index]
    if tensor.stack is not None or not dim:
        return tensor.rows
    if dim[0].size > MAX_STACK:
        raise UnsupportedError(f"{dim[0].where} stacks {dim[0].size} states; at most {MAX_STACK} are supported")
    return tuple(row for position in range(dim[0].size) for row in tensor.picking(dim[0], position))


def _concat_features(node: Node, tensors: list[Tensor], index: int, build: Builder) -> Tensor:
    tensors = align(node, tensors, build, skip=index)
    for tensor in tensors:
        for axis in tensor.dims[index]:
            axis.require(Role.FEATURE, node)
        if len(tensor.dims[index]) > 1:
            raise node.unsupported(f"it concatenates along {len(tensor.dims[index])} merged axes")
    layer = Concat(name=build.name(node, "concat"), inputs=tuple(tensor.rows[0].value for tensor in tensors))
    name = build.add(layer)
    size = sum(tensor.shape[index] for tensor in tensors)
    feature = Axis(size, f"the feature axis of {name!r}", Role.FEATURE)
    return tensors[0].with_row(Row(name)).with_dim(index, (feature,))
