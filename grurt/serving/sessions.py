"""The sessions of one model: who holds them, how they begin, and how they end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from grurt.serving.errors import ModelReplacedError, SessionEndedError, SessionInUseError
from grurt.serving.layout import layout_of
from grurt.serving.names import is_anonymous
from grurt.serving.session import GENERATES, SLOW_READER, End, Session
from grurt.serving.turns import Turns

if TYPE_CHECKING:
    from grurt.errors import GrurtError
    from grurt.model import Model
    from grurt.runtime.snapshots import Snapshots
    from grurt.serving.limits import Limits
    from grurt.serving.session import Holder, Message, Receiver, Watcher


class Sessions:
    """The sessions of one model, in a pool of their own.

    Nothing here waits, or knows of a network: one thread calls it, that of the event loop.

    Parameters
    ----------
    name
        The model's.
    model
        What they run; it can stream.
    limits
        See there.
    call_soon
        What the event loop has.
    threads
        Over how many a call of the pool is spread.
    before
        Those of the model that this one replaces, whose counts go on here.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        limits: Limits,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threads: int = 1,
        before: Sessions | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.version: int = 1 if before is None else before.version + 1
        """Which model of this name it is, counted from 1 at the start of the service."""
        self.layout = layout_of(model)
        self.pool = model.pool(0, threads=threads)
        counts = None if before is None else before.turns.counts
        self.turns: Turns = Turns(
            self.pool, self.layout, call_soon, high=limits.waiting, low=limits.waiting // 2, counts=counts
        )
        self.by_key: dict[str, OneSession] = {}
        self.ended: Counter[End] = Counter() if before is None else before.ended
        self.watchers: dict[str, tuple[Watcher, ...]] = {} if before is None else before.watchers
        """Who is shown a session, by its key: also one that is yet to begin."""
        self._limits = limits

    def __len__(self) -> int:
        """How many there are."""
        return len(self.by_key)

    def begin(self, key: str) -> OneSession:
        """Begin a session at the model's initial state; nobody has one of that key."""
        slot = self.pool.add()
        assert isinstance(slot, int)  # noqa: S101 - of a pool that numbers its streams
        session = self.by_key[key] = Session(key, self, slot, perf_counter())
        session.watchers = self.watchers.get(key, ())
        return session

    def renew(self, session: OneSession) -> None:
        """Let a session of another model begin anew here, with what waits in it, if that fits this model."""
        old = session.room
        del old.by_key[session.key]
        old.turns.leave(session)
        old.pool.drop(session.slot)
        slot = self.pool.add()
        assert isinstance(slot, int)  # noqa: S101 - of a pool that numbers its streams
        session.room, session.slot = self, slot
        self.by_key[session.key] = session
        session.safe = session.pending = None
        session.last_answer = b""
        session.touched = perf_counter()
        if not self.layout.is_like(old.layout):
            session.waiting = deque(map(_refused, session.waiting))
            session.n_waiting = len(session.waiting)
        self.turns.go_on(session)

    def hold(self, session: OneSession, holder: Holder, *, takeover: bool) -> None:
        """Let a connection hold a session: one at a time. Raises SessionInUseError if there is another."""
        if session.holder is not None:
            if not takeover:
                raise SessionInUseError(
                    f"session {session.key!r} is in use: close its other connection, or take it over with takeover=1"
                )
            before, session.holder = session.holder, None
            self._forget_messages(session)
            before.ended(End.TAKEN_OVER)
            self.ended[End.TAKEN_OVER] += 1
        session.holder = holder
        session.touched = perf_counter()
        session.held_back &= ~SLOW_READER
        session.is_full = False

    def let_go(self, session: OneSession, holder: Holder) -> bool:
        """Take note that a connection has ended; return whether the session has ended with it."""
        if session.holder is not holder:
            return False
        session.holder = None
        self._forget_messages(session)
        session.held_back &= ~SLOW_READER
        session.is_full = False
        if is_anonymous(session.key) or not self._limits.keep:
            self.end(session)
            return True
        return False

    def end(self, session: OneSession, end: End | None = None) -> None:
        """End a session; its state is gone. Who holds it, or waits for answers, is told."""
        if self.by_key.get(session.key) is not session:
            return
        del self.by_key[session.key]
        self.pool.drop(session.slot)
        holder, session.holder, session.watchers = session.holder, None, ()
        if end is not None:
            self.ended[end] += 1
        self._forget_messages(session)
        if holder is not None:
            holder.ended(end or End.ENDED)

    @staticmethod
    def _forget_messages(session: OneSession) -> None:
        """Refuse what waits: nobody would know any more what it follows."""
        messages = [*session.waiting]
        session.waiting.clear()
        session.n_waiting = session.done = 0
        session.partial = []
        for _, _, receiver in messages:
            receiver.refuse(
                SessionEndedError("the session has ended, or somebody else has it, before this had its turn")
            )

    def overdue(self, now: float) -> Iterator[tuple[OneSession, End]]:
        """Yield the sessions whose time is over."""
        limits = self._limits
        for session in [*self.by_key.values()]:
            if limits.lifetime is not None and now - session.began > limits.lifetime:
                yield session, End.LIFETIME
            elif now - session.touched > limits.idle and not session.waiting and not session.held_back & GENERATES:
                yield session, End.IDLE

    def reset(self, session: OneSession) -> None:
        """Take a session back to the model's initial state."""
        self.pool.reset(session.slot)
        session.touched = perf_counter()

    def steps(self, session: OneSession) -> int:
        """Return a session's timesteps since it began, or was reset."""
        return self.pool.steps(session.slot)

    def snapshot(self, session: OneSession) -> bytes:
        """Return a session's state as bytes, as `Stream.snapshot`."""
        return self.pool.snapshot(session.slot)

    def restore(self, session: OneSession, saved: bytes) -> None:
        """Take a session to a state that was saved. Raises SnapshotError if it is not of this model."""
        self.pool.restore(session.slot, saved)

    def snapshot_many(self, sessions: list[OneSession]) -> Snapshots:
        """Return the states of many sessions at once."""
        return self.pool.snapshot_many([session.slot for session in sessions])


OneSession: TypeAlias = Session[Sessions]
"""One of them."""


class _Refused:
    """A receiver that is told in its turn that a message was for the model before."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def answer(self, answers: bytes) -> None:
        error = "the model was replaced while this waited, and the samples do not fit the new one"
        self._receiver.refuse(ModelReplacedError(error))

    def refuse(self, error: GrurtError) -> None:
        self._receiver.refuse(error)


def _refused(message: Message) -> Message:
    """Return what refuses a message in its turn; what holds no samples stays."""
    _, count, receiver = message
    return (b"", 0, _Refused(receiver)) if count else message
