"""Operators that multiply matrices: convolutions, and products of two values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from grurt.lanes import LANES
from grurt.network.operators.base import Operator, Shape, broadcast
from grurt.network.vectors import F32_BYTES, padded, record_bytes

__all__ = ["Conv", "ConvTranspose", "MatMul"]


OUTPUT_NUMBERS = 3
"""What is packed for an output beside its weights: a bias, and of integers a scale and a correction."""


class Convolution(Operator, frozen=True, kw_only=True):
    """Base class of the convolutions of ``(1, channels, *sizes)`` with constant weights.

    Inputs are x, the weight and, unless there is none, the bias ``(out_channels,)``.
    """

    n_inputs: ClassVar[tuple[int, int]] = (2, 3)
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    outputs_axis: ClassVar[int]
    """The axis of the weight along which the outputs are."""

    groups: int = 1
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def n_steps(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        together = max(1, LANES // (out[1] // self.groups))
        return 2 * len(out) + 2 + 3 * -(-self.groups // together) * self._phases

    def is_depthwise(self, x: Shape, out: Shape) -> bool:
        """Whether every channel has a group and an output of its own."""
        return self.groups == x[1] == out[1] > 1

    def matrices(self, *inputs: Shape) -> Mapping[int, tuple[int, ...]]:
        (out,) = self.shapes(*inputs)
        others = tuple(axis for axis in range(len(inputs[1])) if axis != self.outputs_axis)
        return {} if self.is_depthwise(inputs[0], out) else {1: others}

    def packed_numbers(self, *inputs: Shape) -> int:
        # Groups that share vectors have weights of 0 for each other's inputs.
        (out,) = self.shapes(*inputs)
        taps = math.prod(inputs[1][2:])
        weights = LANES * padded(out[1]) * (OUTPUT_NUMBERS + inputs[0][1] // self.groups * taps)
        if self.groups == 1:
            weights = padded(out[1]) * (OUTPUT_NUMBERS * self._phases + inputs[0][1] * taps)
        tables = 10 * self.groups * math.prod(out[2:]) + 4 * inputs[0][1] * taps * self.groups
        return weights + tables + 5 * (math.prod(out) + math.prod(inputs[0]) + self._reached(*inputs))

    @property
    def _phases(self) -> int:
        """How many kinds of place there are in the output, each with weights of its own."""
        return 1

    def _reached(self, *inputs: Shape) -> int:
        """How many numbers it reads from, with the padding, at most."""
        taps = self._taps(inputs[1])
        sizes = zip(inputs[0][2:], self.before, self.after, taps, strict=True)
        return inputs[0][1] * math.prod(n + abs(b) + abs(a) + 2 * t for n, b, a, t in sizes)

    def record_numbers(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        together = min(self.groups, max(1, LANES * self.groups // out[1]))  # groups that share a vector of outputs
        features = together * inputs[0][1] // self.groups * math.prod(inputs[1][2:])
        rows = math.prod(out[2:]) * (record_bytes(features) // F32_BYTES)
        return -(-self.groups // together) * (rows + self._phases * padded(features))

    def scratch_numbers(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        return 2 * padded(math.prod(out)) + padded(math.prod(inputs[0])) + 2 * padded(self._reached(*inputs))

    def _check(self, x: Shape, weight: Shape, out_channels: int, bias: Shape | None) -> None:
        axes = len(x) - 2
        if axes < 1 or x[0] != 1 or len(weight) != len(x):
            raise self.misfit(f"expected a value (1, channels, sizes) and a weight of as many axes, got {x}, {weight}")
        numbers = self.strides, self.dilations, self.before, self.after
        if any(len(each) != axes for each in numbers) or min(self.strides + self.dilations) < 1 or min(self.before) < 0:
            raise self.misfit(f"expected strides and dilations from 1 and padding from 0 for each of {axes} axes")
        if self.groups < 1 or x[1] % self.groups or out_channels % self.groups:
            raise self.misfit(f"{x[1]} and {out_channels} channels do not fall into {self.groups} groups")
        if bias is not None and bias != (out_channels,):
            raise self.misfit(f"expected a bias of shape ({out_channels},), got {bias}")

    def _taps(self, weight: Shape) -> list[int]:
        """Return how many places the weight reaches over along each axis."""
        return [(size - 1) * dilation + 1 for size, dilation in zip(weight[2:], self.dilations, strict=True)]


class Conv(Convolution, frozen=True, kw_only=True):
    """A convolution: the weight is ``(out_channels, in_channels / groups, *kernel)`` (ONNX ``Conv``)."""

    outputs_axis: ClassVar[int] = 0

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        x, weight, *bias = inputs
        self._check(x, weight, weight[0] if weight else 0, bias[0] if bias else None)
        if weight[1] != x[1] // self.groups:
            raise self.misfit(f"expected a weight of {x[1] // self.groups} input channels, got {weight[1]}")
        if min(self.after) < 0:
            raise self.misfit(f"expected padding from 0, got {self.after}")
        sizes = [
            (before + size + after - taps) // stride + 1
            for before, size, after, taps, stride in zip(
                self.before, x[2:], self.after, self._taps(weight), self.strides, strict=True
            )
        ]
        return ((1, weight[0], *sizes),)

    def multiply_adds(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        return math.prod(out) * math.prod(inputs[1][1:])


class ConvTranspose(Convolution, frozen=True, kw_only=True):
    """A transposed convolution (ONNX ``ConvTranspose``); weight ``(in_channels, out_channels / groups, *kernel)``.

    ``before`` and ``after`` are cut off from the full result; ``after`` may be negative, for rows of nothing but the
    bias behind it (ONNX ``output_padding``).
    """

    outputs_axis: ClassVar[int] = 1

    @property
    def _phases(self) -> int:
        return math.prod(self.strides)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        x, weight, *bias = inputs
        out_channels = weight[1] * self.groups if len(weight) > 1 else 0
        self._check(x, weight, out_channels, bias[0] if bias else None)
        if weight[0] != x[1]:
            raise self.misfit(f"expected a weight of {x[1]} input channels, got {weight[0]}")
        sizes = [
            (size - 1) * stride + taps - before - after
            for before, size, after, taps, stride in zip(
                self.before, x[2:], self.after, self._taps(weight), self.strides, strict=True
            )
        ]
        return ((1, out_channels, *sizes),)

    def multiply_adds(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])


class MatMul(Operator, frozen=True, kw_only=True):
    """The matrix product of the last two axes, broadcast over those before (ONNX ``MatMul``, ``Gemm``, ``Einsum``).

    Both have two axes at least. Either may be a constant, or both values, as in attention. A third input is a constant
    ``(columns,)`` that is added to each row.
    """

    n_inputs: ClassVar[tuple[int, int]] = (2, 3)
    constants: ClassVar[tuple[int, ...]] = (2,)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        a, b, *bias = inputs
        if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
            raise self.misfit(f"matrices of shapes {a} and {b} cannot be multiplied")
        if bias and bias[0] != b[-1:]:
            raise self.misfit(f"expected a bias of shape {b[-1:]}, got {bias[0]}")
        return ((*broadcast(self, a[:-2], b[:-2]), a[-2], b[-1]) if a[:-2] or b[:-2] else (a[-2], b[-1]),)

    def multiply_adds(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        return math.prod(out) * inputs[0][-1]

    def matrices(self, *inputs: Shape) -> Mapping[int, tuple[int, ...]]:
        return {0: (len(inputs[0]) - 1,), 1: (len(inputs[1]) - 2,)}

    def record_numbers(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        rows = math.prod(out[:-2]) * max(out[-2:])
        return rows * (record_bytes(inputs[0][-1]) // F32_BYTES) + padded(inputs[0][-1])

    def n_steps(self, *inputs: Shape) -> int:
        return 4 + 3 * max(math.prod(shape[:-2]) for shape in inputs[:2])

    def packed_numbers(self, *inputs: Shape) -> int:
        several = [(math.prod(shape[:-2]), shape[-2], shape[-1]) for shape in inputs[:2]]
        weights = max(count * (OUTPUT_NUMBERS + rows) * padded(columns) for count, rows, columns in several)
        swapped = max(count * (OUTPUT_NUMBERS + columns) * padded(rows) for count, rows, columns in several)
        (out,) = self.shapes(*inputs)
        return weights + swapped + 5 * math.prod(out) + 2 * sum(map(math.prod, inputs))

    def scratch_numbers(self, *inputs: Shape) -> int:
        return 2 * super().scratch_numbers(*inputs) + sum(padded(math.prod(shape)) for shape in inputs)
