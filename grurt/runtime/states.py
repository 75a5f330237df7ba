"""The recurrent state of one stream, or of many: what lives on from one call into the kernels to the next."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described
from grurt.lowering.plan import Plan, aligned_zeros
from grurt.runtime import arrays
from grurt.runtime.commit import commit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network


class States:
    """State buffers of ``n_slots`` streams of one plan.

    ``buffer`` is float32 ``(n_slots, state_size)``, ``steps`` int64 ``(n_slots,)``: timesteps since the last reset.
    Kernels read and write both.
    """

    def __init__(self, plan: Plan, buffer: Floats, steps: NDArray[np.int64]) -> None:
        self.plan = plan
        self.buffer = buffer
        self.steps = steps

    @classmethod
    def new(cls, plan: Plan, n_slots: int) -> States:
        """Return the states of new streams."""
        size = plan.initial_state.size
        buffer = aligned_zeros(n_slots * size).reshape(n_slots, size)
        buffer[:] = plan.initial_state
        return cls(plan, buffer, np.zeros(n_slots, np.int64))

    def reset(self, slot: int) -> None:
        """Go back to the plan's initial state."""
        self._replace(slot, 0, self.plan.initial_state)

    def _replace(self, slot: int, steps: int, state: Floats) -> None:
        commit((operator.setitem, self.buffer, slot, state), (operator.setitem, self.steps, slot, steps))

    def grown(self, n_slots: int) -> States:
        """Return a copy with room for more streams; their numbers do not change."""
        larger = States.new(self.plan, n_slots)
        larger.buffer[: len(self.buffer)] = self.buffer
        larger.steps[: len(self.steps)] = self.steps
        return larger

    def read(self, slot: int, name: str) -> Floats:
        """Return a copy of a layer's state: ``(size,)``, or ``(rows, size)`` by position, or with the oldest first."""
        place = self.plan.states[name]
        rows = self._rows(self.buffer[slot], name)
        if place.is_ring:
            return np.roll(rows, -int(self.steps[slot]), axis=0)
        return rows.copy() if place.rows > 1 else rows[0].copy()

    def read_all(self, slot: int) -> dict[str, Floats]:
        """Return copies of the states of all layers."""
        return {name: self.read(slot, name) for name in self.plan.states}

    def read_whole(self, slot: int) -> tuple[int, dict[str, Floats]]:
        """Return the number of timesteps, and copies of the states of all layers."""
        return int(self.steps[slot]), self.read_all(slot)

    def write_all(self, slot: int, steps: int | None, values: Mapping[str, Floats]) -> None:
        """Replace the number of timesteps, unless it is None, and the states that the mapping names: all, or none."""
        steps = int(self.steps[slot]) if steps is None else steps
        state = self.buffer[slot].copy()
        for name, value in values.items():
            self._rows(state, name)[...] = np.roll(value, steps, axis=0) if self.plan.states[name].is_ring else value
        self._replace(slot, steps, state)

    def copy(self, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Let the streams ``targets`` take on the states that ``sources`` have now, all at once."""
        commit(
            (operator.setitem, self.buffer, targets, self.buffer[sources]),
            (operator.setitem, self.steps, targets, self.steps[sources]),
        )

    def rows_of(self, slot: int, name: str) -> Floats:
        """Return a layer's state as a view: ``(rows, size)``, of a ring in no order of time."""
        return self._rows(self.buffer[slot], name)

    def _rows(self, state: Floats, name: str) -> Floats:
        """Return the part of a stream's state that is a layer's, as rows."""
        place = self.plan.states[name]
        part = state[place.offset : place.offset + place.rows * place.stride]
        return part.reshape(place.rows, place.stride)[:, : place.size]


def check_states(where: str, network: Network, states: Mapping[str, ArrayLike], nonfinite: str) -> dict[str, Floats]:
    """Return copies of a user's states as float32; raise unless each has its layer's name and shape, and is finite.

    A state that computing takes beyond float32 by itself may be infinite or NaN, and any where that propagates.
    """
    if not isinstance(states, Mapping):
        raise InputTypeError(f"{where}: expected a mapping by layer name, got {type(states).__name__}")
    shapes = network.state_shapes
    checked = {}
    for name, value in dict(states).items():
        here = f"{where}: {described(name)}"
        if name not in shapes:
            raise InputShapeError(f"{here}: expected one of the states {list(shapes)}")
        checked[name] = arrays.features(here, value)
        arrays.expect_shape(here, checked[name], shapes[name])
        expect_finite_state(here, network, name, checked[name], nonfinite)
    return checked


def expect_finite_state(where: str, network: Network, name: str, state: Array, nonfinite: str) -> None:
    """Raise InputValueError if a layer's state holds a NaN or an infinity that it cannot have come to by itself."""
    if nonfinite == "refuse" and not np.isfinite(state).all() and name not in network.unbounded_states:
        raise InputValueError(f"{where}: expected finite numbers, got a NaN or an infinity")
