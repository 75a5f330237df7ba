"""What the kernels run: a model lowered to a table of operations and one buffer of packed weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.kernels.sizes import F32_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats


class PlanPort(msgspec.Struct, frozen=True):
    """A model input or output: its size, whether it is tokens, and where in scratch memory its value lies, in bytes."""

    name: str
    size: int
    tokens: bool
    offset: int
    stride: int
    single: bool
    """Behind LastStep or FirstStep: in a whole sequence there is one of it."""


class PlanState(msgspec.Struct, frozen=True):
    """Where a state lies in the state buffer: its first number, and how far apart two are along each axis, in float32.

    The axes are those that users see, in whatever order the kernels have them.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    is_ring: bool
    """Along the first axis, i is not the i-th oldest, but the timestep whose number is i modulo the axis's size."""

    @property
    def axes(self) -> tuple[tuple[int, int], ...]:
        """Sizes and strides of as few axes as have the numbers in the same order, in the same places."""
        found = [(1, 1)]
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            inner, inner_stride = found[-1]
            if inner == 1:
                found[-1] = size, stride if size > 1 else 1
            elif size > 1 and stride == inner * inner_stride:
                found[-1] = inner * size, inner_stride
            elif size > 1:
                found.append((size, stride))
        return tuple(reversed(found))

    @property
    def is_contiguous(self) -> bool:
        """Whether the numbers lie one after the other, in their order."""
        return self.axes == ((math.prod(self.shape), 1),)

    def of_streams(self, buffer: Floats) -> Floats:
        """Return a view ``(n, *shape)`` of the states of streams ``(n, state_size)``, which are contiguous."""
        if not len(buffer):  # where no offset is within
            return np.empty((0, *self.shape), np.float32)
        strides = (buffer.strides[0], *(F32_BYTES * stride for stride in self.strides))
        return np.ndarray((len(buffer), *self.shape), np.float32, buffer, F32_BYTES * self.offset, strides)


class Plan(msgspec.Struct, frozen=True):
    """A lowered model. Immutable, and shared by all its streams."""

    operations: NDArray[np.int64]
    """``(n_operations, OP_SLOTS)``: see `grurt.kernels.codes`."""
    weights: Floats
    """All packed weights, read-only, starting on a cache line."""
    initial_state: Floats
    """The state buffer before the first timestep, read-only."""
    row_size: int
    """Scratch memory for one timestep of every value, in float32."""
    inputs: tuple[PlanPort, ...]
    outputs: tuple[PlanPort, ...]
    states: Mapping[str, PlanState]
    reads_context: bool = False
    """Whether streams have to be given a context."""

    @property
    def max_steps(self) -> int:
        """How many timesteps a stream may have; 0 where there is no end."""
        limits = self.operations[self.operations[:, codes.OP_KIND] == codes.ATTENTION, codes.OP_MAX_STEPS]
        return int(limits.min()) if limits.size else 0

    @property
    def rooms(self) -> list[int]:
        """Where, in float32, there is room in scratch memory for each input as it comes, and where all of that ends.

        It lies behind the values, and like them is for ``capacity`` timesteps.
        """
        sizes = [0 if port.tokens else port.size for port in self.inputs]
        return list(accumulate(sizes, initial=self.row_size))

    @property
    def scratch_size(self) -> int:
        """Scratch memory for one timestep, in float32."""
        return self.rooms[-1]


def aligned_zeros(size: int) -> Floats:
    """Return float32 zeros ``(size,)`` that start on a cache line of 64 bytes, so that no vector crosses two."""
    buffer = np.zeros(size + 16, np.float32)
    start = -data_address(buffer) % 64 // 4
    return buffer[start : start + size]
