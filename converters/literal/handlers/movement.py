"""Axes in another order, merged, taken apart, repeated or cut."""

from __future__ import annotations

import math

import numpy as np

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.folding import shape_slice
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given, optional


@handler("Shape")
def shape(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Shape, which is known of every value."""
    return shape_slice(node, given(node, args).shape)


@handler("Size")
def size(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Size: how many numbers there are."""
    return np.array(math.prod(given(node, args).shape), np.int64)


@handler("EyeLike")
def identity_matrix(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """EyeLike, which looks at a shape only."""
    value = given(node, args)
    return build.folder.fold(node, (np.zeros(value.shape, value.dtype),))[0]


@handler("Transpose")
def transpose(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Transpose."""
    value = given(node, args)
    return build.transpose(value, parameters.permutation(node, value.ndim))


@handler("Reshape")
def reshape(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Reshape to a shape that is known."""
    value = given(node, args)
    return build.reshape(value, parameters.reshape_target(node, args, value.shape))


@handler("Flatten")
def flatten(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Flatten to two axes."""
    value = given(node, args)
    return build.reshape(value, parameters.flattened(node, value.shape))


@handler("Squeeze")
def squeeze(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Squeeze: without axes of size 1."""
    value = given(node, args)
    gone = parameters.squeezed_axes(node, args, value.shape)
    return build.reshape(value, [size for axis, size in enumerate(value.shape) if axis not in gone])


@handler("Unsqueeze")
def unsqueeze(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Unsqueeze: with new axes of size 1."""
    value = given(node, args)
    wider = list(value.shape)
    for axis in parameters.unsqueezed_axes(node, args, value.ndim):
        wider.insert(axis, 1)
    return build.reshape(value, wider)


@handler("Expand")
def expand(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Expand: broadcast to a shape, which may be smaller along axes."""
    value = given(node, args)
    target = parameters.integers(node, optional(args, 1), "shape")
    try:
        wider = np.broadcast_shapes(value.shape, target)
    except ValueError as error:
        raise node.misfit(f"it expands {value.shape} to {target}") from error
    return build.expand(value, wider)


@handler("Tile")
def tile(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Tile: repeated along axes."""
    value = given(node, args)
    repeats = parameters.integers(node, optional(args, 1), "repeats")
    if len(repeats) != value.ndim:
        raise node.invalid("its inputs do not fit together")
    for axis, times in enumerate(repeats):
        if times != 1:
            value = repeated(build, value, axis, times)
    return value


def repeated(build: ProgramBuilder, value: Value, axis: int, times: int) -> Value:
    """Return a value several times over along an axis."""
    shape = value.shape
    split = build.reshape(value, (*shape[:axis], 1, *shape[axis:]))
    wider = build.expand(split, (*shape[:axis], max(times, 0), *shape[axis:]))
    return build.reshape(wider, (*shape[:axis], max(times, 0) * shape[axis], *shape[axis + 1 :]))


@handler("Slice")
def cut(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Slice, at numbers that are known."""
    value = given(node, args)
    return build.slice(value, parameters.slice_ranges(node, args, value.shape, [False] * value.ndim))


@handler("Split")
def split(node: Node, args: Arguments, build: ProgramBuilder) -> tuple[Value, ...]:
    """Split along an axis."""
    value = given(node, args)
    axis = parameters.axis_index(node, node.integer("axis", 0), value.ndim)
    parts, start = [], 0
    for size in parameters.split_sizes(node, args, value.shape[axis]):
        parts.append(build.slice(value, {axis: range(start, start + size)}))
        start += size
    return tuple(parts)


@handler("Concat")
def concat(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Concat along an axis."""
    values = [given(node, args, index) for index in range(max(len(args), 1))]
    return build.concat(values, parameters.axis_index(node, node.integer("axis", 0), values[0].ndim))


@handler("DepthToSpace")
def depth_to_space(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """DepthToSpace: blocks of channels become places."""
    value, block = given(node, args), node.integer("blocksize", 0)
    n, c, h, w = _image(node, value, block * block)
    inner = c // (block * block)
    if node.text("mode", "DCR") == "DCR":
        split, perm = (n, block, block, inner, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (n, inner, block, block, h, w), (0, 1, 4, 2, 5, 3)
    moved = build.transpose(build.reshape(value, split), perm)
    return build.reshape(moved, (n, inner, h * block, w * block))


@handler("SpaceToDepth")
def space_to_depth(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """SpaceToDepth: blocks of places become channels."""
    value, block = given(node, args), node.integer("blocksize", 0)
    n, c, h, w = _image(node, value, 1)
    if block < 1 or h % block or w % block:
        raise node.misfit(f"places {h}, {w} do not fall into blocks of {block}")
    split = build.reshape(value, (n, c, h // block, block, w // block, block))
    return build.reshape(build.transpose(split, (0, 3, 5, 1, 2, 4)), (n, c * block * block, h // block, w // block))


def _image(node: Node, value: Value, blocks: int) -> tuple[int, int, int, int]:
    if value.ndim != 4 or blocks < 1 or value.shape[1] % blocks:
        raise node.misfit(f"its input has the shape {value.shape}")
    n, c, h, w = value.shape
    return n, c, h, w
