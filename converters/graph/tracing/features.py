"""Which dimension of a tensor holds the features of a timestep, learned where an operator says so."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Dim, OpenFeaturesError, Role
from grurt.converters.graph.tracing.values import Tensor
from grurt.errors import DesignReason

_FEW = 64
"""Numbers that are looked at without being counted."""


def require_features(node: Node, tensor: Tensor, index: int, size: int) -> None:
    """Learn that a dimension holds the features of a timestep, and check their number."""
    dim = tensor.dims[index] if tensor.dims else ()
    if tensor.shape[index : index + 1] != (size,) and not (size == 1 and not tensor.dims):
        error = node.misfit(f"it expects {size} features, and gets a tensor of shape {tensor.shape}")
        if len(dim) == 1 and dim[0].dynamic:
            raise OpenFeaturesError(str(error), dim[0].size, size)
        raise error
    if len(dim) > 1:
        merged = ", ".join(axis.where for axis in dim)
        raise node.unsupported(
            f"its features are merged from several axes ({merged})",
            "of tokens, give each as an input of its own",
            against_merging(dim),
        )
    for axis in dim:
        axis.require(Role.FEATURE, node)


def against_merging(dim: Dim) -> DesignReason | None:
    """Return why timesteps or sequences cannot be features; None if it is something else that lies beside these."""
    roles = {axis.role for axis in dim}
    if Role.TIME in roles:
        return DesignReason.SEQUENCE_LENGTH
    return DesignReason.ACROSS_BATCH if Role.BATCH in roles else None


def per_feature(node: Node, tensor: Tensor, array: Array, budget: Budget) -> Array:
    """Return a constant that is combined with a tensor as one number, ``()``, or one for each feature, ``(size,)``."""
    array = without_repeats(array)
    if sum(size > 1 for size in array.shape) > 1 and (row := the_one_row(node, array, budget)) is not None:
        array = row  # that an exporter has written out
    if array.dtype.kind != "f":
        raise node.unsupported(f"it combines features with a constant of the type {array.dtype}")
    padding = len(tensor.dims) - array.ndim
    if padding < 0 or not array.size:
        raise node.unsupported(f"it combines a value of shape {tensor.shape} with a constant of shape {array.shape}")
    wide = [padding + index for index, size in enumerate(array.shape) if size > 1]
    if len(wide) > 1 or any(len(tensor.dims[index]) != 1 for index in wide):
        raise node.unsupported(
            f"it combines a value of shape {tensor.shape} with a constant of shape {array.shape}",
            "a constant may be one number, or one for each feature",
        )
    if wide and tensor.dims[wide[0]][0].role is not Role.FEATURE and _is_one_number(array):
        return array.reshape(-1)[:1].reshape(())  # as ones_like writes it, of whatever axis
    for index in wide:
        require_features(node, tensor, index, array.size)
    return array.reshape(-1) if wide else array.reshape(())


def _is_one_number(array: Array) -> bool:
    return array.size <= _FEW and bool((array == array.reshape(-1)[0]).all())


def without_repeats(array: Array) -> Array:
    """Return an array with axes along which it repeats itself cut to size 1, so far as its memory layout shows that."""
    if 0 not in array.strides:
        return array
    kept = tuple(slice(0, 1) if stride == 0 and size > 1 else slice(None) for stride, size in _layout(array))
    return array[kept]


def the_one_row(node: Node, array: Array, budget: Budget) -> Array | None:
    """Return the row ``(size,)`` that an array ``(..., size)`` consists of; None if its rows differ."""
    if array.ndim < 2:
        return array.reshape(-1)
    compact = without_repeats(array)
    budget.read(compact.nbytes, node)
    rows = compact.reshape(math.prod(compact.shape[:-1]), compact.shape[-1])
    if len(rows) != 1 and not (len(rows) and (rows == rows[0]).all()):
        return None
    return np.broadcast_to(rows[0], array.shape[-1:])


def is_same_array(one: Array, other: Array) -> bool:
    """Say whether two arrays hold the same numbers, as views of one constant do, which are not compared."""
    interface, others = one.__array_interface__, other.__array_interface__
    views = all(interface[key] == others[key] for key in ("data", "shape", "strides", "typestr"))
    return views or np.array_equal(one, other)


def _layout(array: Array) -> Iterator[tuple[int, int]]:
    return zip(array.strides, array.shape, strict=True)
