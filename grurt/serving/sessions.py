"""The sessions of one model: who holds them, how they begin, and how they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from grurt.serving.errors import SessionEndedError, SessionInUseError
from grurt.serving.layout import layout_of
from grurt.serving.names import is_anonymous
from grurt.serving.session import End, Session
from grurt.serving.turns import Turns

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.runtime.snapshots import Snapshots
    from grurt.serving.limits import Limits
    from grurt.serving.session import Holder, Watcher


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
    """

    def __init__(
        self,
        name: str,
        model: Model,
        limits: Limits,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threads: int = 1,
    ) -> None:
        self.name = name
        self.model = model
        self.layout = layout_of(model)
        self.pool = model.pool(0, threads=threads)
        self.turns = Turns(self.pool, self.layout, call_soon, high=limits.waiting, low=limits.waiting // 2)
        self.by_key: dict[str, Session] = {}
        self.ended: Counter[End] = Counter()
        self._watchers: dict[str, tuple[Watcher, ...]] = {}
        self._limits = limits

    def __len__(self) -> int:
        """How many there are."""
        return len(self.by_key)

    def begin(self, key: str) -> Session:
        """Begin a session at the model's initial state; nobody has one of that key."""
        slot = self.pool.add()
        assert isinstance(slot, int)  # noqa: S101 - of a pool that numbers its streams
        session = self.by_key[key] = Session(key, slot, perf_counter())
        session.watchers = self._watchers.get(key, ())
        return session

    def watch(self, key: str, watcher: Watcher) -> None:
        """Show what happens in a session, also in one that is yet to begin."""
        self._set_watchers(key, (*self._watchers.get(key, ()), watcher))

    def unwatch(self, key: str, watcher: Watcher) -> None:
        """Show it no more."""
        self._set_watchers(key, tuple(other for other in self._watchers.get(key, ()) if other != watcher))

    def _set_watchers(self, key: str, watchers: tuple[Watcher, ...]) -> None:
        self._watchers[key] = watchers
        if not watchers:
            del self._watchers[key]
        if key in self.by_key:
            self.by_key[key].watchers = watchers

    def hold(self, session: Session, holder: Holder, *, takeover: bool) -> None:
        """Let a connection hold a session: one at a time. Raises SessionInUseError if there is another."""
        if session.holder is not None:
            if not takeover:
                raise SessionInUseError(
                    f"session {session.key!r} is in use: close its other connection, or take it over with takeover=1"
                )
            self._forget_messages(session)
            session.holder.ended(End.TAKEN_OVER)
            self.ended[End.TAKEN_OVER] += 1
        session.holder = holder
        session.touched = perf_counter()
        session.is_held_back = session.is_full = False

    def let_go(self, session: Session, holder: Holder) -> bool:
        """Take note that a connection has ended; return whether the session has ended with it."""
        if session.holder is not holder:
            return False
        session.holder = None
        self._forget_messages(session)
        session.is_held_back = session.is_full = False
        if is_anonymous(session.key) or not self._limits.keep:
            self.end(session)
            return True
        return False

    def end(self, session: Session, end: End | None = None) -> None:
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

    def is_live(self, session: Session) -> bool:
        """Say whether a session has not ended."""
        return self.by_key.get(session.key) is session

    @staticmethod
    def _forget_messages(session: Session) -> None:
        """Refuse what waits: nobody would know any more what it follows."""
        messages = [*session.waiting]
        session.waiting.clear()
        session.n_waiting = session.done = 0
        session.partial = []
        for _, _, receiver in messages:
            receiver.refuse(
                SessionEndedError("the session has ended, or somebody else has it, before this had its turn")
            )

    def overdue(self, now: float) -> Iterator[tuple[Session, End]]:
        """Yield the sessions whose time is over."""
        limits = self._limits
        for session in [*self.by_key.values()]:
            if limits.lifetime is not None and now - session.began > limits.lifetime:
                yield session, End.LIFETIME
            elif now - session.touched > limits.idle and not session.waiting:
                yield session, End.IDLE

    def reset(self, session: Session) -> None:
        """Take a session back to the model's initial state."""
        self.pool.reset(session.slot)
        session.touched = perf_counter()

    def steps(self, session: Session) -> int:
        """Return a session's timesteps since it began, or was reset."""
        return self.pool.steps(session.slot)

    def snapshot(self, session: Session) -> bytes:
        """Return a session's state as bytes, as `Stream.snapshot`."""
        return self.pool.snapshot(session.slot)

    def restore(self, session: Session, saved: bytes) -> None:
        """Take a session to a state that was saved. Raises SnapshotError if it is not of this model."""
        self.pool.restore(session.slot, saved)

    def snapshot_many(self, sessions: list[Session]) -> Snapshots:
        """Return the states of many sessions at once."""
        return self.pool.snapshot_many([session.slot for session in sessions])
