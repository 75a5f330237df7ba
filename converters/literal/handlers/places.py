"""What picks places that are known, or puts something there; and a row of a table for each token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.elementwise import combine, number
from grurt.converters.literal.handlers.logic import compare
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Traced, Value, given, is_constant, scalar
from grurt.errors import DesignReason
from grurt.network import operators

_MOST_PLACES = 1 << 16
"""The most places that one operator lists."""

_TIMES_READ = 8
"""How often the places of a value are gone through, about."""

_MOST_ROWS = 1 << 10
"""The most rows of a table that a computed number picks from, as a product with 0 and 1."""


@handler("Gather")
def gather(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Gather along an axis: places that are known, or rows of a table for tokens."""
    value, indices = given(node, args, 0), given(node, args, 1)
    axis = parameters.axis_index(node, node.integer("axis", 0), value.ndim)
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    if isinstance(indices, Traced):
        return build.reshape(_picked(node, value, axis, indices, build), shape)
    found = _checked(node, indices, value.shape[axis]).reshape(-1).tolist()
    return build.reshape(build.gather(value, axis, _listed(node, found)), shape)


def _picked(node: Node, value: Value, axis: int, indices: Traced, build: ProgramBuilder) -> Value:
    """Return rows along an axis for numbers that are computed: ``(*before, numbers, *after)``, all in one piece."""
    if is_constant(value) and axis == 0 and (rows := build.token_rows(value, indices)) is not None:
        return rows
    depth = value.shape[axis]
    if depth > _MOST_ROWS:
        raise node.unsupported(
            f"it picks from {depth} places by a number that the graph computes",
            f"supported are {_MOST_ROWS}, or a table of weights and a number that is an input",
        )
    hot = one_hot(build, build.reshape(indices, (math.prod(indices.shape),)), depth)
    order = [axis, *(place for place in range(value.ndim) if place != axis)]
    moved = build.transpose(value, order)
    rows = build.emit(operators.MatMul, hot, build.reshape(moved, (depth, math.prod(moved.shape[1:]))))
    whole = build.reshape(rows, (hot.shape[0], *moved.shape[1:]))
    return build.transpose(whole, np.argsort(order).tolist())


def one_hot(build: ProgramBuilder, indices: Value, depth: int) -> Value:
    """Return 1 at the place that each number names, and 0 elsewhere, along a new last axis; negative ones from behind.

    A number that names none gives zeros.
    """
    places = np.arange(depth, dtype=np.float32)
    numbers = build.reshape(indices, (*indices.shape, 1))
    return combine(
        build, "max", compare(build, "equal", numbers, places), compare(build, "equal", numbers, places - depth)
    )


