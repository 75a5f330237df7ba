"""The streams that a pool has: the memory of each, a slot, and the id by which it is found."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import StreamIdError
from grurt.escaping import described
from grurt.kernels import codes
from grurt.runtime.commit import commit, handed_on
from grurt.runtime.foreign import ask_hash, was_raised_below
from grurt.runtime.pool_ids import Taken, no_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.runtime.context import Context
    from grurt.runtime.states import States
    from grurt.runtime.stream_context import StreamContext

_FREE = -1


class Slots:
    """Numbered slots, some with a stream. A stream's id is the number of its slot, or a name, any hashable.

    Parameters
    ----------
    states
        Their states; each of them has a stream at first, unless streams have names.
    contexts
        What runs them. They are told of states that are exchanged for larger ones.
    are_named
        Whether streams have names.
    """

    states: States
    last_call: NDArray[np.int64]
    """Of each slot the number of the last call that it was in; `_FREE` where there is no stream."""
    own_streams: NDArray[np.int64]
    """Where the kernels put the slots of a call."""
    free: list[int]
    """Slots without a stream, the next one last."""

    def __init__(self, states: States, contexts: Sequence[Context], *, are_named: bool) -> None:
        self.contexts = contexts
        self.are_named = are_named
        self.slot_of_name: dict[Hashable, int] = {}
        self._use(states, np.zeros(len(states.steps), np.int64), [])

    def _use(self, states: States, last_call: NDArray[np.int64], free: list[int]) -> None:
        """Hold other streams from now on: all at once, so that an exception from outside leaves the old or the new."""
        own_streams = np.zeros(max(1, len(last_call)), np.int64)
        numbers = {
            codes.CONTEXT_STATES: states.buffer.ctypes.data,
            codes.CONTEXT_STEPS_DONE: states.steps.ctypes.data,
            codes.CONTEXT_GIVEN: states.given.ctypes.data if states.plan.reads_context else 0,
            codes.CONTEXT_LAST_CALL: last_call.ctypes.data,
            codes.CONTEXT_OWN_STREAMS: own_streams.ctypes.data,
            codes.CONTEXT_N_SLOTS: len(last_call),
        }
        commit(
            *(
                (operator.setitem, context.slots, slot, number)
                for context in self.contexts
                for slot, number in numbers.items()
            ),
            *(
                (setattr, context, "addressed", (states.buffer, states.steps, states.given))
                for context in self.contexts
            ),
            (setattr, self, "states", states),
            (setattr, self, "last_call", last_call),
            (setattr, self, "own_streams", own_streams),
            (setattr, self, "free", free),
        )

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self.last_call) - len(self.free)

    def ids(self) -> list[Hashable]:
        """Return the ids of all streams: names in the order in which they came, numbers in ascending order."""
        if self.are_named:
            return [*self.slot_of_name]
        return list(np.flatnonzero(self.last_call != _FREE).tolist())

    def add_number(self, context: StreamContext | None) -> int:
        """Add a stream at the model's initial state with a context, and return its number."""
        slot = self._free_slot(context)
        commit((operator.setitem, self.last_call, slot, 0), (operator.delitem, self.free, -1))
        return slot

    def add_name(self, where: str, name: Hashable, context: StreamContext | None) -> None:
        """Add a stream at the model's initial state with a context; raise StreamIdError if it cannot have that name."""
        slot = self._free_slot(context)
        self.last_call[slot] = 0
        is_last_free = {slot: -1}.__getitem__
        try:
            # An id may have another hash each time: the one look-up that puts it there also says that it is new.
            any(handed_on((self.slot_of_name.setdefault, name, slot), is_last_free, self.free.__delitem__))
        except TypeError as error:
            if was_raised_below(error):
                raise
            ask_hash(name)
            raise StreamIdError(f"{where}: expected an id that can be hashed: {error}") from None
        except KeyError as error:
            if was_raised_below(error):
                raise
            raise StreamIdError(f"{where}: there is a stream {described(name)} already: drop it first") from None

    def _free_slot(self, context: StreamContext | None) -> int:
        """Return the next slot without a stream, at the model's initial state."""
        if not self.free:
            self._grow()
        slot = self.free[-1]
        self.states.reset(slot)
        if self.states.contexts:
            self.states.give(slot, context)
        return slot

    def _grow(self) -> None:
        """Make room for twice as many streams."""
        size = len(self.last_call)
        larger = max(16, 2 * size)
        last_call = np.concatenate([self.last_call, np.full(larger - size, _FREE)])
        self._use(self.states.grown(larger), last_call, list(range(larger - 1, size - 1, -1)))

    def drop(self, where: str, stream_id: Hashable) -> None:
        """Remove a stream; raise StreamIdError if there is none."""
        if not self.are_named:
            slot = self.slot(where, stream_id)
            commit((operator.setitem, self.last_call, slot, _FREE), (self.free.append, slot))
            return
        try:
            # An id may have another hash each time: the one look-up that takes it away also says which slot is free.
            any(handed_on((self.slot_of_name.pop, stream_id), self.free.append))
        except (KeyError, TypeError) as error:
            if was_raised_below(error):
                raise
            if isinstance(error, TypeError):
                ask_hash(stream_id)
            raise no_stream(where, stream_id) from None

    def let_go(self) -> None:
        """Let go of the context of the stream that was removed last."""
        if self.states.contexts:
            self.states.give(self.free[-1], None)

    def find(self, stream_id: object) -> int | None:
        """Return the slot of a stream; None if there is no such stream."""
        if self.are_named:
            try:
                return self.slot_of_name.get(stream_id)
            except TypeError as error:  # of a list, or a tuple that holds one
                if was_raised_below(error):
                    raise
                ask_hash(stream_id)
                return None
        if type(stream_id) is int:
            slot = stream_id
        elif isinstance(stream_id, int | np.integer) and not isinstance(stream_id, bool):
            slot = operator.index(stream_id)
        else:
            return None
        return slot if 0 <= slot < len(self.last_call) and self.last_call[slot] != _FREE else None

    def slot(self, where: str, stream_id: Hashable) -> int:
        """Return the slot of a stream; raise StreamIdError if there is no such stream."""
        slot = self.find(stream_id)
        if slot is None:
            raise no_stream(where, stream_id)
        return slot

    def looked_up(self, names: tuple[Hashable, ...]) -> Sequence[int] | None:
        """Return the slots of streams that have names; None if one of them is not there."""
        try:
            if len(names) > 1:
                return itemgetter(*names)(self.slot_of_name)  # type: ignore[no-any-return]
            return [*map(self.slot_of_name.__getitem__, names)]
        except (KeyError, TypeError) as error:
            if was_raised_below(error):
                raise
            return None

    def numbers(self, where: str, ids: Taken) -> NDArray[np.int64]:
        """Return the slots of streams, by names; numbers as they are, for the kernels to look at."""
        if not isinstance(ids, tuple):
            return ids
        found = self.looked_up(ids)
        return np.array([self.slot(where, name) for name in ids] if found is None else found, np.int64)

    def known(self, where: str, ids: Taken) -> NDArray[np.int64]:
        """Return the slots of streams; raise StreamIdError if there is no such stream."""
        slots = self.numbers(where, ids)
        if not isinstance(ids, tuple) and len(slots) and not self._are_streams(slots):
            raise no_stream(where, next(slot for slot in slots.tolist() if self.find(slot) is None))
        return slots

    def _are_streams(self, slots: NDArray[np.int64]) -> bool:
        if slots[slots.argmin()] < 0 or slots[slots.argmax()] >= len(self.last_call):
            return False
        marks = self.last_call[slots]
        return bool(marks[marks.argmin()] != _FREE)

    def targets(self, where: str, ids: Taken) -> NDArray[np.int64]:
        """Return the slots of streams that are written to; raise StreamIdError unless each is there, and named once."""
        slots = self.known(where, ids)
        if len(set(slots.tolist())) < len(slots):
            raise StreamIdError(f"{where}: expected each target once, got one twice")
        return slots
