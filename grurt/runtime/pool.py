"""A pool: many streams of one model, advanced together, several of them to each read of the weights."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypeAlias, TypeVar, cast

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError, StreamIdError
from grurt.escaping import described
from grurt.kernels import codes, fields
from grurt.kernels.sizes import I64_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.costs import MAX_BLOCK_ROWS
from grurt.network.frames import frames_of
from grurt.runtime import arrays, snapshot
from grurt.runtime.binding import Inputs, Outputs, convert_inputs, make_outputs, present
from grurt.runtime.commit import commit, handed_on
from grurt.runtime.context import streaming_context
from grurt.runtime.foreign import was_raised_below
from grurt.runtime.states import States, check_states
from grurt.runtime.team import Team

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite

Ids: TypeAlias = "Sequence[Hashable] | NDArray[np.integer[Any]] | Any"
Taken: TypeAlias = "NDArray[np.int64] | tuple[Hashable, ...]"
"""Ids as they were when a call began: numbers of streams, or their names."""
T = TypeVar("T")

_FLOAT32 = np.dtype(np.float32)
_NEXT = object()
_NO_IDS = np.zeros(0, np.int64)
_FREE = -1
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

    _states: States
    _last_call: NDArray[np.int64]
    """Of each slot the number of the last call that it was in; `_FREE` where there is no stream of that number."""
    _own_streams: NDArray[np.int64]
    _free: list[int]
    """Slots without a stream, the next one last."""

    def __init__(
        self,
        network: Network,
        streams: SupportsIndex | Iterable[Hashable],
        *,
        threads: int = 1,
        nonfinite: Nonfinite = "refuse",
    ) -> None:
        threads = _number_of_threads(threads)
        n_slots, names = _number_or_names(streams)
        self._network = network
        self._nonfinite: Nonfinite = nonfinite
        plan = plan_of(network)
        _expect_room(n_slots, plan.initial_state.nbytes)
        states = States.new(plan, n_slots)
        self._frames = frames = frames_of(network)
        self._output_shape = frames.outputs[plan.outputs[0].name].shape
        self._step_axes = 1 + len(frames.inputs[plan.inputs[0].name].shape)
        self._front = streaming_context(network, states, nonfinite)
        self._members = [streaming_context(network, states, nonfinite) for _ in range(threads - 1)]
        self._use(states, np.zeros(n_slots, np.int64), [])
        for context in (self._front, *self._members):
            context.reserve_block(MAX_BLOCK_ROWS)
        self._team = Team(self._front, self._members) if self._members else None
        self._slot_of_name: dict[Hashable, int] | None = None if names is None else {}
        for name in () if names is None else names:
            self.add(name)

    def _use(self, states: States, last_call: NDArray[np.int64], free: list[int]) -> None:
        """Hold other streams from now on: all at once, so that an exception from outside leaves the old or the new."""
        own_streams = np.zeros(max(1, len(last_call)), np.int64)
        contexts = (self._front, *self._members)
        numbers = {
            codes.CONTEXT_STATES: states.buffer.ctypes.data,
            codes.CONTEXT_STEPS_DONE: states.steps.ctypes.data,
            codes.CONTEXT_LAST_CALL: last_call.ctypes.data,
            codes.CONTEXT_OWN_STREAMS: own_streams.ctypes.data,
            codes.CONTEXT_N_SLOTS: len(last_call),
        }
        commit(
            *(
                (operator.setitem, context.slots, slot, number)
                for context in contexts
                for slot, number in numbers.items()
            ),
            *((setattr, context, "addressed", (states.buffer, states.steps)) for context in contexts),
            (setattr, self, "_states", states),
            (setattr, self, "_last_call", last_call),
            (setattr, self, "_own_streams", own_streams),
            (setattr, self, "_free", free),
        )

    @property
    def model(self) -> Network:
        """The model that the streams run."""
        return self._network

    def __repr__(self) -> str:
        return f"<grurt.StreamPool of {len(self)} streams of {self._network!r}>"

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._last_call) - len(self._free)

    def __iter__(self) -> Iterator[Hashable]:
        """Iterate over the ids of the streams that there are now."""
        if self._slot_of_name is not None:
            return iter([*self._slot_of_name])
        return iter(np.flatnonzero(self._last_call != _FREE).tolist())

    def __contains__(self, stream_id: object) -> bool:
        """Whether there is a stream of this id."""
        return self._find(stream_id) is not None

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
        self._settle()
        if self._slot_of_name is None:
            if stream_id is not _NEXT:
                found = described(stream_id)
                raise StreamIdError(f"StreamPool.add: this pool numbers its streams: expected no id, got {found}")
            slot = self._free_slot()
            commit((operator.setitem, self._last_call, slot, 0), (operator.delitem, self._free, -1))
            return slot
        if stream_id is _NEXT:
            raise StreamIdError("StreamPool.add: this pool names its streams: expected an id, got none")
        slot = self._free_slot()
        self._last_call[slot] = 0
        is_last_free = {slot: -1}.__getitem__
        try:
            # An id may have another hash each time: the one look-up that puts it there also says that it is new.
            any(handed_on((self._slot_of_name.setdefault, stream_id, slot), is_last_free, self._free.__delitem__))
        except TypeError as error:
            if was_raised_below(error):
                raise
            raise StreamIdError(f"StreamPool.add: expected an id that can be hashed: {error}") from None
        except KeyError as error:
            if was_raised_below(error):
                raise
            raise StreamIdError(
                f"StreamPool.add: there is a stream {described(stream_id)} already: drop it first"
            ) from None
        return stream_id

    def _free_slot(self) -> int:
        """Return the next slot without a stream, at the model's initial state."""
        if not self._free:
            self._grow()
        slot = self._free[-1]
        self._states.reset(slot)
        return slot

    def _grow(self) -> None:
        """Make room for twice as many streams."""
        size = len(self._last_call)
        larger = max(16, 2 * size)
        last_call = np.concatenate([self._last_call, np.full(larger - size, _FREE)])
        self._use(self._states.grown(larger), last_call, list(range(larger - 1, size - 1, -1)))

    def drop(self, stream_id: Hashable) -> None:
        """Remove a stream. Raises StreamIdError if there is none."""
        self._front.exclusively(self._drop, stream_id)

    def _drop(self, stream_id: Hashable) -> None:
        self._settle()
        if self._slot_of_name is None:
            slot = self._slot("StreamPool.drop", stream_id)
            commit((operator.setitem, self._last_call, slot, _FREE), (self._free.append, slot))
            return
        try:
            # An id may have another hash each time: the one look-up that takes it away also says which slot is free.
            any(handed_on((self._slot_of_name.pop, stream_id), self._free.append))
        except (KeyError, TypeError) as error:
            if was_raised_below(error):
                raise
            raise _no_stream("StreamPool.drop", stream_id) from None

    def step(self, ids: Ids, xs: Inputs, out: Floats | None = None) -> Outputs:
        """Advance some streams by one timestep each.

        Parameters
        ----------
        ids
            Which streams, each once, ``(n_streams,)``. In a pool of numbered streams an integer array is quickest. They
            are read once, when the call begins: who changes a list or an array of them meanwhile changes a later call.
        xs
            Their inputs ``(n_streams, input_size)``, or for a model of tokens ``(n_streams,)``; dtypes, grids and
            mappings as in `Stream.step`.
        out
            Where to write the answers: float32 ``(n_streams, output_size)``, C-contiguous, not overlapping ``xs``.

        Returns
        -------
        The answers ``(n_streams, output_size)``, float32: ``out``, or a new array that is the caller's own.

        Raises
        ------
        StreamIdError
            If there is no such stream, or it is named twice.
        InputShapeError, InputTypeError, InputValueError
            As in `Stream.step`. In any case, no stream has been advanced.
        """
        if self._takes_plain(ids, xs, self._step_axes):
            y = np.empty((len(ids), *self._output_shape), _FLOAT32) if out is None else out
            if self._run_plain(ids, xs, y):
                return y
        return self._run("StreamPool.step", ids, xs, out, ())

    def run(self, ids: Ids, xs: Inputs, out: Floats | None = None) -> Outputs:
        """Advance some streams by a block of timesteps: inputs ``(n_streams, n_steps, input_size)``, answers likewise.

        The parameters, the errors and the bits are those of so many calls of `step`.
        """
        if out is not None and self._takes_plain(ids, xs, self._step_axes + 1) and self._run_plain(ids, xs, out):
            return out
        return self._run("StreamPool.run", ids, xs, out, ("n_steps",))

    def _takes_plain(self, ids: Ids, xs: Any, n_dimensions: int) -> bool:
        """Whether the kernels may be offered a call as it is: arrays, and ids that are numbers of streams."""
        return (
            self._slot_of_name is None
            and type(ids) is np.ndarray
            and ids.ndim == 1
            and type(xs) is np.ndarray
            and xs.ndim == n_dimensions
        )

    def _run_plain(self, ids: Ids, xs: Any, y: Any) -> bool:
        """Run if the kernels can take these objects as they are; return whether they did."""
        front = self._front
        if self._team is None:
            status = front.advance(front.array, xs, y, ids)
        elif type(y) is np.ndarray:
            status = front.exclusively(self._lead, self._team, xs, y, ids)
        else:
            return False
        return status == codes.OK

    def _lead(self, team: Team, xs: Any, y: Any, ids: Ids) -> int:
        return team.lead(self._front.advance, self._front.array, xs, y, ids, memory=self._own_streams)

    def _run(self, where: str, ids: Ids, xs: Inputs, out: Floats | None, lead: tuple[str, ...]) -> Outputs:
        plan = self._front.plan
        taken = self._take_ids(where, ids)
        held: arrays.Held = []
        inputs, sizes = convert_inputs(where, plan, self._frames, xs, (len(taken), *lead), held)
        outputs = make_outputs(where, self._frames, out, sizes, inputs, held)
        n_steps = sizes[1] if lead else 1
        self._front.exclusively(self._run_claimed, where, taken, inputs, outputs, n_steps, held)
        return present(plan, outputs) if out is None else out

    def _take_ids(self, where: str, ids: Ids) -> Taken:
        """Return numbers of streams, or their names, as they are now."""
        taken: Any = _copied(where, ids)
        if taken is None:
            raise StreamIdError(f"{where}: expected a sequence of ids, got {type(ids).__name__}")
        if self._slot_of_name is not None:
            return tuple(taken)
        if len(taken) == 0:
            return _NO_IDS
        try:
            numbers = arrays.integers(where, taken, "integers, as this pool numbers its streams")
        except (InputTypeError, InputValueError) as error:
            raise StreamIdError(str(error)) from None
        if numbers.ndim != 1:
            raise InputShapeError(f"{where}: expected ids of shape (n_streams,), got {numbers.shape}")
        return numbers

    def _run_claimed(
        self,
        where: str,
        ids: Taken,
        inputs: Sequence[Array],
        outputs: Sequence[Floats],
        n_steps: int,
        held: arrays.Held,
    ) -> None:
        front = self._front
        slots = np.array([self._slot(where, name) for name in ids], np.int64) if isinstance(ids, tuple) else ids
        self._settle()
        front.bind(map(fields.data_address, (*inputs, *outputs)), n_steps)
        front.bind_streams(fields.data_address(slots), len(slots))
        if self._team is None:
            status = front.call()
        else:
            status = self._team.lead(front.call, memory=(inputs, outputs, slots, self._own_streams, held))
        if status in (codes.NO_SUCH_STREAM, codes.STREAM_TWICE):
            index = front.slots[codes.CONTEXT_FAULT_INDEX]
            fault = "there is no such stream" if status == codes.NO_SUCH_STREAM else "the stream is named twice"
            found = ids[index] if isinstance(ids, tuple) else int(ids[index])
            raise StreamIdError(f"{where}: ids[{index}] is {described(found)}: {fault}")
        front.expect_sound(status, inputs)

    def _settle(self) -> None:
        if self._team is not None:
            self._team.settle()

    def _slot(self, where: str, stream_id: Hashable) -> int:
        slot = self._find(stream_id)
        if slot is None:
            raise _no_stream(where, stream_id)
        return slot

    def _find(self, stream_id: object) -> int | None:
        """Return the slot of a stream; None if there is no such stream."""
        if self._slot_of_name is not None:
            try:
                return self._slot_of_name.get(stream_id)
            except TypeError as error:  # of a list, or a tuple that holds one
                if was_raised_below(error):
                    raise
                return None
        if not isinstance(stream_id, int | np.integer) or isinstance(stream_id, bool):
            return None
        slot = operator.index(stream_id)
        return slot if 0 <= slot < len(self._last_call) and self._last_call[slot] != _FREE else None

    def _at(self, work: Callable[[int], T], where: str, stream_id: Hashable) -> T:
        """Return what ``work`` does with a stream's slot; from the look-up on, the pool belongs to this thread."""
        return self._front.exclusively(self._work_at, work, where, stream_id)

    def _work_at(self, work: Callable[[int], T], where: str, stream_id: Hashable) -> T:
        self._settle()
        return work(self._slot(where, stream_id))

    @property
    def ids(self) -> list[Hashable]:
        """The ids of the streams that there are now, those of numbered streams in ascending order."""
        return list(self)

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
        sources, targets = self._take_ids(where, source_ids), self._take_ids(where, target_ids)
        if len(sources) != len(targets):
            raise InputShapeError(
                f"{where}: expected as many targets as sources, got {len(targets)} and {len(sources)}"
            )
        self._front.exclusively(self._copy, where, sources, targets)

    def _copy(self, where: str, sources: Taken, targets: Taken) -> None:
        self._settle()
        source_slots, target_slots = self._slots_of(where, sources), self._slots_of(where, targets)
        if len(np.unique(target_slots)) < len(target_slots):
            raise StreamIdError(f"{where}: expected each target once, got one twice")
        self._states.copy(source_slots, target_slots)

    def _slots_of(self, where: str, ids: Taken) -> NDArray[np.int64]:
        """Return the slots of streams; raise StreamIdError if there is no such stream."""
        if isinstance(ids, tuple):
            return np.array([self._slot(where, name) for name in ids], np.int64)
        known = (ids >= 0) & (ids < len(self._last_call))
        known[known] = self._last_call[ids[known]] != _FREE
        if not known.all():
            raise _no_stream(where, int(ids[~known][0]))
        return ids

    def reset(self, stream_id: Hashable) -> None:
        """Take a stream back to the model's initial state. Raises StreamIdError if there is none."""
        self._at(lambda slot: self._states.reset(slot), "StreamPool.reset", stream_id)

    def steps(self, stream_id: Hashable) -> int:
        """Return a stream's timesteps since its last reset. Raises StreamIdError if there is none."""
        return self._at(lambda slot: int(self._states.steps[slot]), "StreamPool.steps", stream_id)

    def state(self, stream_id: Hashable) -> dict[str, Floats]:
        """Return copies of a stream's states, as `Stream.state`. Raises StreamIdError if there is none."""
        return self._at(lambda slot: self._states.read_all(slot), "StreamPool.state", stream_id)

    def set_state(self, stream_id: Hashable, states: Mapping[str, ArrayLike]) -> None:
        """Replace those of a stream's states that the mapping names.

        Raises
        ------
        StreamIdError, InputShapeError, InputTypeError, InputValueError
            If there is no such stream, or a state does not fit. No state has changed then.
        """
        where = "StreamPool.set_state"
        checked = check_states(where, self._network, states, self._nonfinite)
        self._at(lambda slot: self._states.write_all(slot, None, checked), where, stream_id)

    def snapshot(self, stream_id: Hashable) -> bytes:
        """Return a stream's state as bytes: what `Stream.snapshot` would. Raises StreamIdError if there is none."""
        whole = self._at(lambda slot: self._states.read_whole(slot), "StreamPool.snapshot", stream_id)
        return snapshot.pack(self._network.fingerprint, *whole)

    def restore(self, stream_id: Hashable, saved: bytes) -> None:
        """Take a stream to the state that a snapshot holds, of a pool's stream or a single one.

        Raises
        ------
        StreamIdError, SnapshotError
            If there is no such stream, or the snapshot does not fit. The state is then what it was before.
        """
        steps, states = snapshot.unpack(saved, self._network, self._nonfinite)
        self._at(lambda slot: self._states.write_all(slot, steps, states), "StreamPool.restore", stream_id)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StreamPool cannot be pickled: send the model's file and snapshots instead")


