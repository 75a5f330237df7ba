"""Operators that look at many numbers for each that they write."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from grurt.network.operators.base import Operator, Shape
from grurt.network.vectors import padded

__all__ = ["Normalize", "Reduce", "Softmax"]


class RowWise(Operator, frozen=True, kw_only=True):
    """Base class of the operators on rows, which the engine pads to whole vectors."""

    def n_steps(self, *inputs: Shape) -> int:
        return 2

    def packed_numbers(self, *inputs: Shape) -> int:
        return 2 * (math.prod(inputs[0]) + padded(self._row(inputs[0])))

    def scratch_numbers(self, *inputs: Shape) -> int:
        row = self._row(inputs[0])
        return 2 * math.prod(inputs[0]) // row * padded(row)

    def _row(self, shape: Shape) -> int:
        """How many numbers a row has."""
        raise NotImplementedError


class Reduce(Operator, frozen=True, kw_only=True):
    """One number of all along some axes, which stay with size 1 (ONNX ``ReduceSum``, ``ReduceMean`` ...).

    ``l2`` is ``sqrt(sum(x * x))``, ``sum_square`` the same without the root.
    """

    axes: tuple[int, ...]
    operation: Literal["sum", "mean", "max", "min", "l1", "l2", "sum_square"]

    def n_steps(self, *inputs: Shape) -> int:
        return 3

    def packed_numbers(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        return 6 * math.prod(out) + math.prod(inputs[0])

    def scratch_numbers(self, *inputs: Shape) -> int:
        return 2 * super().scratch_numbers(*inputs)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        axes = {self.checked_axis(axis, inputs[0]) for axis in self.axes}
        if len(axes) != len(self.axes) or not axes:
            raise self.misfit(f"expected axes, each once, got {self.axes}")
        return (tuple(1 if axis in axes else size for axis, size in enumerate(inputs[0])),)


class Softmax(RowWise, frozen=True, kw_only=True):
    """``exp(x_i) / sum_j exp(x_j)`` along an axis; its logarithm if ``log`` (ONNX ``Softmax``, ``LogSoftmax``)."""

    axis: int
    log: bool = False

    def _row(self, shape: Shape) -> int:
        return shape[self.axis]

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        self.checked_axis(self.axis, inputs[0])
        return (inputs[0],)


class Normalize(RowWise, frozen=True, kw_only=True):
    """``(x - mean) / sqrt(variance + epsilon)`` over some axes (the core of ONNX ``LayerNormalization``).

    With ``centered=False``, ``x / sqrt(mean(x * x) + epsilon)`` (``RMSNormalization``).
    """

    axes: tuple[int, ...]
    epsilon: float = 1e-5
    centered: bool = True

    def _row(self, shape: Shape) -> int:
        return math.prod(shape[axis] for axis in self.axes)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        axes = {self.checked_axis(axis, inputs[0]) for axis in self.axes}
        if len(axes) != len(self.axes) or not axes or np.float32(self.epsilon) <= 0:
            raise self.misfit(f"expected axes, each once, and a positive epsilon, got {self.axes} and {self.epsilon}")
        return (inputs[0],)
