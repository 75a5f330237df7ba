"""The memory that one run of a plan works in, and the call into the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from grurt.errors import ConcurrentUseError, InputValueError, StreamingError
from grurt.kernels import codes, entry
from grurt.kernels.compiled import entry_point
from grurt.plan import Plan, aligned_zeros
from grurt.states import States

if TYPE_CHECKING:
    from grurt.model import Model

BLOCK_FLOATS = 1 << 18
"""Scratch memory of a block of rows, in float32: 1 MiB, about half of today's level-2 caches."""
MAX_BLOCK_ROWS = 64
"""Rows of a block: enough that reading the weights once for all of them costs little."""

_BUSY = (
    "another thread is using this stream or pool: expected one thread at a time; give each thread a stream of its own"
)


def refuses(nonfinite: str) -> bool:
    """Return whether NaN and infinity are refused; raise InputValueError unless it is said in one of the two words."""
    if nonfinite not in ("refuse", "propagate"):
        raise InputValueError(f'nonfinite: expected "refuse" or "propagate", got {nonfinite!r}')
    return nonfinite == "refuse"


def streaming_context(model: Model, states: States, nonfinite: str) -> Context:
    """Return a context that gives an answer at every timestep; raise StreamingError if the model cannot."""
    if reason := model.unstreamable_reason:
        raise StreamingError(f"the model cannot stream: {reason}; use Model.run on whole sequences")
    return Context(model.plan, states, whole_sequence=False, refuse_nonfinite=refuses(nonfinite))