@handler("OneHot")
def hot(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """OneHot of numbers that are computed."""
    indices, depth, values = given(node, args, 0), scalar(args[1]), given(node, args, 2)
    if depth is None or not 1 <= depth <= _MOST_ROWS or not is_constant(values) or values.size != 2:
        raise node.unsupported("its depth and values are not known, or too large")
    axis = parameters.axis_index(node, node.integer("axis", -1), indices.ndim + 1)
    off, on = values.reshape(-1)
    found = one_hot(build, indices, int(depth))
    result: Value = build.emit(operators.Where, found, number(on), number(off))
    order = [*range(axis), indices.ndim, *range(axis, indices.ndim)]
    return build.transpose(result, order)


@handler("GatherElements")
def gather_elements(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """GatherElements, of places that are known: picked from the numbers in one row."""
    value, indices = given(node, args, 0), _known(node, args)
    axis = parameters.axis_index(node, node.integer("axis", 0), value.ndim)
    flat = _flat_places(node, build, value.shape)
    found = np.take_along_axis(flat, _checked(node, indices, value.shape[axis]), axis)
    return _from_row(node, value, found, build)


@handler("GatherND")
def gather_nd(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """GatherND, of places that are known: picked from the numbers in one row."""
    value, indices = given(node, args, 0), _known(node, args)
    if node.integer("batch_dims", 0):
        raise node.unsupported("it picks from each sequence of a batch apart (batch_dims)")
    return _from_row(node, value, _flat_places(node, build, value.shape)[_positions(node, indices, value.shape)], build)


@handler("ScatterND")
def scatter_nd(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ScatterND at places that are known."""
    value, indices, updates = given(node, args, 0), _known(node, args), given(node, args, 2)
    places = _flat_places(node, build, value.shape)[_positions(node, indices, value.shape)]
    return _put(node, value, places, updates, build)


@handler("ScatterElements", "Scatter")
def scatter_elements(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ScatterElements at places that are known."""
    value, indices, updates = given(node, args, 0), _known(node, args), given(node, args, 2)
    axis = parameters.axis_index(node, node.integer("axis", 0), value.ndim)
    found: list[Array] = list(np.indices(indices.shape))
    found[axis] = _checked(node, indices, value.shape[axis])
    return _put(node, value, _flat_places(node, build, value.shape)[tuple(found)], updates, build)


def _put(node: Node, value: Value, places: Array, updates: Value, build: ProgramBuilder) -> Value:
    """Return a value with updates at places, which are counted in one row: a slab, or picked from both together."""
    if node.text("reduction", "none") != "none":
        raise node.unsupported("it adds up what it places (reduction)")
    if places.shape != updates.shape:
        raise node.misfit(f"it puts {updates.shape} at places of {places.shape}")
    if not places.size:
        return value
    if (starts := _slab(places, value.shape)) is not None:
        sizes = np.ptp(np.stack(np.unravel_index(places.reshape(-1), value.shape)), axis=1) + 1
        block = build.reshape(updates, sizes.tolist())
        if block.shape == value.shape:
            return block
        return build.emit(operators.Update, value, block, starts=starts, dtype=updates.dtype)
    size = math.prod(value.shape)
    both = build.concat([build.reshape(value, (size,)), build.reshape(updates, (math.prod(updates.shape),))], 0)
    picked = np.arange(size)
    picked[places.reshape(-1)] = size + np.arange(places.size)
    return build.reshape(build.gather(both, 0, _listed(node, picked.tolist())), value.shape)


def _slab(places: Array, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return where a block of a shape begins that places run through, row by row; None if they do not."""
    found = np.stack(np.unravel_index(places.reshape(-1), shape))
    starts = found.min(axis=1)
    sizes = np.ptp(found, axis=1) + 1
    if math.prod(sizes.tolist()) != places.size:
        return None
    block = np.ravel_multi_index(np.ix_(*map(np.arange, starts, starts + sizes)), shape)
    return tuple(starts.tolist()) if np.array_equal(block.reshape(-1), places.reshape(-1)) else None


def _flat_places(node: Node, build: ProgramBuilder, shape: tuple[int, ...]) -> Array:
    """Return the places of a value, counted in one row."""
    build.folder.budget.read(_TIMES_READ * 8 * math.prod(shape), node)
    return np.arange(math.prod(shape)).reshape(shape)


def _from_row(node: Node, value: Value, places: Array, build: ProgramBuilder) -> Value:
    row = build.reshape(value, (math.prod(value.shape),))
    return build.reshape(build.gather(row, 0, _listed(node, places.reshape(-1).tolist())), places.shape)


def _known(node: Node, args: Arguments) -> Array:
    indices = given(node, args, 1)
    if not is_constant(indices):
        raise node.unsupported(
            "the places that it works on depend on the data",
            "compute with all places, and choose between them by a mask",
            DesignReason.DATA_DEPENDENT,
        )
    return indices


def _checked(node: Node, indices: Array, size: int) -> Array:
    """Return places along an axis, counted from its start."""
    if indices.dtype.kind not in "iu" or (indices.size and not -size <= indices.min() <= indices.max() < size):
        raise node.misfit(f"its places are none of the {size} of its input")
    return np.where(indices < 0, indices + size, indices)


def _positions(node: Node, indices: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    depth = indices.shape[-1] if indices.ndim else 0
    if not 1 <= depth <= len(shape):
        raise node.invalid(f"its indices of the shape {indices.shape} do not fit its input of the shape {shape}")
    return tuple(_checked(node, indices[..., axis], shape[axis]) for axis in range(depth))


def _listed(node: Node, places: Sequence[int]) -> Sequence[int]:
    if len(places) > _MOST_PLACES:
        raise node.unsupported(f"it picks {len(places)} numbers one by one", reason=DesignReason.SIZE)
    return places


@handler("Trilu")
def triangle(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Trilu: zeros above or below a diagonal."""
    value = given(node, args)
    shift = scalar(args[1]) if len(args) > 1 and args[1] is not None else 0.0
    if value.ndim < 2 or shift is None:
        raise node.invalid("its input is no matrix, or its k not known")
    mask = np.ones(value.shape[-2:], np.bool_)
    kept = np.triu(mask, int(shift)) if node.integer("upper", 1) else np.tril(mask, int(shift))
    return build.emit(operators.Where, kept, value, build.zero, dtype=value.dtype)


@handler("CumSum")
def running_sum(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """CumSum: a product with a triangle of ones."""
    value, axis = given(node, args), scalar(args[1])
    if axis is None:
        raise node.unsupported("its axis depends on the data", reason=DesignReason.DATA_DEPENDENT)
    axis_index = parameters.axis_index(node, int(axis), value.ndim)
    build.mixes(node, 0, axis_index)
    n, exclusive = value.shape[axis_index], bool(node.integer("exclusive", 0))
    if n > _MOST_ROWS:
        raise node.unsupported(f"it adds up {n} numbers", reason=DesignReason.SIZE)
    ones = np.triu(np.ones((n, n), np.float32), int(exclusive))
    ones = ones.T if node.integer("reverse", 0) else ones
    order = [*(place for place in range(value.ndim) if place != axis_index), axis_index]
    moved = build.reshape(build.transpose(value, order), (math.prod(value.shape) // n, n))
    total = build.emit(operators.MatMul, moved, ones)
    whole = build.reshape(total, [value.shape[place] for place in order])
    return build.transpose(whole, np.argsort(order).tolist())
