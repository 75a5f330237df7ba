"""The memory of one stream, in one piece: so that a new stream, or a fork, is one copy.

    context     int64     the table of addresses (see `codes`)
    scratch     float32   the values of one timestep
    steps       int64     how many timesteps there have been, and the address of what the stream was given
    state       float32

Each part begins on a cache line, and so does the whole. The last two are what a stream is: what a copy of it takes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.network import once_per_network
from grurt.runtime.arrays import hold
from grurt.runtime.constants import Constants, sequence_constants, streaming_constants
from grurt.runtime.context import Context, refuses
from grurt.runtime.states import States

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.lowering.plan import Plan
    from grurt.network.network import Network

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty
_LINE = 64
_LINE_SIZE = _LINE // F32_BYTES


class Image(msgspec.Struct, frozen=True):
    """The memory of a new stream, but for its own addresses, and where its parts begin, in float32."""

    plan: Plan
    constants: Constants
    content: Floats
    n_slots: int
    scratch: int
    steps: int
    state: int

    def placed(self, *, refuse_nonfinite: bool) -> tuple[Context, States, Floats]:
        """Return a copy: a context, the states that it advances, and the memory of steps and state in one."""
        memory = _empty(self.content.size + _LINE_SIZE, _FLOAT32)
        address = data_address(memory)
        start = -address % _LINE // F32_BYTES
        address += F32_BYTES * start
        own = memory[start : start + self.content.size]
        own[...] = self.content
        integers = own.view(np.int64)
        first = self.steps // 2
        state = own[np.newaxis, self.state : self.state + self.plan.initial_state.size]
        given = integers[first + 1 : first + 2] if self.plan.reads_context else integers[:0]
        states = States(self.plan, state, integers[first : first + 1], given)
        context = Context(self.plan, self.constants, integers[: self.n_slots], (own,))
        slots = context.slots
        slots[codes.CONTEXT_REFUSE_NONFINITE] = refuse_nonfinite
        slots[codes.CONTEXT_STATES] = address + F32_BYTES * self.state
        slots[codes.CONTEXT_STEPS_DONE] = address + F32_BYTES * self.steps
        slots[codes.CONTEXT_GIVEN] = address + F32_BYTES * self.steps + I64_BYTES if self.plan.reads_context else 0
        slots[codes.CONTEXT_SCRATCH] = address + F32_BYTES * self.scratch
        return context, states, own[self.steps :]


@once_per_network
def _image(network: Network) -> Image:
    return image_of(plan_of(network), streaming_constants(network))


@once_per_network
def sequence_image(network: Network) -> Image:
    """Return the memory for whole sequences, whose vectors are in the model's own order."""
    plan = plan_of(network)
    return image_of(plan, constants_of_sequences(plan, sequence_constants(network)))


def constants_of_sequences(plan: Plan, constants: Constants) -> Constants:
    """Return what contexts have in common of which each call is a whole sequence, from the plan's initial state."""
    array = constants.array.copy()
    array[codes.CONTEXT_WHOLE_SEQUENCE] = True
    array[codes.CONTEXT_BEGINNING] = data_address(plan.initial_state)
    return Constants(array, (*constants.held, hold(plan.initial_state)))


def image_of(plan: Plan, constants: Constants) -> Image:
    """Return the memory of a plan's stream, whose context has these constants."""
    places = [0]
    sizes = (I64_BYTES // F32_BYTES * constants.array.size, plan.scratch_size, 2 * I64_BYTES // F32_BYTES)
    for size in (*sizes, plan.initial_state.size):
        places.append(places[-1] + -(-size // _LINE_SIZE) * _LINE_SIZE)
    _, scratch, steps, state, end = places
    content = np.zeros(end, np.float32)
    content[: sizes[0]].view(np.int64)[:] = constants.array
    content[: sizes[0]].view(np.int64)[codes.CONTEXT_CAPACITY] = 1
    content[state : state + plan.initial_state.size] = plan.initial_state
    content.flags.writeable = False
    return Image(plan, constants, content, constants.array.size, scratch, steps, state)


def new_memory(network: Network, nonfinite: str) -> tuple[Context, States, Floats]:
    """Return the memory of a new stream: see `Image.placed`.

    Raises
    ------
    StreamingError
        If the model cannot stream.
    """
    refuse = refuses(nonfinite)
    return _image(network).placed(refuse_nonfinite=refuse)
