"""What the kernels run: a model lowered to a table of operations and one buffer of packed weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.kernels.fields import data_address

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
    """Where a layer's state lies in the state buffer: ``rows`` vectors of ``size`` float32, ``stride`` apart."""

    offset: int
    rows: int
    size: int
    stride: int
    is_ring: bool
    """Row i is not the i-th oldest, but the timestep whose number is i modulo ``rows``."""


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