def _number_of_threads(threads: SupportsIndex) -> int:
    number = _integer(threads)
    if number is None:
        raise InputTypeError(f"Model.pool: expected a number of threads, got {type(threads).__name__}")
    if not 1 <= number <= MAX_THREADS:
        found = described(number)
        raise InputValueError(f"Model.pool: expected at least 1 thread, and at most {MAX_THREADS}, got {found}")
    return number


def _number_or_names(streams: SupportsIndex | Iterable[Hashable]) -> tuple[int, Iterable[Hashable] | None]:
    """Return how many streams there are to be, and None; or 0, and their names."""
    names: Any = _copied("Model.pool", streams)
    if names is not None:
        return 0, names
    number = _integer(streams)
    if number is not None:
        if number < 0:
            found = described(number)
            raise InputValueError(f"Model.pool: expected a number of streams of at least 0, got {found}")
        return number, None
    try:
        return 0, iter(streams)  # type: ignore[arg-type]
    except TypeError as error:
        if was_raised_below(error):
            raise
        found = type(streams).__name__
        raise InputTypeError(f"Model.pool: expected a number of streams, or their ids, got {found}") from None


def _integer(value: Any) -> int | None:
    """Return what stands for an integer as one; None for anything else."""
    try:
        return operator.index(value)
    except TypeError as error:
        if was_raised_below(error):
            raise
        return None


