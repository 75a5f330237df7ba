"""The memory that one run of a plan works in, and the call into the kernels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, TypeVarTuple

import numpy as np

from grurt.errors import ConcurrentUseError, InputValueError
from grurt.escaping import described
from grurt.kernels import codes, fields
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.lower import plan_of
from grurt.lowering.plan import Plan, PlanPort, aligned_zeros
from grurt.network.costs import block_rows
from grurt.runtime.commit import commit
from grurt.runtime.constants import Constants, streaming_constants
from grurt.runtime.engine import entry_point
from grurt.runtime.parts import MAX_STEPS, parts_of
from grurt.runtime.states import States

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network

Nonfinite = Literal["refuse", "propagate"]
"""What a NaN or an infinity in an input does: raise InputValueError, or be computed with."""

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

CLEAN_OR_PROPAGATE = 'clean the input, or compute with it: nonfinite="propagate" (`grurt run --nonfinite propagate`)'

_BUSY = (
    "another thread is using this stream or pool: expected one thread at a time; give each thread a stream of its own"
)


def refuses(nonfinite: str) -> bool:
    """Return whether NaN and infinity are refused; raise InputValueError unless it is said in one of the two words."""
    if not isinstance(nonfinite, str) or nonfinite not in ("refuse", "propagate"):
        raise InputValueError(f'nonfinite: expected "refuse" or "propagate", got {described(nonfinite)}')
    return nonfinite == "refuse"


def streaming_context(network: Network, states: States, nonfinite: str) -> Context:
    """Return a context that gives an answer at every timestep; raise StreamingError if the model cannot."""
    refuse = refuses(nonfinite)
    constants = streaming_constants(network)
    return Context.new(plan_of(network), states, constants, whole_sequence=False, refuse_nonfinite=refuse)


class Context:
    """Scratch memory and table of addresses: what one thread at a time needs to run a plan."""

    def __init__(
        self, plan: Plan, constants: Constants, array: NDArray[np.int64], addressed: tuple[Array, ...]
    ) -> None:
        self.plan = plan
        self.advance = entry_point()
        self._claim: Callable[..., Any] = self.advance
        self.array = array
        self.slots = array.data
        """The same numbers: Python reads and writes one of them three times as fast."""
        self.addressed = addressed
        """What must stay alive, because the array holds addresses of it."""
        self._held = constants.held

    @classmethod
    def new(
        cls, plan: Plan, states: States, constants: Constants, *, whole_sequence: bool, refuse_nonfinite: bool
    ) -> Context:
        """Return a context with memory of its own.

        Parameters
        ----------
        plan
            What is run.
        states
            The states that are advanced.
        constants
            What `constants_of` gives for the plan.
        whole_sequence
            Whether values behind LastStep and FirstStep are wanted once, at the end, or at every timestep.
        refuse_nonfinite
            Whether a NaN or infinity in an input is refused.
        """
        context = cls(plan, constants, constants.array.copy(), (states.buffer, states.steps, states.given))
        slots = context.slots
        slots[codes.CONTEXT_WHOLE_SEQUENCE] = whole_sequence
        slots[codes.CONTEXT_REFUSE_NONFINITE] = refuse_nonfinite
        slots[codes.CONTEXT_STATES] = fields.data_address(states.buffer)
        slots[codes.CONTEXT_STEPS_DONE] = fields.data_address(states.steps)
        slots[codes.CONTEXT_GIVEN] = fields.data_address(states.given) if plan.reads_context else 0
        context.reserve(1)
        return context

    def reserve(self, rows: int) -> None:
        """Make room in scratch memory for blocks of at least ``rows`` timesteps."""
        if rows > self.array[codes.CONTEXT_CAPACITY]:
            scratch = aligned_zeros(rows * self.plan.scratch_size)
            commit(
                (operator.setitem, self.slots, codes.CONTEXT_SCRATCH, fields.data_address(scratch)),
                (operator.setitem, self.slots, codes.CONTEXT_CAPACITY, rows),
                (setattr, self, "_scratch", scratch),
            )

    def reserve_block(self, n_steps: int) -> None:
        """Make room for a run of ``n_steps`` timesteps, in blocks whose scratch memory stays in the cache."""
        self.reserve(min(n_steps, block_rows(F32_BYTES * self.plan.scratch_size)))

    def run(self, inputs: Sequence[Array], outputs: Sequence[Floats], n_steps: int) -> None:
        """Run ``n_steps`` timesteps of stream 0, from and to contiguous arrays in the plan's order of ports.

        Raises ConcurrentUseError, or InputValueError for what an input holds. An exception from a signal ends the run
        between two calls into the kernels: the states are then those after some of the timesteps.
        """
        self.exclusively(self._run, inputs, outputs, n_steps)

    def _run(self, inputs: Sequence[Array], outputs: Sequence[Floats], n_steps: int) -> None:
        self.reserve_block(n_steps)
        self.bind(map(fields.data_address, (*inputs, *outputs)), n_steps)
        if n_steps <= MAX_STEPS or n_steps <= self.slots[codes.CONTEXT_CAPACITY]:
            self.expect_sound(self.call(), inputs)
        else:
            self.expect_sound(self._check(), inputs)
            self._run_in_calls(inputs, outputs, n_steps)

    def _run_in_calls(self, inputs: Sequence[Array], outputs: Sequence[Floats], n_steps: int) -> None:
        """Run timesteps that are checked, in several calls."""
        start = 0
        for part in parts_of(n_steps):
            stop = start + part
            parts = [array[start:stop] for array in inputs]
            answers = []
            for port, output in zip(self.plan.outputs, outputs, strict=True):
                single = port.single and self.slots[codes.CONTEXT_WHOLE_SEQUENCE]
                answers.append(output if single else output[start:stop])
            self.bind(map(fields.data_address, (*parts, *answers)), part)
            self.expect_sound(self.call(), parts)
            start = stop

    def bind(self, addresses: Iterable[int], n_steps: int) -> None:
        """Set the memory of inputs and outputs, in the plan's order, and the number of timesteps of the next call."""
        slots, slot = self.slots, codes.CONTEXT_PORTS + codes.PORT_ADDRESS
        for address in addresses:
            slots[slot] = address
            slot += codes.PORT_SLOTS
        slots[codes.CONTEXT_N_STEPS] = n_steps

    def bind_streams(self, address: int, n_streams: int) -> None:
        """Set the streams of the next call, int64 at an address."""
        self.array[codes.CONTEXT_STREAMS] = address
        self.array[codes.CONTEXT_N_STREAMS] = n_streams
        self.array[codes.CONTEXT_CALL] += 1

    def use_streams(self, n_streams: int) -> None:
        """Advance stream 0, 1, ... of the states from now on, side by side."""
        self._streams = (np.arange(n_streams), np.zeros(n_streams, np.int64), np.zeros(n_streams, np.int64))
        _, last_call, checked = self._streams
        self.array[codes.CONTEXT_LAST_CALL] = last_call.ctypes.data
        self.array[codes.CONTEXT_OWN_STREAMS] = checked.ctypes.data
        self.array[codes.CONTEXT_N_SLOTS] = n_streams

    @property
    def first_streams(self) -> NDArray[np.int64]:
        """The streams that `use_streams` has set: 0, 1, and so on."""
        return self._streams[0]

    def bind_first_streams(self, n_streams: int) -> None:
        """Set the streams of the next call: the first ones of those that `use_streams` has set."""
        self.bind_streams(fields.data_address(self._streams[0]), n_streams)

    def run_streams(self, inputs: Sequence[Array], outputs: Sequence[Floats], n_streams: int, n_steps: int) -> int:
        """Run ``n_steps`` timesteps of the first streams, ``(n_streams, n_steps, ...)``; return the kernels' status."""
        self.bind(map(fields.data_address, (*inputs, *outputs)), n_steps)
        self.bind_first_streams(n_streams)
        return self.call()

    def exclusively(self, work: Callable[[*Arguments], T], *args: *Arguments) -> T:
        """Return what ``work`` does, during which every other call gets a ConcurrentUseError.

        Raises ConcurrentUseError if there is a call already, of another thread or around this one: nothing has been
        done then.
        """
        result = self._claim(self.array, work, args)
        if result is self.array:
            raise ConcurrentUseError(_BUSY)
        return result  # type: ignore[no-any-return]

    def call(self) -> int:
        """Enter the kernels, and return their status."""
        return self.advance(self.array, fields.BY_ADDRESS, fields.BY_ADDRESS, fields.BY_ADDRESS)

    def _check(self) -> int:
        """Have the kernels look at the inputs only, and return their status."""
        return self.advance(self.array, fields.BY_ADDRESS, None, fields.BY_ADDRESS)

    def expect_sound(self, status: int, inputs: Sequence[Array]) -> None:
        """Raise the exception for a status of the kernels that is not OK."""
        if status != codes.OK:
            self.raise_fault(status, inputs)

    def raise_fault(self, status: int, inputs: Sequence[Array]) -> NoReturn:
        """Raise the exception for what the kernels say of the inputs."""
        if status == codes.BUSY:
            raise ConcurrentUseError(_BUSY)
        if status == codes.MEMORY_FULL:
            raise InputValueError(full_text(self.plan))
        number = int(self.array[codes.CONTEXT_FAULT_PORT])
        raise InputValueError(
            fault_text(self.plan.inputs[number], inputs[number], int(self.array[codes.CONTEXT_FAULT_INDEX]))
        )


def full_text(plan: Plan) -> str:
    """Return what is wrong with a stream that would have more timesteps than it may."""
    return (
        f"expected a stream of at most {plan.max_steps} timesteps, as its Attention layers remember (max_steps), got "
        "more: reset it, or run whole sequences with Model.run"
    )


def fault_text(port: PlanPort, array: Array, index: int) -> str:
    """Return what is wrong with an input at an index, in the order of memory: no token, or no finite number."""
    place = ", ".join(str(int(i)) for i in np.unravel_index(index, array.shape))
    where = f"input {port.name!r}" + (f" at [{place}]" if place else "")
    found = array.reshape(-1)[index]
    if port.tokens:
        return f"{where}: expected a token id in [0, {port.size}), got {found}"
    return f"{where}: expected finite numbers, got {found}; {CLEAN_OR_PROPAGATE}"
