"""The recurrent state of one stream, or of many: what lives on from one call into the kernels to the next."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described
from grurt.kernels.fields import data_address
from grurt.lowering.plan import Plan, aligned_zeros
from grurt.runtime import arrays
from grurt.runtime.commit import Change, commit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network
    from grurt.runtime.stream_context import StreamContext


class States:
    """State buffers of ``n_slots`` streams of one plan.

    ``buffer`` is float32 ``(n_slots, state_size)``, ``steps`` int64 ``(n_slots,)``: timesteps since the last reset.
    Kernels read and write both. ``given``, int64 ``(n_slots,)``, are the addresses of the streams' contexts, which
    ``contexts`` holds; there are none of a plan that reads no context.
    """

    def __init__(self, plan: Plan, buffer: Floats, steps: NDArray[np.int64], given: NDArray[np.int64]) -> None:
        self.plan = plan
        self.buffer = buffer
        self.steps = steps
        self.given = given
        self.contexts: list[StreamContext | None] = [None] * len(given)

    @classmethod
    def new(cls, plan: Plan, n_slots: int, context: StreamContext | None = None) -> States:
        """Return the states of new streams, which are given a context, if the plan reads one."""
        size = plan.initial_state.size
        buffer = aligned_zeros(n_slots * size).reshape(n_slots, size)
        buffer[:] = plan.initial_state
        given = np.full(n_slots if plan.reads_context else 0, 0 if context is None else context.address)
        states = cls(plan, buffer, np.zeros(n_slots, np.int64), given)
        states.contexts[:] = [context] * len(given)
        return states

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
        larger.given[: len(self.given)] = self.given
        larger.contexts[: len(self.contexts)] = self.contexts
        return larger

    def context(self, slot: int) -> StreamContext | None:
        """Return the context of a stream; None if the plan reads none."""
        return self.contexts[slot] if self.contexts else None

    def give(self, slot: int, context: StreamContext | None) -> None:
        """Give a stream a context, in place of the one that it had."""
        commit(*self._giving(slot, context))

    def give_many(self, slots: slice, context: StreamContext | None) -> None:
        """Give the streams of some slots, which follow on each other, one context, if the plan reads one."""
        if context is not None:
            commit(
                (operator.setitem, self.given, slots, context.address),
                (operator.setitem, self.contexts, slots, [context] * len(self.contexts[slots])),
            )

    def _giving(self, slot: int, context: StreamContext | None) -> list[Change]:
        address = 0 if context is None else context.address
        return [
            (operator.setitem, self.given, slot, address),
            (operator.setitem, self.contexts, slot, context),
        ]

    @cached_property
    def _views(self) -> dict[str, Floats]:
        """The states of all streams by name, ``(n_slots, *shape)``, where the kernels have them."""
        return {name: place.of_streams(self.buffer) for name, place in self.plan.states.items()}

    def read(self, slot: int, name: str) -> Floats:
        """Return a copy of a state, in its own shape; of one that moves in time, with the oldest first."""
        state = self._views[name][slot, ...]
        if self.plan.states[name].is_ring:
            return np.roll(state, -int(self.steps[slot]), axis=0)
        return state.copy()

    def read_all(self, slot: int) -> dict[str, Floats]:
        """Return copies of all states by name."""
        return {name: self.read(slot, name) for name in self.plan.states}

    def read_whole(self, slot: int) -> tuple[int, dict[str, Floats]]:
        """Return the number of timesteps, and copies of all states."""
        return int(self.steps[slot]), self.read_all(slot)

    def read_with_context(self, slot: int) -> tuple[int, dict[str, Floats], StreamContext | None]:
        """Return what `read_whole` does, and the context."""
        return *self.read_whole(slot), self.context(slot)

    def write_all(
        self, slot: int, steps: int | None, values: Mapping[str, Floats], context: StreamContext | None = None
    ) -> None:
        """Replace the states that the mapping names, and the number of timesteps and context that are not None.

        All of them are replaced, or none is.
        """
        changes: list[Change] = []
        for name, value in values.items():
            if self.plan.states[name].is_ring:
                value = np.roll(value, int(self.steps[slot]) if steps is None else steps, axis=0)
            changes.append((operator.setitem, self._views[name], slot, value))
        if steps is not None:
            changes.append((operator.setitem, self.steps, slot, steps))
        if context is not None:
            changes += self._giving(slot, context)
        commit(*changes)

    def read_many(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[str, Floats]]:
        """Return what `read_whole` does, of many streams: steps ``(n,)``, and states ``(n, *shape)``."""
        steps = self.steps[slots]
        states = {name: np.ascontiguousarray(view[slots]) for name, view in self._views.items()}
        for name, place in self.plan.states.items():
            if place.is_ring:
                states[name] = _rolled(states[name], -steps)
        return steps, states

    def write_many(self, slots: NDArray[np.int64], steps: NDArray[np.int64], states: Mapping[str, Floats]) -> None:
        """Replace the steps and the whole states of many streams, as `read_many` gives them, all at once."""
        changes: list[Change] = []
        for name, state in states.items():
            rows = _rolled(state, steps) if self.plan.states[name].is_ring else state
            changes.append((operator.setitem, self._views[name], slots, rows))
        commit(*changes, (operator.setitem, self.steps, slots, steps))

    def copy(self, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Let the streams ``targets`` take on the states that ``sources`` have now, all at once."""
        changes: list[Change] = [
            (operator.setitem, self.buffer, targets, self.buffer[sources]),
            (operator.setitem, self.steps, targets, self.steps[sources]),
        ]
        if self.plan.reads_context:
            given = [self.contexts[slot] for slot in sources.tolist()]
            changes += [(operator.setitem, self.given, targets, self.given[sources])]
            changes += [
                (operator.setitem, self.contexts, slot, context)
                for slot, context in zip(targets.tolist(), given, strict=True)
            ]
        commit(*changes)

    def address(self, slot: int) -> int:
        """Return where a stream's state is."""
        return data_address(self.buffer) + slot * self.plan.initial_state.nbytes


