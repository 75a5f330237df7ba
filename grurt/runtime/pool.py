"""A pool: many streams of one model, advanced together, several of them to each read of the weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NoReturn, SupportsIndex, TypeAlias, TypeVar

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError, StreamIdError
from grurt.escaping import described
from grurt.kernels import codes
from grurt.kernels.sizes import I64_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.costs import MAX_BLOCK_ROWS
from grurt.network.frames import frames_of
from grurt.runtime import snapshot
from grurt.runtime.binding import Inputs, Outputs
from grurt.runtime.context import streaming_context
from grurt.runtime.pool_calls import Calls
from grurt.runtime.pool_faults import Fault, are_reported
from grurt.runtime.pool_ids import Ids, Taken, integer, number_or_names, taken
from grurt.runtime.pool_slots import Slots
from grurt.runtime.snapshots import Snapshots, pack_many, unpack_many
from grurt.runtime.state_writer import StateWriter
from grurt.runtime.states import States, check_states

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite

Faults: TypeAlias = Literal["raise", "report"]
"""What becomes of a call with rows that cannot be computed with."""
T = TypeVar("T")

_FLOAT32 = np.dtype(np.float32)
_NEXT = object()
MAX_THREADS = 1024
MAX_BYTES = 1 << 40
"""What the states of a pool's first streams may take."""


