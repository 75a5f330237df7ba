"""What picks, places and sorts elements."""

from __future__ import annotations

import math

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.folds.rules import WIDEST, Rule, Rules, axis_of, first_of, nothing, of_first
from grurt.converters.graph.tracing.parameters import constant, integers, number, optional, required
from grurt.converters.graph.tracing.values import Arguments

_PAD_MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def _indices(node: Node, args: Arguments) -> Array:
    indices = constant(node, required(node, args, 1), "indices")
    if indices.dtype.kind not in "iu":
        raise node.invalid(f"its indices are of the type {indices.dtype}")
    return indices


def _size(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (np.array(first_of(node, args).size, np.int64),)


def _pad(node: Node, args: Arguments) -> tuple[Array, ...]:
    array, widths = first_of(node, args), _widths(node, args)
    mode = node.text("mode", "constant")
    if mode not in _PAD_MODES:
        raise node.invalid(f"unknown mode {mode[:50]!r}")
    cut = tuple(
        slice(max(-before, 0), size - max(-after, 0)) for (before, after), size in zip(widths, array.shape, strict=True)
    )
    added = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode != "constant":
        return (np.pad(array[cut], added, mode=mode),)  # type: ignore[call-overload]
    given = optional(args, 2)
    fill = node.number("value", 0.0) if given is None else constant(node, given, "value").reshape(()).item()
    return (np.pad(array[cut], added, constant_values=fill),)


def _widths(node: Node, args: Arguments) -> list[tuple[int, int]]:
    """Return how many elements are added before and behind each axis, or, below zero, cut off."""
    array = first_of(node, args)
    listed = node.integers("pads") if node.has("pads") else tuple(constant(node, optional(args, 1), "pads").tolist())
    axes = parameters.listed_axes(node, args, 3, array.ndim)
    axes = tuple(range(array.ndim)) if axes is None else axes
    if len(listed) != 2 * len(axes):
        raise node.invalid("its pads do not fit its input")
    widths = [(0, 0)] * array.ndim
    for place, axis in enumerate(axes):
        widths[axis] = int(listed[place]), int(listed[len(axes) + place])
    return widths


def _of_pad(node: Node, args: Arguments) -> int:
    array = first_of(node, args)
    sizes = (max(0, sum(width) + size) for width, size in zip(_widths(node, args), array.shape, strict=True))
    return int(array.itemsize * math.prod(sizes))


def _one_hot(node: Node, args: Arguments) -> tuple[Array, ...]:
    indices, depth = first_of(node, args), _depth(node, args)
    off, on = constant(node, required(node, args, 2), "values").reshape(-1)
    axis = parameters.axis_index(node, node.integer("axis", -1), indices.ndim + 1)
    places = np.where(indices < 0, indices + depth, indices)
    found = np.expand_dims(places, axis) == np.arange(depth).reshape([-1] + [1] * (indices.ndim - axis))
    return (np.where(found, on, off),)


def _depth(node: Node, args: Arguments) -> int:
    return max(0, int(number(node, required(node, args, 1), "depth")))


def _of_one_hot(node: Node, args: Arguments) -> int:
    return 2 * WIDEST * int(first_of(node, args).size) * _depth(node, args)


def _gather_elements(node: Node, args: Arguments) -> tuple[Array, ...]:
    array, indices = first_of(node, args), _indices(node, args)
    return (np.take_along_axis(array, indices.astype(np.int64), axis_of(node, array, 0)),)


def _of_indices(node: Node, args: Arguments) -> int:
    return 2 * WIDEST * int(_indices(node, args).size)


def _gather_nd(node: Node, args: Arguments) -> tuple[Array, ...]:
    if node.integer("batch_dims", 0):
        raise node.unsupported("it picks from each sequence of a batch apart (batch_dims)")
    return (first_of(node, args)[tuple(np.moveaxis(_indices(node, args), -1, 0))],)


def _of_gather_nd(node: Node, args: Arguments) -> int:
    array, indices = first_of(node, args), _indices(node, args)
    depth = indices.shape[-1] if indices.ndim else 0
    return array.itemsize * math.prod(indices.shape[:-1]) * math.prod(array.shape[depth:])


def _scatter_elements(node: Node, args: Arguments) -> tuple[Array, ...]:
    array, indices = first_of(node, args).copy(), _indices(node, args)
    _refuse_reduction(node)
    np.put_along_axis(array, indices.astype(np.int64), constant(node, args[2], "updates"), axis_of(node, array, 0))
    return (array,)


def _scatter_nd(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = first_of(node, args).copy()
    _refuse_reduction(node)
    array[tuple(np.moveaxis(_indices(node, args), -1, 0))] = constant(node, args[2], "updates")
    return (array,)


def _refuse_reduction(node: Node) -> None:
    if node.text("reduction", "none") != "none":
        raise node.unsupported("it adds up what it places (reduction)")


def _of_scatter(node: Node, args: Arguments) -> int:
    return WIDEST * (int(first_of(node, args).size) + int(_indices(node, args).size))


def _triangle(node: Node, args: Arguments) -> tuple[Array, ...]:
    array, given = first_of(node, args), optional(args, 1)
    keep = np.triu if node.integer("upper", 1) else np.tril
    return (keep(array, 0 if given is None else int(number(node, given, "k"))),)


def _identity_matrix(node: Node, args: Arguments) -> tuple[Array, ...]:
    like = first_of(node, args)
    if like.ndim != 2:
        raise node.invalid("its inputs do not fit together")
    dtype = dtype_of(node.integer("dtype", 0), str(node)) if node.has("dtype") else like.dtype
    return (np.eye(like.shape[0], like.shape[1], k=node.integer("k", 0), dtype=dtype),)


def _non_zero(node: Node, args: Arguments) -> tuple[Array, ...]:
    return (np.array(np.nonzero(first_of(node, args)), np.int64),)


def _of_non_zero(node: Node, args: Arguments) -> int:
    array = first_of(node, args)
    return WIDEST * int(array.size) * array.ndim


def _compress(node: Node, args: Arguments) -> tuple[Array, ...]:
    array, condition = first_of(node, args), constant(node, optional(args, 1), "condition")
    if not node.has("axis"):
        return (np.compress(condition, array),)
    return (np.compress(condition, array, axis_of(node, array, 0)),)


def _largest(node: Node, args: Arguments) -> tuple[Array, ...]:
    """TopK: the values and their places, in order."""
    array, count = first_of(node, args), integers(node, optional(args, 1), "k")
    axis = axis_of(node, array, -1)
    node.ignore("sorted")
    if len(count) != 1 or not 0 <= count[0] <= array.shape[axis]:
        raise node.invalid("its inputs do not fit together")
    keys = -array if node.integer("largest", 1) else array
    places = np.argsort(keys, axis=axis, kind="stable").take(range(count[0]), axis=axis)
    return np.take_along_axis(array, places, axis), places.astype(np.int64)


RULES: Rules = {
    "Compress": Rule(_compress, of_first),
    "EyeLike": Rule(_identity_matrix, of_first),
    "GatherElements": Rule(_gather_elements, _of_indices),
    "GatherND": Rule(_gather_nd, _of_gather_nd),
    "NonZero": Rule(_non_zero, _of_non_zero),
    "OneHot": Rule(_one_hot, _of_one_hot),
    "Pad": Rule(_pad, _of_pad),
    "ScatterElements": Rule(_scatter_elements, _of_scatter),
    "ScatterND": Rule(_scatter_nd, _of_scatter),
    "Size": Rule(_size, nothing),
    "TopK": Rule(_largest, of_first),
    "Trilu": Rule(_triangle, of_first),
}
