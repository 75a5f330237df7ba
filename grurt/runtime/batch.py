"""A batch of whole sequences: one after the other, or side by side so that they share the reading of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputValueError
from grurt.kernels import codes
from grurt.lowering.lower import plan_of
from grurt.network.network import once_per_network
from grurt.runtime import arrays
from grurt.runtime.constants import sequence_constants
from grurt.runtime.context import Context, refuses
from grurt.runtime.making_contexts import contexts_of_sequences
from grurt.runtime.states import States

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats
    from grurt.lowering.plan import PlanPort
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.stream_context import StreamContext


_MAX_SCRATCH = 1 << 29
"""Scratch memory of a model that cannot be run in blocks, in float32: 2 GiB."""

_FEWEST_SIDE_BY_SIDE = 4
"""Sequences: as many as share a read of the weights."""

_MAX_SEGMENT = 1024
"""Timesteps that sequences are run side by side at a time: a signal is noticed in between."""

_MAX_SPARE = 4
"""Contexts that a model keeps for later runs: as many runs as go on at the same time."""


@once_per_network
def _spare_contexts(network: Network) -> list[tuple[Context, States]]:
    """Return what earlier runs worked in, for later ones: taken out while in use, so threads never share one."""
    return []


class Batch:
    """Sequences of one model: inputs and outputs batch-first, in the plan's order of ports.

    Parameters
    ----------
    network
        What is run.
    nonfinite
        What a NaN or infinity in an input does.
    batch, n_steps
        How many sequences there are, and how many timesteps the longest has.
    lengths
        Timesteps of each sequence, ``(batch,)``; all have ``n_steps`` by default.
    wanted_states
        Names of the layers whose final states are kept.
    least
        The shortest that a sequence may be: of one without timesteps, outputs and final states are zeros.

    Attributes
    ----------
    lengths
        int64 ``(batch,)``.
    outputs
        Of each output ``(batch, n_steps, size)``, zeros behind the end of a sequence, or ``(batch, size)``; float32.
    final_states
        ``(batch, *state_shape)`` by name, float32.
    """

    def __init__(
        self,
        network: Network,
        nonfinite: Nonfinite,
        batch: int,
        n_steps: int,
        lengths: ArrayLike | None,
        wanted_states: Iterable[str] = (),
        least: int = 1,
    ) -> None:
        if n_steps < 1:
            raise InputShapeError("Model.run: expected at least 1 timestep, got 0")
        arrays.expect_timesteps("Model.run", (batch, n_steps))
        self._network = network
        self._plan = plan_of(network)
        self._nonfinite: Nonfinite = nonfinite
        self._refuses = refuses(nonfinite)
        self._n_steps = n_steps
        self.lengths = checked_lengths(lengths, batch, n_steps, least)
        self.outputs = [self._zeros(port, batch) for port in self._plan.outputs]
        self.final_states = {name: np.empty((batch, *network.state_shapes[name]), np.float32) for name in wanted_states}

    def _zeros(self, port: PlanPort, batch: int) -> Floats:
        shape = (batch, port.size) if port.single else (batch, self._n_steps, port.size)
        return np.zeros(shape, np.float32)

    def run(self, inputs: Sequence[Array], states: Mapping[str, Array]) -> None:
        """Run every sequence, and fill the attributes.

        ``inputs`` are ``(batch, n_steps, size)``, tokens ``(batch, n_steps)``; ``states`` ``(batch, *state_shape)``
        replace the initial ones, and hold the contexts, all of them. Either way gives the same bits.
        """
        shapes = self._network.context_shapes
        contexts = contexts_of_sequences(self._network, states, self._nonfinite) if shapes else ()
        states = {name: state for name, state in states.items() if name not in shapes}
        in_blocks = not self._network.reads_whole_sequences
        side_by_side = in_blocks and len(self.lengths) >= _FEWEST_SIDE_BY_SIDE
        if not side_by_side or not self._run_side_by_side(inputs, states, contexts):
            self._run_one_by_one(inputs, states, contexts, in_blocks)
        for final in self.final_states.values():
            final[self.lengths == 0] = 0

    def _run_one_by_one(
        self,
        inputs: Sequence[Array],
        states: Mapping[str, Array],
        contexts: Sequence[StreamContext],
        in_blocks: bool,
    ) -> None:
        spare = _spare_contexts(self._network)
        context, own = self._take_spare(spare) if in_blocks else self._new_context(1)
        context.slots[codes.CONTEXT_REFUSE_NONFINITE] = self._refuses
        if not in_blocks:
            self._reserve_sequence(context)
        for row, length in enumerate(self.lengths.tolist()):
            if not length:
                continue
            own.reset(0)
            if states:
                own.write_all(0, 0, {name: state[row] for name, state in states.items()})
            if contexts:
                own.give(0, contexts[row])
            outputs = [
                output[row] if port.single else output[row, :length]
                for port, output in zip(self._plan.outputs, self.outputs, strict=True)
            ]
            try:
                context.run([array[row, :length] for array in inputs], outputs, length)
            except InputValueError as error:
                raise InputValueError(f"Model.run: sequence {row}: {error}") from None
            for name, final in self.final_states.items():
                final[row] = own.read(0, name)
        if contexts:
            own.give(0, None)
        if in_blocks and len(spare) < _MAX_SPARE:
            spare.append((context, own))

    def _take_spare(self, spare: list[tuple[Context, States]]) -> tuple[Context, States]:
        try:
            return spare.pop()
        except IndexError:
            return self._new_context(1)

    def _new_context(self, n_slots: int) -> tuple[Context, States]:
        states = States.new(self._plan, n_slots)
        constants = sequence_constants(self._network)
        return Context.new(self._plan, states, constants, whole_sequence=True, refuse_nonfinite=self._refuses), states

    def _reserve_sequence(self, context: Context) -> None:
        if self._n_steps * self._plan.scratch_size > _MAX_SCRATCH:
            raise InputShapeError(
                f"Model.run: this model needs the whole sequence at once, and {self._n_steps} timesteps take "
                f"{self._n_steps * self._plan.scratch_size >> 28} GiB: run shorter sequences"
            )
        context.reserve(self._n_steps)

    def _run_side_by_side(
        self, inputs: Sequence[Array], states: Mapping[str, Array], contexts: Sequence[StreamContext]
    ) -> bool:
        """Run all sequences as streams of one pool; return whether all inputs are sound."""
        order = np.argsort(-self.lengths, kind="stable")
        context, own = self._new_context(len(order))
        for slot, row in enumerate(order if states else ()):
            own.write_all(slot, 0, {name: state[row] for name, state in states.items()})
        for slot, row in enumerate(order if contexts else ()):
            own.give(slot, contexts[row])
        context.use_streams(len(order))
        context.reserve_block(len(order))
        for start, stop, active in _segments(self.lengths[order]):
            if not self._run_segment(context, inputs, order[:active], start, stop):
                return False
        for name, final in self.final_states.items():
            for slot, row in enumerate(order):
                final[row] = own.read(slot, name)
        return True

    def _run_segment(
        self, context: Context, inputs: Sequence[Array], rows: NDArray[np.intp], start: int, stop: int
    ) -> bool:
        """Run some timesteps of the sequences ``rows``; return whether their inputs are sound."""
        if len(rows) == len(self.lengths) and stop - start == self._n_steps:
            return context.run_streams(inputs, self.outputs, len(rows), self._n_steps) == codes.OK
        parts = [np.ascontiguousarray(array[rows, start:stop]) for array in inputs]
        shapes = [(port.size,) if port.single else (stop - start, port.size) for port in self._plan.outputs]
        answers = [np.empty((len(rows), *shape), np.float32) for shape in shapes]
        if context.run_streams(parts, answers, len(rows), stop - start) != codes.OK:
            return False
        for port, output, answer in zip(self._plan.outputs, self.outputs, answers, strict=True):
            output[rows if port.single else (rows, slice(start, stop))] = answer
        return True


def _segments(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield ``(start, stop, active)``: timesteps in which as many sequences, of falling lengths, have not ended."""
    start = 0
    for end in np.unique(lengths).tolist():
        active = int(np.count_nonzero(lengths >= end))
        for first in range(start, end, _MAX_SEGMENT):
            yield first, min(first + _MAX_SEGMENT, end), active
        start = end


def checked_lengths(lengths: ArrayLike | None, batch: int, n_steps: int, least: int) -> NDArray[np.int64]:
    """Return the lengths of sequences ``(batch,)``, each of at least ``least``; ``n_steps`` by default."""
    if lengths is None:
        return np.full(batch, n_steps, np.int64)
    array = arrays.integers("Model.run", lengths, "integer lengths")
    arrays.expect_shape("Model.run: lengths", array, (batch,))
    for row in np.flatnonzero((array < least) | (array > n_steps)):
        raise InputValueError(f"Model.run: lengths[{row}]: expected a length in [{least}, {n_steps}], got {array[row]}")
    return array
