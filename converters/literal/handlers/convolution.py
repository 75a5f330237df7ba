"""Convolutions of one to three axes, and transposed ones.

Source: operators ``Conv`` and ``ConvTranspose`` of the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.elementwise import combine
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given, is_constant, optional
from grurt.network import operators

_MOST_AXES = 3
_AUTOMATIC = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Kernel:
    """How a window goes over the places of a value, along each of its axes."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def spans(self) -> tuple[int, ...]:
        """How many places it reaches over."""
        return tuple((size - 1) * dilation + 1 for size, dilation in zip(self.sizes, self.dilations, strict=True))


def kernel_of(node: Node, sizes: Sequence[int], places: Sequence[int]) -> Kernel:
    """Return the window of a node that goes over an image of these sizes."""
    n = len(sizes)
    strides, dilations = node.integers("strides") or (1,) * n, node.integers("dilations") or (1,) * n
    pads, automatic = node.integers("pads") or (0,) * (2 * n), node.text("auto_pad", "NOTSET")
    fits = len(strides) == len(dilations) == len(places) == n and len(pads) == 2 * n
    if not fits or min((*strides, *dilations, *sizes), default=1) < 1 or automatic not in _AUTOMATIC:
        raise node.invalid("its attributes do not fit its weights and its input")
    kernel = Kernel(tuple(sizes), strides, dilations, pads[:n], pads[n:])
    if automatic == "NOTSET":
        return kernel
    totals = [0] * n
    if automatic != "VALID":
        steps = zip(places, strides, kernel.spans, strict=True)
        totals = [max(0, (-(-size // stride) - 1) * stride + span - size) for size, stride, span in steps]
    less, more = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    before, after = (less, more) if automatic != "SAME_LOWER" else (more, less)
    return Kernel(tuple(sizes), strides, dilations, before, after)


@handler("Conv")
def convolution(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Conv with weights that are known."""
    value, weight = given(node, args), _weight(node, args)
    kernel = kernel_of(node, weight.shape[2:], value.shape[2:])
    _check_kernel_shape(node, weight)
    value, kernel = _behind_history(node, value, kernel, build)
    _note_mixed_axes(node, build, kernel)
    return convolved(build, value, weight, optional(args, 2), kernel, node.integer("group", 1))


@handler("ConvTranspose")
def transposed(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """ConvTranspose with weights that are known."""
    value, weight = given(node, args), _weight(node, args)
    kernel = kernel_of(node, weight.shape[2:], value.shape[2:])
    _check_kernel_shape(node, weight)
    _note_mixed_axes(node, build, kernel)
    before, after = _cut_off(node, kernel, value.shape[2:])
    cut = replace(kernel, before=before, after=after)
    kind = operators.ConvTranspose
    return convolved(build, value, weight, optional(args, 2), cut, node.integer("group", 1), kind)


def _cut_off(node: Node, kernel: Kernel, places: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how much of the full result of a transposed convolution is cut off before and behind, along each axis."""
    n = len(kernel.sizes)
    more = node.integers("output_padding") or (0,) * n
    wanted, automatic = node.integers("output_shape"), node.text("auto_pad", "NOTSET")
    if len(more) != n or (wanted and len(wanted) not in (n, n + 2)):
        raise node.invalid("its attributes do not fit its weights")
    if not wanted and automatic in ("NOTSET", "VALID"):
        return kernel.before, tuple(after - extra for after, extra in zip(kernel.after, more, strict=True))
    if not wanted:
        wanted = tuple(size * stride for size, stride in zip(places, kernel.strides, strict=True))
    full = [
        (size - 1) * stride + span + extra
        for size, stride, span, extra in zip(places, kernel.strides, kernel.spans, more, strict=True)
    ]
    totals = [max(0, size - goal) for size, goal in zip(full, wanted[-n:], strict=True)]
    less, rest = [total // 2 for total in totals], [total - total // 2 for total in totals]
    before, after = (less, rest) if automatic == "SAME_UPPER" else (rest, less)
    return tuple(before), tuple(cut - extra for cut, extra in zip(after, more, strict=True))


def _weight(node: Node, args: Arguments) -> Array:
    value, weight = given(node, args), given(node, args, 1)
    if not is_constant(weight):
        raise node.unsupported("its weights depend on the network's inputs")
    if weight.ndim != value.ndim or not 3 <= weight.ndim <= 2 + _MOST_AXES:
        raise node.unsupported(
            f"its input has the shape {value.shape}, its weights {weight.shape}",
            "supported are convolutions over one to three axes",
        )
    return weight


def _check_kernel_shape(node: Node, weight: Array) -> None:
    if (node.integers("kernel_shape") or weight.shape[2:]) != weight.shape[2:]:
        raise node.invalid("its attributes do not fit its weights")


def _behind_history(node: Node, value: Value, kernel: Kernel, build: ProgramBuilder) -> tuple[Value, Kernel]:
    """Return what a convolution reads that pads time in front only: the timesteps before, in place of zeros."""
    time = build.time_axis(node)
    if time is None or time < 2 or kernel.after[time - 2] or not kernel.before[time - 2]:
        return value, kernel
    value = build.with_history(node, value, time, kernel.before[time - 2])
    before = tuple(0 if 2 + axis == time else size for axis, size in enumerate(kernel.before))
    return value, replace(kernel, before=before)


def _note_mixed_axes(node: Node, build: ProgramBuilder, kernel: Kernel) -> None:
    """Take note of what a convolution mixes: channels, and places where it pads or leaves some out.

    Where it does neither, as many places as it needs have come from states before.
    """
    sides = enumerate(zip(kernel.strides, kernel.before, kernel.after, strict=True))
    build.mixes(node, 0, 1, *(2 + axis for axis, side in sides if side != (1, 0, 0)))


def convolved(
    build: ProgramBuilder,
    value: Value,
    weight: Array,
    bias: Value | None,
    kernel: Kernel,
    groups: int = 1,
    kind: type[operators.Conv] | type[operators.ConvTranspose] = operators.Conv,
) -> Value:
    """Return a convolution of any batch: several images lie side by side along an axis of their own."""
    if bias is not None and not is_constant(bias):
        found = convolved(build, value, weight, None, kernel, groups, kind)
        return combine(build, "add", found, build.reshape(bias, (1, *bias.shape, *(1,) * (value.ndim - 2))))
    order = (1, 0, *range(2, value.ndim))
    beside = value.shape[0] > 1
    if beside:
        value = build.transpose(value, order)
        value, weight = build.reshape(value, (1, *value.shape)), np.expand_dims(weight, 2)
    result = build.emit(
        kind,
        value,
        *([weight] if bias is None else [weight, bias]),
        groups=groups,
        strides=(1,) * beside + kernel.strides,
        dilations=(1,) * beside + kernel.dilations,
        before=(0,) * beside + kernel.before,
        after=(0,) * beside + kernel.after,
    )
    return build.transpose(build.reshape(result, result.shape[1:]), order) if beside else result