class StreamPool:
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
    ) -> None:
        threads = _number_of_threads(threads)
        n_slots, names = number_or_names(streams)
        self._network = network
        self._nonfinite: Nonfinite = nonfinite
        plan = plan_of(network)
        _expect_room(n_slots, plan.initial_state.nbytes)
        states = States.new(plan, n_slots)
        frames = frames_of(network)
        self._output_shape = frames.outputs[plan.outputs[0].name].shape
        self._step_axes = 1 + len(frames.inputs[plan.inputs[0].name].shape)
        self._front = front = streaming_context(network, states, nonfinite)
        members = [streaming_context(network, states, nonfinite) for _ in range(threads - 1)]
        self._are_named = names is not None
        self._slots = Slots(states, (front, *members), are_named=self._are_named)
        for context in (front, *members):
            context.reserve_block(MAX_BLOCK_ROWS)
        self._writer = StateWriter(network, refuse_nonfinite=nonfinite == "refuse")
        self._calls = Calls(network, self._slots, front, members)
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

    def add(self, stream_id: Hashable = _NEXT) -> Hashable:
        """Add a stream at the model's initial state, and return its id.

        Parameters
        ----------
        stream_id
            Any hashable; left out in a pool of numbered streams, which takes the number of a stream that was dropped,
            or the next.

        Raises
        ------
        StreamIdError
            If there is such a stream already, or the pool numbers its streams itself.
        """
        return self._front.exclusively(self._add, stream_id)

    def _add(self, stream_id: Hashable) -> Hashable:
        self._calls.settle()
        if not self._are_named:
            if stream_id is not _NEXT:
                found = described(stream_id)
                raise StreamIdError(f"StreamPool.add: this pool numbers its streams: expected no id, got {found}")
            return self._slots.add_number()
        if stream_id is _NEXT:
            raise StreamIdError("StreamPool.add: this pool names its streams: expected an id, got none")
        self._slots.add_name("StreamPool.add", stream_id)
        return stream_id

    def drop(self, stream_id: Hashable) -> None:
        """Remove a stream. Raises StreamIdError if there is none."""
        self._front.exclusively(self._drop, stream_id)

    def _drop(self, stream_id: Hashable) -> None:
        self._calls.settle()
        self._slots.drop("StreamPool.drop", stream_id)

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
                if reports:
                    self._calls.faults = []
                return y
        return self._calls.run_converted("StreamPool.step", ids, xs, out, (), reports=reports)

    def run(self, ids: Ids, xs: Inputs, out: Floats | None = None, faults: Faults = "raise") -> Outputs:
        """Advance some streams by a block of timesteps: inputs ``(n_streams, n_steps, input_size)``, answers likewise.

        The parameters, the errors and the bits are those of so many calls of `step`; a stream with a fault at any
        timestep is left out of the whole block.
        """
        reports = faults != "raise" and are_reported("StreamPool.run", faults)
        if (
            out is not None
            and type(xs) is np.ndarray
            and xs.ndim == self._step_axes + 1
            and self._are_plain(ids)
            and self._advance(self._array, xs, out, ids) == codes.OK
        ):
            if reports:
                self._calls.faults = []
            return out
        return self._calls.run_converted("StreamPool.run", ids, xs, out, ("n_steps",), reports=reports)

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

    def _at(self, work: Callable[[int], T], where: str, stream_id: Hashable) -> T:
        """Return what ``work`` does with a stream's slot; from the look-up on, the pool belongs to this thread."""
        return self._front.exclusively(self._work_at, work, where, stream_id)

    def _work_at(self, work: Callable[[int], T], where: str, stream_id: Hashable) -> T:
        self._calls.settle()
        return work(self._slots.slot(where, stream_id))

    @property
    def ids(self) -> list[Hashable]:
        """The ids of the streams that there are now, those of numbered streams in ascending order."""
        return self._slots.ids()

    def copy(self, source_ids: Ids, target_ids: Ids) -> None:
        """Let streams take on the states of others, in one call: as many targets as sources, in the same order.

        A stream may be a source several times, and both source and target: all states are read before one is written,
        so ``pool.copy([2, 2, 0], [0, 1, 2])`` reorders what is kept of a beam.

        Parameters
        ----------
        source_ids, target_ids
            ``(n_streams,)``, as in `step`; each target once.

        Raises
        ------
        StreamIdError
            If there is no such stream, or a target is named twice. No state has changed then.
        InputShapeError
            If there are not as many of both.
        """
        where = "StreamPool.copy"
        sources = taken(where, source_ids, are_names=self._are_named)
        targets = taken(where, target_ids, are_names=self._are_named)
        if len(sources) != len(targets):
            raise InputShapeError(
                f"{where}: expected as many targets as sources, got {len(targets)} and {len(sources)}"
            )
        self._front.exclusively(self._copy, where, sources, targets)

    def _copy(self, where: str, sources: Taken, targets: Taken) -> None:
        self._calls.settle()
        source_slots, target_slots = self._slots.known(where, sources), self._slots.targets(where, targets)
        self._slots.states.copy(source_slots, target_slots)

    def reset(self, stream_id: Hashable) -> None:
        """Take a stream back to the model's initial state. Raises StreamIdError if there is none."""
        self._at(lambda slot: self._slots.states.reset(slot), "StreamPool.reset", stream_id)

    def steps(self, stream_id: Hashable) -> int:
        """Return a stream's timesteps since its last reset. Raises StreamIdError if there is none."""
        return self._at(lambda slot: int(self._slots.states.steps[slot]), "StreamPool.steps", stream_id)

    def state(self, stream_id: Hashable) -> dict[str, Floats]:
        """Return copies of a stream's states, as `Stream.state`. Raises StreamIdError if there is none."""
        return self._at(lambda slot: self._slots.states.read_all(slot), "StreamPool.state", stream_id)

    def set_state(self, stream_id: Hashable, states: Mapping[str, ArrayLike]) -> None:
        """Replace those of a stream's states that the mapping names.

        Raises
        ------
        StreamIdError, InputShapeError, InputTypeError, InputValueError
            If there is no such stream, or a state does not fit. No state has changed then.
        """
        where = "StreamPool.set_state"
        values = self._writer.values(states)
        if values is None or not self._at(lambda slot: self._store(slot, values), where, stream_id):
            checked = check_states(where, self._network, states, self._nonfinite)
            self._at(lambda slot: self._slots.states.write_all(slot, None, checked), where, stream_id)

    def _store(self, slot: int, values: tuple[object, ...]) -> bool:
        return self._writer.write(self._slots.states.address(slot), values)

    def snapshot(self, stream_id: Hashable) -> bytes:
        """Return a stream's state as bytes: what `Stream.snapshot` would. Raises StreamIdError if there is none."""
        whole = self._at(lambda slot: self._slots.states.read_whole(slot), "StreamPool.snapshot", stream_id)
        return snapshot.pack(self._network.fingerprint, *whole)

    def restore(self, stream_id: Hashable, saved: bytes) -> None:
        """Take a stream to the state that a snapshot holds, of a pool's stream or a single one.

        Raises
        ------
        StreamIdError, SnapshotError
            If there is no such stream, or the snapshot does not fit. The state is then what it was before.
        """
        steps, states = snapshot.unpack(saved, self._network, self._nonfinite)
        self._at(lambda slot: self._slots.states.write_all(slot, steps, states), "StreamPool.restore", stream_id)

    def snapshot_many(self, ids: Ids) -> Snapshots:
        """Return the states of many streams at once, in a millisecond for a megabyte or two.

        Parameters
        ----------
        ids
            Which streams, as in `step`; one may be named several times.

        Returns
        -------
        A named tuple, arrays of the caller's own: ``steps``, int64 ``(n,)``; ``states``, uint8 ``(n, n_bytes)``, in
        each row what `snapshot` holds of that stream's state; and ``checksum``, bytes that tell what model they are
        of, and whether all three are what they were. For single streams, `snapshot` is the form that goes anywhere.

        Raises
        ------
        StreamIdError
            If there is no such stream.

        Examples
        --------
        >>> import numpy as np
        >>> from grurt.demo import load_model
        >>> pool, other = load_model().pool(["ann", "bob"]), load_model().pool(2)
        >>> answers = pool.step(["bob"], np.zeros((1, 6), np.float32))
        >>> steps, states, checksum = saved = pool.snapshot_many(["ann", "bob"])
        >>> other.restore_many([0, 1], saved)
        >>> steps, other.steps(1)
        (array([0, 1]), 1)
        """
        given = taken("StreamPool.snapshot_many", ids, are_names=self._are_named)
        return pack_many(self._network.fingerprint, *self._front.exclusively(self._read_many, given))

    def _read_many(self, ids: Taken) -> tuple[NDArray[np.int64], dict[str, Floats]]:
        self._calls.settle()
        return self._slots.states.read_many(self._slots.known("StreamPool.snapshot_many", ids))

    def restore_many(self, ids: Ids, saved: Snapshots) -> None:
        """Take many streams to the states that `snapshot_many` has returned, in the order of the ids, or none of them.

        Parameters
        ----------
        ids
            Which streams, as in `step`, each once.
        saved
            The three parts, in a tuple or list, as they were: of this pool or another one of the same model.

        Raises
        ------
        StreamIdError, InputShapeError, SnapshotError
            If there is no such stream, or it is named twice; if there are not as many as in the snapshot; or if that
            is damaged, of a newer version or of another model. All states are then what they were before.
        """
        where = "StreamPool.restore_many"
        given = taken(where, ids, are_names=self._are_named)
        steps, states = unpack_many(saved, self._network, self._nonfinite)
        if len(given) != len(steps):
            raise InputShapeError(f"{where}: expected an id for each of {len(steps)} streams, got {len(given)}")
        self._front.exclusively(self._write_many, where, given, steps, states)

    def _write_many(self, where: str, ids: Taken, steps: NDArray[np.int64], states: Mapping[str, Floats]) -> None:
        self._calls.settle()
        self._slots.states.write_many(self._slots.targets(where, ids), steps, states)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StreamPool cannot be pickled: send the model's file and snapshots instead")


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
