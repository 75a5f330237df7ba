"""A pool: many streams of one model, advanced together, several of them to each read of the weights."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NoReturn, SupportsIndex, TypeAlias

import numpy as np

from grurt.errors import InputTypeError, InputValueError, StreamIdError
from grurt.escaping import described
from grurt.kernels import codes
from grurt.kernels.sizes import I64_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.costs import MAX_BLOCK_ROWS
from grurt.network.frames import frames_of
from grurt.runtime.binding import Inputs, Outputs
from grurt.runtime.context import streaming_context
from grurt.runtime.decoding.methods import DecodingPool
from grurt.runtime.pool_calls import Calls, has_its_numbers
from grurt.runtime.pool_faults import Fault, are_reported
from grurt.runtime.pool_ids import Ids, integer, number_or_names
from grurt.runtime.pool_slots import Slots
from grurt.runtime.pooled_states import PooledStates
from grurt.runtime.states import States

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.stream_context import ContextLike, StreamContext

Faults: TypeAlias = Literal["raise", "report"]
"""What becomes of a call with rows that cannot be computed with."""

_FLOAT32 = np.dtype(np.float32)
_NEXT = object()
MAX_THREADS = 1024
MAX_BYTES = 1 << 40
"""What the states of a pool's first streams may take."""


class StreamPool(PooledStates, DecodingPool):
    """Many sequences in progress: made by `Model.pool`.

    Each stream has an id, and is at the model's initial state when it is added. A call of `step` or `run` advances
    those streams that it names; the answers have the same bits as those of single streams. A pool belongs to one
    thread at a time, whatever number of threads it uses itself: a second one gets a ConcurrentUseError.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> model = grurt.Model(
    ...     layers=[grurt.GRU(name="gru", input_size=2, hidden_size=3, bias=False)],
    ...     weights={"gru.weight_ih": np.ones((9, 2)), "gru.weight_hh": np.ones((9, 3))},
    ... )
    >>> pool = model.pool(10_000)
    >>> pool.step([7, 1234], np.zeros((2, 2), np.float32)).shape
    (2, 3)
    >>> pool.steps(7), pool.steps(8)
    (1, 0)
    >>> callers = model.pool(["alice", "bob"])
    >>> callers.run(["bob"], np.zeros((1, 50, 2), np.float32)).shape
    (1, 50, 3)
    """

    def __init__(
        self,
        network: Network,
        streams: SupportsIndex | Iterable[Hashable],
        *,
        threads: int = 1,
        nonfinite: Nonfinite = "refuse",
        context: ContextLike | None = None,
    ) -> None:
        threads = _number_of_threads(threads)
        n_slots, names = number_or_names(streams)
        plan = plan_of(network)
        _expect_room(n_slots, plan.initial_state.nbytes)
        self._default_context: StreamContext | None = None
        if context is not None or (network.context_shapes and n_slots):
            self._default_context = _context_for("Model.pool", network, context, nonfinite)
        states = States.new(plan, n_slots, self._default_context)
        frames = frames_of(network)
        self._output_shape = frames.outputs[plan.outputs[0].name].shape
        self._step_axes = 1 + len(frames.inputs[plan.inputs[0].name].shape)
        front = streaming_context(network, states, nonfinite)
        members = [streaming_context(network, states, nonfinite) for _ in range(threads - 1)]
        slots = Slots(states, (front, *members), are_named=names is not None)
        for each in slots.contexts:
            each.reserve_block(MAX_BLOCK_ROWS)
        super().__init__(network, nonfinite, slots, front, Calls(network, slots, front, members))
        self._advance = self._calls.advance
        self._array = front.array
        for name in () if names is None else names:
            self.add(name)

    @property
    def model(self) -> Network:
        """The model that the streams run."""
        return self._network

    def __repr__(self) -> str:
        return f"<grurt.StreamPool of {len(self)} streams of {self._network!r}>"

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._slots)

    def __iter__(self) -> Iterator[Hashable]:
        """Iterate over the ids of the streams that there are now."""
        return iter(self.ids)

    def __contains__(self, stream_id: object) -> bool:
        """Whether there is a stream of this id."""
        return self._slots.find(stream_id) is not None

    @property
    def ids(self) -> list[Hashable]:
        """The ids of the streams that there are now, those of numbered streams in ascending order."""
        return self._slots.ids()

    def add(self, stream_id: Hashable = _NEXT, *, context: ContextLike | None = None) -> Hashable:
        """Add a stream at the model's initial state, and return its id.

        Parameters
        ----------
        stream_id
            Any hashable; left out in a pool of numbered streams, which takes the number of a stream that was dropped,
            or the next.
        context
            What the stream is given once, if the model has contexts; by default what the pool was made with.

        Raises
        ------
        StreamIdError
            If there is such a stream already, or the pool numbers its streams itself.
        InputShapeError, InputTypeError, InputValueError
            If the context does not fit, or is missing.
        """
        given = self._default_context
        if context is not None or (given is None and self._network.context_shapes):
            given = _context_for("StreamPool.add", self._network, context, self._nonfinite)
        return self._front.exclusively(self._add, stream_id, given)

    def _add(self, stream_id: Hashable, context: StreamContext | None) -> Hashable:
        self._calls.settle()
        if not self._are_named:
            if stream_id is not _NEXT:
                found = described(stream_id)
                raise StreamIdError(f"StreamPool.add: this pool numbers its streams: expected no id, got {found}")
            return self._slots.add_number(context)
        if stream_id is _NEXT:
            raise StreamIdError("StreamPool.add: this pool names its streams: expected an id, got none")
        self._slots.add_name("StreamPool.add", stream_id, context)
        return stream_id

    def drop(self, stream_id: Hashable) -> None:
        """Remove a stream. Raises StreamIdError if there is none."""
        self._front.exclusively(self._drop, stream_id)

    def _drop(self, stream_id: Hashable) -> None:
        self._calls.settle()
        self._slots.drop("StreamPool.drop", stream_id)
        self._slots.let_go()

    def step(self, ids: Ids, xs: Inputs, out: Floats | None = None, faults: Faults = "raise") -> Outputs:
        """Advance some streams by one timestep each.

        Parameters
        ----------
        ids
            Which streams, each once, ``(n_streams,)``. In a pool of numbered streams an array of int64 is quickest,
            then a list. They are read once, when the call begins: who changes a list or an array of them meanwhile
            changes a later call.
        xs
            Their inputs ``(n_streams, input_size)``, or for a model of tokens ``(n_streams,)``; dtypes, grids and
            mappings as in `Stream.step`.
        out
            Where to write the answers: float32 ``(n_streams, output_size)``, C-contiguous, not overlapping ``xs``.
        faults
            What becomes of the call if a row of the inputs holds a NaN, an infinity or a token that does not exist:
            ``"raise"`` an exception, or ``"report"``: such rows are left out, their answers are NaN, and `faults`
            names them. Their streams stay as they are, and the others advance as if they had been called alone.

        Returns
        -------
        The answers ``(n_streams, output_size)``, float32: ``out``, or a new array that is the caller's own.

        Raises
        ------
        StreamIdError
            If there is no such stream, or it is named twice.
        InputShapeError, InputTypeError, InputValueError
            As in `Stream.step`. In any case, no stream has been advanced.

        Examples
        --------
        >>> import numpy as np
        >>> from grurt.demo import load_model
        >>> pool = load_model().pool(3)
        >>> xs = np.zeros((3, 6), np.float32)
        >>> xs[1, 4] = np.nan
        >>> np.isnan(pool.step([0, 1, 2], xs, faults="report")).all(axis=1)
        array([False,  True, False])
        >>> [row for row, reason in pool.faults], pool.steps(0), pool.steps(1)
        ([1], 1, 0)
        """
        reports = faults != "raise" and are_reported("StreamPool.step", faults)
        if type(xs) is np.ndarray and xs.ndim == self._step_axes and self._are_plain(ids):
            y = np.empty((len(ids), *self._output_shape), _FLOAT32) if out is None else out
            if self._advance(self._array, xs, y, ids) == codes.OK:
                return self._without_faults(y) if reports else y
        elif type(xs) is dict and self._are_plain(ids):
            answers = self._calls.advance_by_name(ids, xs, out, 1)
            if answers is not None:
                return self._without_faults(answers) if reports else answers
        return self._calls.run_converted("StreamPool.step", ids, xs, out, (), reports=reports)

    def run(self, ids: Ids, xs: Inputs, out: Floats | None = None, faults: Faults = "raise") -> Outputs:
        """Advance some streams by a block of timesteps: inputs ``(n_streams, n_steps, input_size)``, answers likewise.

        The parameters, the errors and the bits are those of so many calls of `step`; a stream with a fault at any
        timestep is left out of the whole block.
        """
        reports = faults != "raise" and are_reported("StreamPool.run", faults)
        if type(xs) is np.ndarray and xs.ndim == self._step_axes + 1 and self._are_plain(ids):
            if len(ids) == len(xs) and has_its_numbers(xs):
                y = np.empty((*xs.shape[:2], *self._output_shape), _FLOAT32) if out is None else out
                if self._advance(self._array, xs, y, ids) == codes.OK:
                    return self._without_faults(y) if reports else y
        elif type(xs) is dict and self._are_plain(ids):
            answers = self._calls.advance_by_name(ids, xs, out, 2)
            if answers is not None:
                return self._without_faults(answers) if reports else answers
        return self._calls.run_converted("StreamPool.run", ids, xs, out, ("n_steps",), reports=reports)

    def run_ragged(self, ids: Ids, xs: Inputs, lengths: ArrayLike) -> Outputs:
        """Advance some streams by blocks of different lengths, in few calls of the kernels.

        Parameters
        ----------
        ids
            Which streams, as in `step`, each once.
        xs
            Their inputs, one stream's rows after the other's, in the order of the ids: ``(n_rows, input_size)``;
            dtypes, grids and mappings as in `Stream.run`. They are copied.
        lengths
            How many rows each stream has: integers ``(n_streams,)``, 0 or more, ``n_rows`` together.

        Returns
        -------
        The answers to all rows, ``(n_rows, output_size)``, float32, in the order of the inputs: a new array, the
        caller's own. They have the bits of single streams. An exception from outside, such as KeyboardInterrupt, may
        leave streams that have run some of their rows.

        Raises
        ------
        StreamIdError
            If there is no such stream, or it is named twice.
        InputShapeError, InputTypeError, InputValueError
            If lengths and rows do not fit together, and as in `Stream.step`. In any case, no stream has been advanced.

        Examples
        --------
        >>> import numpy as np
        >>> from grurt.demo import load_model
        >>> pool = load_model().pool(3)
        >>> pool.run_ragged([2, 0], np.zeros((5, 6), np.float32), [4, 1]).shape
        (5, 4)
        >>> pool.steps(0), pool.steps(1), pool.steps(2)
        (1, 0, 4)
        """
        return self._calls.run_ragged("StreamPool.run_ragged", ids, xs, lengths)

    def _without_faults(self, answers: Outputs) -> Outputs:
        self._calls.faults = []
        return answers

    def _are_plain(self, ids: Ids) -> bool:
        """Whether the kernels may be offered ids as they are: slots in an array, or anything in a list."""
        if type(ids) is np.ndarray:
            return ids.ndim == 1 and not self._are_named
        return type(ids) is list or type(ids) is tuple

    @property
    def faults(self) -> list[Fault]:
        """The rows that the last call with ``faults="report"`` has left out: ``(row, reason)``, in ascending order.

        A row is an index of the call's ids and inputs; the reason is what an exception would have said.
        """
        return [*self._calls.faults]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StreamPool cannot be pickled: send the model's file and snapshots instead")


def _context_for(
    where: str, network: Network, context: ContextLike | None, nonfinite: Nonfinite
) -> StreamContext | None:
    from grurt.runtime.making_contexts import context_for

    return context_for(where, network, context, nonfinite)


def _number_of_threads(threads: SupportsIndex) -> int:
    number = integer(threads)
    if number is None:
        raise InputTypeError(f"Model.pool: expected a number of threads, got {type(threads).__name__}")
    if not 1 <= number <= MAX_THREADS:
        found = described(number)
        raise InputValueError(f"Model.pool: expected at least 1 thread, and at most {MAX_THREADS}, got {found}")
    return number


def _expect_room(n_streams: int, state_bytes: int) -> None:
    """Raise InputValueError for more streams than any memory holds, before any of it is asked for."""
    room = MAX_BYTES // (state_bytes + 3 * I64_BYTES)
    if n_streams > room:
        raise InputValueError(
            f"Model.pool: expected at most {room:,} streams of this model, which take 1 TiB, got {described(n_streams)}"
        )
