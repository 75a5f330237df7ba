"""The service: models with their sessions, and what is done for them every second."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, time
from typing import TYPE_CHECKING

from grurt.errors import GrurtError
from grurt.escaping import listed
from grurt.serving import checkpoints
from grurt.serving.errors import (
    NoSessionError,
    ServingError,
    SessionEndedError,
    SessionInUseError,
    TooManySessionsError,
    UnknownModelError,
)
from grurt.serving.names import anonymous_key, is_anonymous
from grurt.serving.session import End
from grurt.serving.sessions import Sessions

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.serving.keeper import Keeper
    from grurt.serving.limits import Limits
    from grurt.serving.session import Holder, Session

INTERVAL = 1.0
"""Seconds between two writes of states."""
_LAG_INTERVAL = 0.1
_EVICTED_AT_ONCE = 100
_REMEMBERED = 50


@dataclass(frozen=True)
class Refusal:
    """Something that was refused."""

    at: float
    """In seconds since 1970."""
    kind: str
    reason: str
    session: str


class Service:
    """Models, each with its sessions.

    Parameters
    ----------
    models
        By name; each can stream.
    limits
        See there.
    keeper
        What keeps the states beyond the process; None for nothing.
    call_soon
        What the event loop has.
    threads
        Over how many a call of a pool is spread.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        limits: Limits,
        keeper: Keeper | None,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threads: int = 1,
    ) -> None:
        self.limits = limits
        self.keeper = keeper
        self.rooms = {name: Sessions(name, model, limits, call_soon, threads=threads) for name, model in models.items()}
        self.connections: set[Holder] = set()
        """All WebSocket connections that hold a session, or are about to."""
        self.watchers: set[object] = set()
        """All that look at one."""
        self.refused: Counter[str] = Counter()
        self.refusals: deque[Refusal] = deque(maxlen=_REMEMBERED)
        self.began = perf_counter()
        self.lag = 0.0
        """The longest that the event loop made somebody wait, of late, in seconds."""
        self.is_ending = False
        self._ticking = asyncio.Lock()

    def sessions_of(self, model: str | None) -> Sessions:
        """Return the sessions of a model; of the only one, if there is no name. Raises UnknownModelError."""
        if not model and len(self.rooms) == 1:
            return next(iter(self.rooms.values()))
        found = self.rooms.get(model or "")
        if found is None:
            raise UnknownModelError(f"model: expected one of {listed(self.rooms)}, got {model or 'none'}")
        return found

    @property
    def unready_reason(self) -> str | None:
        """Why the service should get no requests now; None if it should."""
        if self.is_ending:
            return "the service ends"
        return None if self.keeper is None else self.keeper.failure

    def n_websockets(self) -> int:
        """Return how many WebSocket connections there are."""
        return len(self.connections) + len(self.watchers)

    def expect_to_go_on(self) -> None:
        """Raise TooManySessionsError if the service ends: what it did now would be in no store."""
        if self.is_ending:
            raise TooManySessionsError("the service restarts: come back")

    def __len__(self) -> int:
        """How many sessions there are."""
        return sum(map(len, self.rooms.values()))

    async def open(
        self,
        sessions: Sessions,
        key: str | None,
        holder: Holder | None,
        *,
        takeover: bool = False,
        reset: bool = False,
        begin: bool = True,
    ) -> Session:
        """Return the session of a key, begun if there is none, with the state that the store has.

        Parameters
        ----------
        sessions
            Those of its model.
        key
            See `grurt.serving.names`; None for a session that nobody else can name.
        holder
            The connection that holds it from now on; None for a request that does not.
        takeover
            Whether to take it from another connection, or process.
        reset
            Whether to begin at the model's initial state.
        begin
            Whether to begin one, or to raise NoSessionError.

        Raises
        ------
        ServingError, SnapshotError
            If the session cannot be had.
        """
        key = key or anonymous_key()
        session = sessions.by_key.get(key)
        if session is None:
            if not begin and self.keeper is None:
                raise NoSessionError(_no_session(key))
            session = await self._begin(sessions, key, holder, takeover=takeover, reset=reset, begin=begin)
        else:
            if holder is not None:
                sessions.hold(session, holder, takeover=takeover)
            elif session.holder is not None:
                raise SessionInUseError(f"session {key!r} is in use by a connection: close that first")
            await self._expect_open(sessions, session)
            if reset:
                sessions.reset(session)
        if holder is not None and session.holder is not holder:
            raise SessionInUseError(f"session {key!r} was taken over while it was opened")
        self._settle(sessions, session, reset=reset)
        return session

    def begin_nameless(self, sessions: Sessions) -> Session:
        """Return a session that nobody else can name. Raises TooManySessionsError."""
        self._make_room()
        return sessions.begin(anonymous_key())

    async def _expect_open(self, sessions: Sessions, session: Session) -> None:
        """Wait until the store has answered to whoever began the session."""
        while session.opening is not None:
            await asyncio.wait([session.opening])
        if not sessions.is_live(session):
            raise SessionEndedError(f"session {session.key!r} could not be opened: try again")

    def _settle(self, sessions: Sessions, session: Session, *, reset: bool) -> None:
        holder = session.holder
        if reset or holder is None or not holder.replays:
            checkpoints.leave(session)
        if holder is not None and holder.replays:
            checkpoints.begin(sessions, session)

    async def _begin(
        self, sessions: Sessions, key: str, holder: Holder | None, *, takeover: bool, reset: bool, begin: bool
    ) -> Session:
        self._make_room()
        session = sessions.begin(key)
        session.holder = holder
        if self.keeper is None or is_anonymous(key):
            return session
        session.opening = asyncio.get_running_loop().create_future()
        try:
            saved = await self.keeper.acquire(sessions, session, takeover=takeover)
            if not sessions.is_live(session):
                self.keeper.give_back(sessions, session)
                raise SessionEndedError(f"session {key!r} was left while it was opened")
            if saved is None and not begin:
                self.keeper.forget(sessions, session)
                raise NoSessionError(_no_session(key))
            if saved is not None and not reset:
                sessions.restore(session, saved)
        except BaseException:
            if session.token and sessions.is_live(session):
                self.keeper.give_back(sessions, session)
            session.holder = None if session.holder is holder else session.holder
            sessions.end(session)
            raise
        finally:
            opening, session.opening = session.opening, None
            opening.set_result(None)
        return session

    def _make_room(self) -> None:
        """See to it that there may be one more session, or raise TooManySessionsError."""
        self.expect_to_go_on()
        if len(self) < self.limits.sessions:
            return
        if self.keeper is not None:
            self._evict(self.keeper)
        if len(self) >= self.limits.sessions:
            raise TooManySessionsError(
                f"expected at most {self.limits.sessions:,} sessions, and there are as many: "
                "come back later, or raise --max-sessions"
            )

    def _evict(self, keeper: Keeper) -> None:
        """Leave to the store what nobody is connected to, and was not used for longest."""
        idle = [
            (session.touched, sessions, session)
            for sessions in self.rooms.values()
            for session in sessions.by_key.values()
            if session.is_idle and session.token and session.touched <= session.written
        ]
        for _, sessions, session in sorted(idle, key=lambda item: item[0])[:_EVICTED_AT_ONCE]:
            sessions.end(session)
            keeper.give_back(sessions, session)

    def leave(self, sessions: Sessions, session: Session, holder: Holder) -> None:
        """Take note that a connection has ended."""
        if sessions.let_go(session, holder) and self.keeper is not None:
            self.keeper.forget(sessions, session)

    def end(self, sessions: Sessions, session: Session, end: End | None = None) -> None:
        """End a session, here and in the store."""
        if self.keeper is not None and sessions.is_live(session):
            self.keeper.forget(sessions, session)
        sessions.end(session, end)

    def received(self, sessions: Sessions, session: Session, steps: int) -> None:
        """Take note that a client has received all answers up to some step."""
        if checkpoints.received(session, steps) and session.safe is not None:
            if self.keeper is not None and session.token:
                self.keeper.is_safe(sessions, session)
            elif session.holder is not None:
                session.holder.durable(session.safe[0])

    def note_refusal(self, error: GrurtError, session: str = "") -> None:
        """Count something that was refused, and remember why."""
        kind = error.kind if isinstance(error, ServingError) else type(error).__name__
        self.refused[kind] += 1
        self.refusals.append(Refusal(time(), kind, str(error), session))

    async def run(self) -> None:
        """Do what is to be done every second, until this is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_lag())
            tasks.create_task(self._tick_for_ever())

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            async with self._ticking:
                if self.is_ending:
                    return
                await self.tick()

    async def tick(self) -> None:
        """End the sessions whose time is over, and write what has changed."""
        now = perf_counter()
        for sessions in self.rooms.values():
            for session, end in sessions.overdue(now):
                self.end(sessions, session, end)
        self._propose_checkpoints(now)
        if self.keeper is not None:
            await self.keeper.tick(self.rooms.values())

    def _propose_checkpoints(self, now: float) -> None:
        """Ask the clients who replay, of sessions that no store keeps, what they have received."""
        for sessions in self.rooms.values():
            for session in sessions.by_key.values():
                if checkpoints.replays(session) and session.touched > session.written and not session.token:
                    checkpoints.propose(sessions, session, now)

    async def _watch_lag(self) -> None:
        while True:
            begin = perf_counter()
            await asyncio.sleep(_LAG_INTERVAL)
            late = perf_counter() - begin - _LAG_INTERVAL
            self.lag = max(late, 0.9 * self.lag)

    async def finish(self) -> None:
        """Answer what waits, let clients who replay say what they have, and write everything."""
        self.is_ending = True
        for holder in self.connections:
            holder.take_no_more()
        for sessions in self.rooms.values():
            sessions.turns.finish()
        try:
            if self.keeper is not None:
                async with self._ticking:
                    await self.tick()
                deadline = perf_counter() + INTERVAL
                while self._awaits_clients() and perf_counter() < deadline:
                    await asyncio.sleep(0.01)
                await self.keeper.flush(self.rooms.values())
        finally:
            for holder in [*self.connections]:
                holder.ended(End.RESTART)

    def _awaits_clients(self) -> bool:
        return any(
            session.pending is not None and session.holder is not None
            for sessions in self.rooms.values()
            for session in sessions.by_key.values()
        )


def _no_session(key: str) -> str:
    return f"inference request for sequence {key!r} must specify the START flag on the first request of the sequence"
