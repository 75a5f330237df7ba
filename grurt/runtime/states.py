"""The recurrent state of one stream, or of many: what lives on from one call into the kernels to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.lowering.plan import Plan, aligned_zeros
from grurt.runtime import arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Floats


class States:
    """State buffers of ``n_slots`` streams of one plan, each at the plan's initial state at first.

    ``buffer`` is float32 ``(n_slots, state_size)``, ``steps`` int64 ``(n_slots,)``: timesteps since the last reset.
    Kernels read and write both.
    """

    def __init__(self, plan: Plan, n_slots: int) -> None:
        self.plan = plan
        size = plan.initial_state.size
        self.buffer = aligned_zeros(n_slots * size).reshape(n_slots, size)
        self.buffer[:] = plan.initial_state
        self.steps = np.zeros(n_slots, np.int64)

    def reset(self, slot: int) -> None:
        """Go back to the plan's initial state."""
        self.buffer[slot] = self.plan.initial_state
        self.steps[slot] = 0

    def grown(self, n_slots: int) -> States:
        """Return a copy with room for more streams; their numbers do not change."""
        larger = States(self.plan, n_slots)
        larger.buffer[: len(self.buffer)] = self.buffer
        larger.steps[: len(self.steps)] = self.steps
        return larger

    def read(self, slot: int, name: str) -> Floats:
        """Return a copy of a layer's state: ``(size,)``, or ``(rows, size)`` by position, or with the oldest first."""
        place = self.plan.states[name]
        rows = self._rows(slot, name)
        if place.is_ring:
            return np.roll(rows, -int(self.steps[slot]), axis=0)
        return rows.copy() if place.rows > 1 else rows[0].copy()

    def write(self, slot: int, name: str, value: Floats) -> None:
        """Replace a layer's state: the counterpart of `read`."""
        place = self.plan.states[name]
        self._rows(slot, name)[...] = np.roll(value, int(self.steps[slot]), axis=0) if place.is_ring else value

    def read_all(self, slot: int) -> dict[str, Floats]:
        """Return copies of the states of all layers."""
        return {name: self.read(slot, name) for name in self.plan.states}

    def read_whole(self, slot: int) -> tuple[int, dict[str, Floats]]:
        """Return the number of timesteps, and copies of the states of all layers."""
        return int(self.steps[slot]), self.read_all(slot)

    def write_all(self, slot: int, steps: int | None, values: Mapping[str, Floats]) -> None:
        """Replace the number of timesteps, unless it is None, and the states that the mapping names."""
        if steps is not None:
            self.steps[slot] = steps
        for name, value in values.items():
            self.write(slot, name, value)

    def copy_from(self, other: States) -> None:
        """Take on the states of as many streams of the same plan."""
        self.buffer[:] = other.buffer
        self.steps[:] = other.steps

    def _rows(self, slot: int, name: str) -> Floats:
        place = self.plan.states[name]
        part = self.buffer[slot, place.offset : place.offset + place.rows * place.stride]
        return part.reshape(place.rows, place.stride)[:, : place.size]


def check_states(
    where: str, shapes: Mapping[str, tuple[int, ...]], states: Mapping[str, ArrayLike], *, refuse_nonfinite: bool
) -> dict[str, Floats]:
    """Return a user's states as float32; raise unless each has its layer's name and shape."""
    if not isinstance(states, Mapping):
        raise InputTypeError(f"{where}: expected a mapping by layer name, got {type(states).__name__}")
    checked = {}
    for name, value in states.items():
        here = f"{where}: {name!r}"
        if name not in shapes:
            raise InputShapeError(f"{here}: expected one of the states {list(shapes)}")
        checked[name] = arrays.features(here, value)
        arrays.expect_shape(here, checked[name], shapes[name])
        if refuse_nonfinite and not np.isfinite(checked[name]).all():
            raise InputValueError(f"{here}: expected finite numbers, got a NaN or an infinity")
    return checked
