"""The memory that one run of a plan works in, and the call into the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.errors import InputValueError
from grurt.kernels import codes, entry
from grurt.kernels.compiled import entry_point
from grurt.plan import Plan, PlanState, aligned_zeros

BLOCK_FLOATS = 1 << 15
"""Scratch memory of a block of timesteps, in float32: half of a level-2 cache of 256 KiB."""


class Context:
    """State, scratch memory and table of addresses of one run: owned by one stream, or by one call of `Model.run`.

    Parameters
    ----------
    plan
        What is run.
    whole_sequence
        Whether values behind LastStep and FirstStep are wanted once, at the end, or at every timestep.
    refuse_nonfinite
        Whether a NaN or infinity in an input is refused.
    """

    def __init__(self, plan: Plan, *, whole_sequence: bool, refuse_nonfinite: bool) -> None:
        self.plan = plan
        self.advance = entry_point()
        self.state = aligned_zeros(plan.initial_state.size)
        self.array = np.zeros(codes.CONTEXT_PORTS + codes.PORT_SLOTS * (len(plan.inputs) + len(plan.outputs)), np.int64)
        self.array[codes.CONTEXT_OPS] = plan.operations.ctypes.data
        self.array[codes.CONTEXT_N_OPS] = len(plan.operations)
        self.array[codes.CONTEXT_WEIGHTS] = plan.weights.ctypes.data
        self.array[codes.CONTEXT_STATE] = self.state.ctypes.data
        self.array[codes.CONTEXT_WHOLE_SEQUENCE] = whole_sequence
        self.array[codes.CONTEXT_REFUSE_NONFINITE] = refuse_nonfinite
        self.array[codes.CONTEXT_N_INPUTS] = len(plan.inputs)
        self.array[codes.CONTEXT_N_OUTPUTS] = len(plan.outputs)
        self.array[codes.CONTEXT_BY_ADDRESS] = id(entry.BY_ADDRESS)
        if len(plan.inputs) == len(plan.outputs) == 1 and not plan.inputs[0].tokens and entry.array_layout_is_known():
            self.array[codes.CONTEXT_ARRAY_TYPE] = entry.ARRAY_TYPE_ADDRESS
            self.array[codes.CONTEXT_FLOAT32] = entry.FLOAT32_ADDRESS
        for index, port in enumerate(plan.inputs + plan.outputs):
            slots = self._port_slots(index)
            slots[codes.PORT_SIZE] = port.size
            slots[codes.PORT_IS_TOKENS] = port.tokens
            slots[codes.PORT_VALUE] = port.offset
            slots[codes.PORT_STRIDE] = port.stride
            slots[codes.PORT_SINGLE] = port.single
        self.reset()
        self.reserve(1)

    def _port_slots(self, index: int) -> NDArray[np.int64]:
        start = codes.CONTEXT_PORTS + codes.PORT_SLOTS * index
        return self.array[start : start + codes.PORT_SLOTS]

    @property
    def steps_done(self) -> int:
        """Timesteps since the last reset."""
        return int(self.array[codes.CONTEXT_STEPS_DONE])

    @steps_done.setter
    def steps_done(self, steps: int) -> None:
        self.array[codes.CONTEXT_STEPS_DONE] = steps

    def reset(self) -> None:
        """Go back to the plan's initial state."""
        self.state[:] = self.plan.initial_state
        self.steps_done = 0

    def reserve(self, rows: int) -> None:
        """Make room in scratch memory for blocks of at least ``rows`` timesteps."""
        if rows > self.array[codes.CONTEXT_CAPACITY]:
            self._scratch = aligned_zeros(rows * self.plan.row_size)
            self.array[codes.CONTEXT_SCRATCH] = self._scratch.ctypes.data
            self.array[codes.CONTEXT_CAPACITY] = rows

    def reserve_block(self, n_steps: int) -> None:
        """Make room for a run of ``n_steps`` timesteps, in blocks whose scratch memory stays in the cache."""
        rows = max(4, min(64, BLOCK_FLOATS // max(1, self.plan.row_size)))
        self.reserve(min(n_steps, rows))

    def run(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[np.float32]], n_steps: int) -> None:
        """Run ``n_steps`` timesteps from contiguous arrays in the plan's order of ports, into such arrays."""
        for index, array in enumerate([*inputs, *outputs]):
            self._port_slots(index)[codes.PORT_ADDRESS] = array.ctypes.data
        self.array[codes.CONTEXT_N_STEPS] = n_steps
        status = self.advance(self.array, entry.BY_ADDRESS, entry.BY_ADDRESS)
        if status != codes.OK:
            port = self.array[codes.CONTEXT_FAULT_PORT]
            self.raise_fault(status, inputs[port])

    def raise_fault(self, status: int, array: NDArray[Any]) -> None:
        """Raise the exception for a status of the kernel, which found a fault in one of the inputs."""
        port = self.plan.inputs[self.array[codes.CONTEXT_FAULT_PORT]]
        index = int(self.array[codes.CONTEXT_FAULT_INDEX])
        place = ", ".join(str(int(i)) for i in np.unravel_index(index, array.shape))
        where = f"input {port.name!r}" + (f" at [{place}]" if place else "")
        found = array.reshape(-1)[index]
        if status == codes.TOKEN_OUT_OF_RANGE:
            raise InputValueError(f"{where}: expected a token id in [0, {port.size}), got {found}")
        raise InputValueError(
            f"{where}: expected finite numbers, got {found}; "
            f'clean the input, or ask for nonfinite="propagate" to compute with it'
        )

    def read_state(self, name: str) -> NDArray[np.float32]:
        """Return a copy of a layer's state, ``(size,)``, or ``(rows, size)`` with the oldest first."""
        place = self.plan.states[name]
        rows = self._state_rows(place)
        return np.roll(rows, -self.steps_done, axis=0) if place.is_ring else rows[0].copy()

    def write_state(self, name: str, value: NDArray[np.float32]) -> None:
        """Replace a layer's state: the counterpart of `read_state`."""
        place = self.plan.states[name]
        self._state_rows(place)[...] = np.roll(value, self.steps_done, axis=0) if place.is_ring else value

    def _state_rows(self, place: PlanState) -> NDArray[np.float32]:
        buffer = self.state[place.offset : place.offset + place.rows * place.stride]
        return buffer.reshape(place.rows, place.stride)[:, : place.size]
