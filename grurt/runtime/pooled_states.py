"""The states of a pool's streams, of one or of many: read, set, copied, saved and restored."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from grurt.errors import InputShapeError
from grurt.runtime import snapshot
from grurt.runtime.pool_ids import Ids, Taken, taken
from grurt.runtime.restoring import restore, restore_many
from grurt.runtime.snapshots import Snapshots, pack_many, unpack_many
from grurt.runtime.state_writer import StateWriter
from grurt.runtime.states import check_states

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Context, Nonfinite
    from grurt.runtime.pool_calls import Calls
    from grurt.runtime.pool_slots import Slots
    from grurt.runtime.snapshot import Saved
    from grurt.runtime.stream_context import ContextLike, StreamContext

T = TypeVar("T")


class PooledStates:
    """What a `StreamPool` does with states, between its calls."""

    def __init__(self, network: Network, nonfinite: Nonfinite, slots: Slots, front: Context, calls: Calls) -> None:
        self._network = network
        self._nonfinite: Nonfinite = nonfinite
        self._slots = slots
        self._are_named = slots.are_named
        self._front = front
        self._calls = calls
        self._writer = StateWriter(network, refuse_nonfinite=nonfinite == "refuse")

    def _at(self, work: Callable[[int], T], where: str, stream_id: Hashable) -> T:
        """Return what ``work`` does with a stream's slot; from the look-up on, the pool belongs to this thread."""
        return self._front.exclusively(self._work_at, work, where, stream_id)

    def _work_at(self, work: Callable[[int], T], where: str, stream_id: Hashable) -> T:
        self._calls.settle()
        return work(self._slots.slot(where, stream_id))

    def copy(self, source_ids: Ids, target_ids: Ids) -> None:
        """Let streams take on the states and contexts of others, in one call: as many targets as sources, in order.

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

    def context(self, stream_id: Hashable) -> StreamContext | None:
        """Return what a stream was given once: see `Stream.context`. Raises StreamIdError if there is none."""
        return self._at(lambda slot: self._slots.states.context(slot), "StreamPool.context", stream_id)

    def set_context(self, stream_id: Hashable, context: ContextLike) -> None:
        """Give a stream another context, in place of the one that it has; its state stays as it is.

        Raises
        ------
        StreamIdError, InputShapeError, InputTypeError, InputValueError
            If there is no such stream, or the context does not fit. Nothing has changed then.
        """
        from grurt.runtime.making_contexts import context_for

        where = "StreamPool.set_context"
        taken_context = context_for(where, self._network, context, self._nonfinite)
        self._at(lambda slot: self._slots.states.give(slot, taken_context), where, stream_id)

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

    def snapshot(self, stream_id: Hashable, *, with_context: bool = False) -> bytes:
        """Return a stream's state as bytes: what `Stream.snapshot` would. Raises StreamIdError if there is none."""
        where = "StreamPool.snapshot"
        whole = self._at(lambda slot: self._slots.states.read_with_context(slot), where, stream_id)
        return snapshot.pack(self._network, *whole, with_context=with_context)

    def restore(self, stream_id: Hashable, saved: bytes) -> None:
        """Take a stream to the state that a snapshot holds, of a pool's stream or a single one.

        Raises
        ------
        StreamIdError, SnapshotError
            If there is no such stream, or the snapshot does not fit. The state is then what it was before.
        """
        found = snapshot.unpack(saved, self._network, self._nonfinite)
        self._at(lambda slot: self._restore(slot, found), "StreamPool.restore", stream_id)

    def _restore(self, slot: int, saved: Saved) -> None:
        restore(self._slots.states, slot, saved, self._network, self._nonfinite)

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
        return pack_many(self._network, *self._front.exclusively(self._read_many, given))

    def _read_many(self, ids: Taken) -> tuple[NDArray[np.int64], dict[str, Floats], list[StreamContext | None]]:
        self._calls.settle()
        states, slots = self._slots.states, self._slots.known("StreamPool.snapshot_many", ids)
        return *states.read_many(slots), [states.contexts[slot] for slot in slots.tolist()] if states.contexts else []

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
            is damaged, of a newer version or of another model, or a stream has another context than the one that was
            saved. All states are then what they were before.
        """
        where = "StreamPool.restore_many"
        given = taken(where, ids, are_names=self._are_named)
        steps, states, digests = unpack_many(saved, self._network, self._nonfinite)
        if len(given) != len(steps):
            raise InputShapeError(f"{where}: expected an id for each of {len(steps)} streams, got {len(given)}")
        self._front.exclusively(self._write_many, where, given, steps, states, digests)

    def _write_many(
        self, where: str, ids: Taken, steps: NDArray[np.int64], states: Mapping[str, Floats], digests: Sequence[bytes]
    ) -> None:
        self._calls.settle()
        restore_many(self._slots.states, self._slots.targets(where, ids), steps, states, digests)
