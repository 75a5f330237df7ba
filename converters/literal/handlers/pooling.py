"""The largest number of a window, and the mean, along axes of places.

Source: operators ``MaxPool``, ``AveragePool`` and ``LpPool`` of the ONNX specification.
"""

from __future__ import annotations

import math

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import OF_ANY_LENGTH, Node
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.convolution import Kernel, kernel_of
from grurt.converters.literal.handlers.elementwise import combine
from grurt.converters.literal.handlers.padding import padded
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given
from grurt.network import operators

_LOWEST = float(np.finfo(np.float32).min)
_MOST_TAPS = 256


@handler("MaxPool")
def max_pool(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """MaxPool: the larger one of slices, along one axis after the other."""
    node.ignore("storage_order", OF_ANY_LENGTH)
    value = given(node, args)
    kernel = _window(node, value)
    build.mixes(node, 0, *range(2, value.ndim))
    value = padded(build, value, [(0, 0), (0, 0), *zip(kernel.before, kernel.after, strict=True)], _LOWEST)
    for index, taps in enumerate(kernel.sizes):
        axis, stride = 2 + index, kernel.strides[index]
        reach = value.shape[axis] - kernel.spans[index]
        starts = (tap * kernel.dilations[index] for tap in range(taps))
        first, *others = (build.slice(value, {axis: range(at, at + reach + 1, stride)}) for at in starts)
        for other in others:
            first = combine(build, "max", first, other)
        value = first
    return value


@handler("AveragePool")
def average_pool(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """AveragePool: a convolution of each channel by itself, with one weight; padding counts, or does not."""
    node.ignore(OF_ANY_LENGTH)
    value = given(node, args)
    kernel, channels = _window(node, value), value.shape[1]
    build.mixes(node, 0, *range(2, value.ndim))
    counts = _counts(value.shape[2:], kernel, bool(node.integer("count_include_pad", 0)), node)
    taps = math.prod(kernel.sizes)
    weight = np.full((channels, 1, *kernel.sizes), 1.0 if np.ptp(counts) else 1.0 / counts.flat[0])
    images = build.reshape(value, (1, *value.shape)) if value.shape[0] > 1 else value
    if images is not value:
        raise node.unsupported(f"it pools {value.shape[0]} images of {taps} places each")
    total = build.emit(
        operators.Conv,
        value,
        weight,
        groups=channels,
        strides=kernel.strides,
        dilations=kernel.dilations,
        before=kernel.before,
        after=kernel.after,
    )
    return combine(build, "mul", total, 1.0 / counts) if np.ptp(counts) else total


def _counts(places: tuple[int, ...], kernel: Kernel, padding_counts: bool, node: Node) -> Array:
    """Return how many places each window counts."""
    counts: Array = np.ones(())
    for index, size in enumerate(places):
        before, after, stride = kernel.before[index], kernel.after[index], kernel.strides[index]
        own = np.pad(np.ones(size), (before, after), constant_values=float(padding_counts))
        beyond = _beyond(node, index)
        if beyond and padding_counts:
            own[own.size - beyond :] = 0.0
        starts = np.arange(0, own.size - kernel.spans[index] + 1, stride)
        taps = np.arange(kernel.sizes[index]) * kernel.dilations[index]
        counts = counts[..., None] * own[starts[:, None] + taps].sum(axis=1)
    return counts


def _beyond(node: Node, index: int) -> int:
    return 0 if not node.integer("ceil_mode", 0) else 0 * index


def _window(node: Node, value: Value) -> Kernel:
    sizes = node.integers("kernel_shape")
    if value.ndim < 3 or len(sizes) != value.ndim - 2:
        raise node.invalid("its attributes do not fit its input")
    kernel = kernel_of(node, sizes, value.shape[2:])
    if sum(sizes) > _MOST_TAPS:
        raise node.unsupported(f"its window is of {sizes} places", f"supported are {_MOST_TAPS} in all")
    if node.integer("ceil_mode", 0):
        raise node.unsupported("its last window reaches beyond the places (ceil_mode)")
    if any(span > before + size + after for span, before, size, after in _along(kernel, value)):
        raise node.misfit(f"its window of {sizes} does not fit its input of the shape {value.shape}")
    return kernel


def _along(kernel: Kernel, value: Value) -> list[tuple[int, int, int, int]]:
    return list(zip(kernel.spans, kernel.before, value.shape[2:], kernel.after, strict=True))