def _rolled(rings: Floats, shifts: NDArray[np.int64]) -> Floats:
    """Return each of some rings ``(n, rows, ...)`` rolled by a number of its own, as ``np.roll`` does with one."""
    rows = rings.shape[1]
    places = (np.arange(rows) - shifts[:, np.newaxis]) % rows
    rolled: Floats = rings[np.arange(len(rings))[:, np.newaxis], places]
    return rolled


def check_states(where: str, network: Network, states: Mapping[str, ArrayLike], nonfinite: str) -> dict[str, Floats]:
    """Return copies of a user's states as float32; raise unless each has its layer's name and shape, and is finite.

    A state that computing takes beyond float32 by itself may be infinite or NaN, and any where that propagates.
    """
    if not isinstance(states, Mapping):
        raise InputTypeError(f"{where}: expected a mapping by name, got {type(states).__name__}")
    shapes = network.state_shapes
    checked = {}
    for name, value in dict(states).items():
        array = arrays.float32_copy(value)
        if array is None or array.shape != shapes.get(name) or not arrays.are_finite(array):
            array = _checked_state(f"{where}: {described(name)}", network, name, value, nonfinite)
        checked[name] = array
    return checked


def _checked_state(where: str, network: Network, name: str, value: ArrayLike, nonfinite: str) -> Floats:
    shapes = network.state_shapes
    if name not in shapes:
        raise InputShapeError(f"{where}: expected one of the states {list(shapes)}")
    state = arrays.features(where, value)
    arrays.expect_shape(where, state, shapes[name])
    expect_finite_state(where, network, name, state, nonfinite)
    return state


def expect_finite_state(where: str, network: Network, name: str, state: Array, nonfinite: str) -> None:
    """Raise InputValueError if a layer's state holds a NaN or an infinity that it cannot have come to by itself."""
    if nonfinite == "refuse" and not arrays.are_finite(state) and name not in network.unbounded_states:
        raise InputValueError(f"{where}: expected finite numbers, got a NaN or an infinity")