class Context:
    """Scratch memory and table of addresses: what one thread at a time needs to run a plan.

    Parameters
    ----------
    plan
        What is run.
    states
        The states that are advanced.
    whole_sequence
        Whether values behind LastStep and FirstStep are wanted once, at the end, or at every timestep.
    refuse_nonfinite
        Whether a NaN or infinity in an input is refused.
    """

    def __init__(self, plan: Plan, states: States, *, whole_sequence: bool, refuse_nonfinite: bool) -> None:
        self.plan = plan
        self.advance = entry_point()
        self.array = np.zeros(codes.CONTEXT_PORTS + codes.PORT_SLOTS * (len(plan.inputs) + len(plan.outputs)), np.int64)
        self.array[codes.CONTEXT_OPS] = plan.operations.ctypes.data
        self.array[codes.CONTEXT_N_OPS] = len(plan.operations)
        self.array[codes.CONTEXT_WEIGHTS] = plan.weights.ctypes.data
        self.array[codes.CONTEXT_STATE_SIZE] = plan.initial_state.size
        self.array[codes.CONTEXT_WHOLE_SEQUENCE] = whole_sequence
        self.array[codes.CONTEXT_REFUSE_NONFINITE] = refuse_nonfinite
        self.array[codes.CONTEXT_N_INPUTS] = len(plan.inputs)
        self.array[codes.CONTEXT_N_OUTPUTS] = len(plan.outputs)
        self.array[codes.CONTEXT_BY_ADDRESS] = id(entry.BY_ADDRESS)
        if plan.is_plain and entry.array_layout_is_known():
            self.array[codes.CONTEXT_ARRAY_TYPE] = entry.ARRAY_TYPE_ADDRESS
            self.array[codes.CONTEXT_FLOAT32] = entry.FLOAT32_ADDRESS
            self.array[codes.CONTEXT_INT64] = entry.INT64_ADDRESS
        for index, port in enumerate(plan.inputs + plan.outputs):
            slots = self._port_slots(index)
            slots[codes.PORT_SIZE] = port.size
            slots[codes.PORT_IS_TOKENS] = port.tokens
            slots[codes.PORT_VALUE] = port.offset
            slots[codes.PORT_STRIDE] = port.stride
            slots[codes.PORT_SINGLE] = port.single
        self.use_states(states)
        self.reserve(1)

    def _port_slots(self, index: int) -> NDArray[np.int64]:
        start = codes.CONTEXT_PORTS + codes.PORT_SLOTS * index
        return self.array[start : start + codes.PORT_SLOTS]

    def use_states(self, states: States) -> None:
        """Advance these states from now on."""
        self._states = (states.buffer, states.steps)  # what there are addresses of must stay alive
        self.array[codes.CONTEXT_STATES] = states.buffer.ctypes.data
        self.array[codes.CONTEXT_STEPS_DONE] = states.steps.ctypes.data

    def reserve(self, rows: int) -> None:
        """Make room in scratch memory for blocks of at least ``rows`` timesteps."""
        self.expect_idle()
        if rows > self.array[codes.CONTEXT_CAPACITY]:
            scratch = aligned_zeros(rows * self.plan.row_size)
            self.array[codes.CONTEXT_SCRATCH] = scratch.ctypes.data
            self.array[codes.CONTEXT_CAPACITY] = rows
            self._scratch = scratch

    def reserve_block(self, n_steps: int) -> None:
        """Make room for a run of ``n_steps`` timesteps, in blocks whose scratch memory stays in the cache."""
        self.reserve(min(n_steps, self._block_rows()))

    def _block_rows(self) -> int:
        return int(max(4, min(MAX_BLOCK_ROWS, BLOCK_FLOATS // max(1, self.plan.row_size)))) // 4 * 4

    def run(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[np.float32]], n_steps: int) -> None:
        """Run ``n_steps`` timesteps of stream 0, from and to contiguous arrays in the plan's order of ports."""
        self.bind([array.ctypes.data for array in (*inputs, *outputs)], n_steps)
        status = self.call()
        if status != codes.OK:
            self.raise_fault(status, inputs)

    def bind(self, addresses: Sequence[int], n_steps: int) -> None:
        """Set the memory of inputs and outputs, in the plan's order, and the number of timesteps of the next call."""
        self.expect_idle()
        for index, address in enumerate(addresses):
            self.array[codes.CONTEXT_PORTS + codes.PORT_SLOTS * index + codes.PORT_ADDRESS] = address
        self.array[codes.CONTEXT_N_STEPS] = n_steps

    def bound(self) -> tuple[list[int], int, int, int]:
        """Return the memory of inputs and outputs, that of the streams, their number, and that of timesteps."""
        ports = self.array[codes.CONTEXT_PORTS + codes.PORT_ADDRESS :: codes.PORT_SLOTS].tolist()
        slots = (codes.CONTEXT_STREAMS, codes.CONTEXT_N_STREAMS, codes.CONTEXT_N_STEPS)
        streams, n_streams, n_steps = (int(self.array[slot]) for slot in slots)
        return ports, streams, n_streams, n_steps

    def bind_streams(self, address: int, n_streams: int) -> None:
        """Set the streams of the next call, int64 at an address."""
        self.array[codes.CONTEXT_STREAMS] = address
        self.array[codes.CONTEXT_N_STREAMS] = n_streams
        self.array[codes.CONTEXT_CALL] += 1

    def expect_idle(self) -> None:
        """Raise ConcurrentUseError if another thread is inside the kernels with this context."""
        if self.array[codes.CONTEXT_BUSY]:
            raise ConcurrentUseError(_BUSY)

    def call(self) -> int:
        """Enter the kernels, and return their status."""
        return self.advance(self.array, entry.BY_ADDRESS, entry.BY_ADDRESS, entry.BY_ADDRESS)

    def raise_fault(self, status: int, inputs: Sequence[NDArray[Any]]) -> NoReturn:
        """Raise the exception for a status of the kernels other than OK and NOT_PLAIN."""
        if status == codes.BUSY:
            raise ConcurrentUseError(_BUSY)
        number = int(self.array[codes.CONTEXT_FAULT_PORT])
        port, array = self.plan.inputs[number], inputs[number]
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
