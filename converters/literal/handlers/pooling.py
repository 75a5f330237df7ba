"""The largest number of a window, and the mean, along axes of places.

Source: operators ``MaxPool``, ``AveragePool`` and ``LpPool`` of the ONNX specification.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import OF_ANY_LENGTH, Node
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.convolution import Kernel, convolved, kernel_of
from grurt.converters.literal.handlers.elementwise import combine
from grurt.converters.literal.handlers.padding import padded
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given

_LOWEST = float(np.finfo(np.float32).min)
_MOST_TAPS = 256


@handler("MaxPool")
def max_pool(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """MaxPool: the larger one of slices, along one axis after the other."""
    node.ignore("storage_order", OF_ANY_LENGTH)
    value = given(node, args)
    kernel, _ = _window(node, value)
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
    (kernel, beyond), channels = _window(node, value), value.shape[1]
    build.mixes(node, 0, *range(2, value.ndim))
    counts = _counts(value.shape[2:], kernel, padding_counts=bool(node.integer("count_include_pad", 0)), beyond=beyond)
    are_equal = not np.ptp(counts)
    weight = np.full((channels, 1, *kernel.sizes), 1.0 / counts.flat[0] if are_equal else 1.0)
    total = convolved(build, value, weight, None, kernel, channels)
    return total if are_equal else combine(build, "mul", total, 1.0 / counts)


def _counts(places: tuple[int, ...], kernel: Kernel, *, padding_counts: bool, beyond: tuple[int, ...]) -> Array:
    """Return how many places each window counts; those beyond the padding never do."""
    counts: Array = np.ones(())
    for index, size in enumerate(places):
        before, after, stride = kernel.before[index], kernel.after[index], kernel.strides[index]
        own = np.pad(np.ones(size), (before, after), constant_values=float(padding_counts))
        own[own.size - beyond[index] :] = 0.0
        starts = np.arange(0, own.size - kernel.spans[index] + 1, stride)
        taps = np.arange(kernel.sizes[index]) * kernel.dilations[index]
        counts = counts[..., None] * own[starts[:, None] + taps].sum(axis=1)
    return counts


def _window(node: Node, value: Value) -> tuple[Kernel, tuple[int, ...]]:
    """Return the window of a node, and how far the last one reaches beyond the padding, along each axis."""
    sizes = node.integers("kernel_shape")
    if value.ndim < 3 or len(sizes) != value.ndim - 2:
        raise node.invalid("its attributes do not fit its input")
    kernel = kernel_of(node, sizes, value.shape[2:])
    if sum(sizes) > _MOST_TAPS:
        raise node.unsupported(f"its window is of {sizes} places", f"supported are {_MOST_TAPS} in all")
    along = list(zip(kernel.spans, kernel.before, value.shape[2:], kernel.after, kernel.strides, strict=True))
    if min(kernel.before + kernel.after) < 0 or any(span > a + size + b for span, a, size, b, _ in along):
        raise node.misfit(f"its window of {sizes} does not fit its input of the shape {value.shape}")
    beyond = tuple(_beyond(*each) for each in along) if node.integer("ceil_mode", 0) else (0,) * len(sizes)
    after = tuple(own + more for own, more in zip(kernel.after, beyond, strict=True))
    return replace(kernel, after=after), beyond


def _beyond(span: int, before: int, size: int, after: int, stride: int) -> int:
    """Return how far the last window reaches beyond the padding, if one more begins before it."""
    left = (before + size + after - span) % stride
    start = before + size + after - span - left + stride
    return stride - left if left and start < before + size else 0