def _expect_room(n_streams: int, state_bytes: int) -> None:
    """Raise InputValueError for more streams than any memory holds, before any of it is asked for."""
    room = MAX_BYTES // (state_bytes + 3 * I64_BYTES)
    if n_streams > room:
        raise InputValueError(
            f"Model.pool: expected at most {room:,} streams of this model, which take 1 TiB, got {described(n_streams)}"
        )


def _copied(where: str, ids: Any) -> Array | tuple[Hashable, ...] | None:
    """Return ids as they are now; None unless they are a sequence."""
    if issubclass(type(ids), np.ndarray):
        if arrays.is_masked(ids):
            raise StreamIdError(f"{where}: expected an id everywhere, got masked elements: leave them out first")
        taken = arrays.own_copy(cast("Array", ids))
        return taken if taken.ndim else None
    if not isinstance(ids, Sequence):
        return None
    if type(ids) in (list, tuple):
        return tuple(ids)
    try:
        length = len(ids)
    except (ValueError, OverflowError, TypeError) as error:
        if was_raised_below(error):
            raise
        raise StreamIdError(f"{where}: expected a sequence of ids that has a length: {error}") from None
    taken_ids = tuple(islice(ids, min(length, sys.maxsize - 1) + 1))
    if len(taken_ids) > length:
        raise StreamIdError(f"{where}: expected as many ids as their sequence says, {length}, got more")
    return taken_ids


def _no_stream(where: str, stream_id: object) -> StreamIdError:
    return StreamIdError(f"{where}: there is no stream {described(stream_id)}")
