"""The service: models with their sessions, and what is done for them every second."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter, time
from typing import TYPE_CHECKING

from grurt.errors import GrurtError, InputShapeError
from grurt.escaping import listed
from grurt.serving import checkpoints
from grurt.serving.errors import (
    NoSessionError,
    ServingError,
    SessionEndedError,
    SessionInUseError,
    TooManySessionsError,
    UnknownModelError,
    WholeSequencesError,
)
from grurt.serving.generating import Generators
from grurt.serving.names import anonymous_key, is_anonymous
from grurt.serving.replacing import Replaced
from grurt.serving.session import End
from grurt.serving.sessions import Sessions
from grurt.serving.threads import Threads
from grurt.serving.whole import WholeModel

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from grurt.model import Model
    from grurt.serving.keeper import Keeper
    from grurt.serving.layout import Layout
    from grurt.serving.limits import Limits
    from grurt.serving.session import Holder, Watcher
    from grurt.serving.sessions import OneSession

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
        By name.
    limits
        See there.
    keeper
        What keeps the states beyond the process; None for nothing.
    call_soon
        What the event loop has.
    threads
        Over how many a call of a pool is spread.
    renews
        Whether sessions begin anew when their model is replaced; else they end with the one that they have.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        limits: Limits,
        keeper: Keeper | None,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threads: int = 1,
        renews: bool = False,
    ) -> None:
        self.limits = limits
        self.keeper = keeper
        self._call_soon = call_soon
        self._threads = threads
        self.threads = Threads(threads, "grurt-run")
        """What computes that takes longer than the event loop may wait."""
        self.generators = Generators(limits, threads=threads)
        self.rooms: dict[str, Sessions] = {}
        """The sessions of each model that streams, by its name."""
        self.whole: dict[str, WholeModel] = {}
        """The other models."""
        for name, model in models.items():
            if model.unstreamable_reason is None:
                self.rooms[name] = Sessions(name, model, limits, call_soon, threads=threads)
            else:
                self.whole[name] = WholeModel(name, model, most_waiting=limits.runs)
        self.replaced = Replaced(self.rooms, limits, renews=renews, are_kept=keeper is not None)
        self.connections: set[Holder] = set()
        """All WebSocket connections that hold a session, or are about to."""
        self.watchers: set[object] = set()
        """All that look at one."""
        self.changes: Counter[str] = Counter()
        """How often a model was replaced, by its name,"""
        self.failed_changes: Counter[str] = Counter()
        """and how often its file held none that could be served."""
        self.refused: Counter[str] = Counter()
        self.refusals: deque[Refusal] = deque(maxlen=_REMEMBERED)
        self.more_metrics: list[Callable[[], Iterable[Metric]]] = []
        """What others than the service itself have to tell Prometheus."""
        self.began = perf_counter()
        self.lag = 0.0
        """The longest that the event loop made somebody wait, of late, in seconds."""
        self.is_ending = False
        self._ticking = asyncio.Lock()

    def sessions_of(self, model: str | None) -> Sessions:
        """Return the sessions of a model; of the only one, if there is no name.

        Raises
        ------
        UnknownModelError, WholeSequencesError
            If there is no such model, or it has no sessions.
        """
        names = [*self.rooms, *self.whole]
        name = names[0] if not model and len(names) == 1 else model or ""
        if name in self.whole:
            raise WholeSequencesError(
                f"model: {name} has no sessions, but answers to v2 requests: {self.whole[name].reason}"
            )
        if name not in self.rooms:
            raise UnknownModelError(f"model: expected one of {listed(names)}, got {model or 'none'}")
        return self.rooms[name]

    @property
    def all_served(self) -> list[Sessions | WholeModel]:
        """All models that are served, those of sessions first."""
        return [*self.rooms.values(), *self.whole.values()]

    def served(self, name: str) -> Sessions | WholeModel | None:
        """Return a model that is served, with all that belongs to it; None if there is none of that name."""
        return self.rooms[name] if name in self.rooms else self.whole.get(name)

    def successor(self, name: str, model: Model) -> Sessions | WholeModel:
        """Return what is to replace the model of some name, ready to be served. Any thread may call it.

        Raises
        ------
        WholeSequencesError
            If one of them streams, and the other does not: clients would have to ask in another way.
        """
        served, streams = self.rooms.get(name), model.unstreamable_reason is None
        if streams != (served is not None):
            raise WholeSequencesError(
                f"expected a model that {'needs whole sequences' if streams else 'streams'}, as the one before: "
                "start the service again to serve another kind of model by this name"
            )
        if served is not None:
            return Sessions(name, model, self.limits, self._call_soon, threads=self._threads, before=served)
        before = self.whole[name]
        return WholeModel(name, model, version=before.version + 1, most_waiting=self.limits.runs, before=before)

    async def replace(self, new: Sessions | WholeModel) -> None:
        """Serve a model in place of the one of its name."""
        self.changes[new.name] += 1
        if isinstance(new, WholeModel):
            self.whole[new.name] = new
        else:
            await self.replaced.replace(new)

    @property
    def unready_reason(self) -> str | None:
        """Why the service should get no requests now; None if it should."""
        if self.is_ending:
            return "the service ends"
        return None if self.keeper is None else self.keeper.failure

    def n_websockets(self) -> int:
        """Return how many WebSocket connections there are."""
        return len(self.connections) + len(self.watchers)

    def expect_room_for(self, layout: Layout, n_samples: int) -> None:
        """Raise InputShapeError if the answers to a message would take more than they may."""
        if n_samples * layout.answer_bytes > self.limits.reply:
            raise InputShapeError(
                f"message: expected samples whose answers take at most {self.limits.reply:,} bytes, "
                f"got {n_samples:,} of {layout.answer_bytes:,} bytes each"
            )

    def expect_to_go_on(self) -> None:
        """Raise TooManySessionsError if the service ends: what it did now would be in no store."""
        if self.is_ending:
            raise TooManySessionsError("the service restarts: come back")

    @property
    def all_rooms(self) -> list[Sessions]:
        """The sessions of all models in memory: those that are served, and those that were replaced."""
        return [*self.rooms.values(), *self.replaced.rooms]

    def find(self, name: str, key: str) -> OneSession | None:
        """Return a session of a model of some name, whichever of these it is on; None if there is none."""
        session = self.rooms[name].by_key.get(key)
        return session if session is not None or not self.replaced.rooms else self.replaced.find(name, key)

    def watch(self, sessions: Sessions, key: str, watcher: Watcher) -> None:
        """Show what happens in a session, also in one that is yet to begin."""
        self._set_watchers(sessions, key, (*sessions.watchers.get(key, ()), watcher))

    def unwatch(self, sessions: Sessions, key: str, watcher: Watcher) -> None:
        """Show it no more."""
        others = tuple(other for other in sessions.watchers.get(key, ()) if other != watcher)
        self._set_watchers(sessions, key, others)

    def _set_watchers(self, sessions: Sessions, key: str, watchers: tuple[Watcher, ...]) -> None:
        sessions.watchers[key] = watchers
        if not watchers:
            del sessions.watchers[key]
        session = self.find(sessions.name, key)
        if session is not None:
            session.watchers = watchers

    def __len__(self) -> int:
        """How many sessions there are."""
        return sum(map(len, self.all_rooms))

    async def open(
        self,
        sessions: Sessions,
        key: str | None,
        holder: Holder | None,
        *,
        takeover: bool = False,
        reset: bool = False,
        begin: bool = True,
    ) -> OneSession:
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
        session = self.find(sessions.name, key)
        if session is None:
            if not begin and self.keeper is None:
                raise NoSessionError(_no_session(key))
            session = await self._begin(sessions, key, holder, takeover=takeover, reset=reset, begin=begin)
        else:
            if holder is not None:
                session.room.hold(session, holder, takeover=takeover)
            elif session.holder is not None:
                raise SessionInUseError(f"session {key!r} is in use by a connection: close that first")
            await self._expect_open(session)
            if reset:
                self._begin_anew(session)
        if holder is not None and session.holder is not holder:
            raise SessionInUseError(f"session {key!r} was taken over while it was opened")
        self._settle(session, reset=reset)
        return session

    def _begin_anew(self, session: OneSession) -> None:
        """Take a session to the initial state of its model; of one that was replaced, to that of the new one."""
        room = self.rooms[session.room.name]
        if session.room is room:
            room.reset(session)
        else:
            room.renew(session)
        session.is_renewed = False

    def begin_nameless(self, sessions: Sessions) -> OneSession:
        """Return a session that nobody else can name. Raises TooManySessionsError."""
        self._make_room()
        return sessions.begin(anonymous_key())

    async def _expect_open(self, session: OneSession) -> None:
        """Wait until the store has answered to whoever began the session."""
        while session.opening is not None:
            await asyncio.wait([session.opening])
        if not session.is_live:
            raise SessionEndedError(f"session {session.key!r} could not be opened: try again")

    def _settle(self, session: OneSession, *, reset: bool) -> None:
        holder = session.holder
        if reset or holder is None or not holder.replays:
            checkpoints.leave(session)
        if holder is not None and holder.replays:
            checkpoints.begin(session)

    async def _begin(
        self, sessions: Sessions, key: str, holder: Holder | None, *, takeover: bool, reset: bool, begin: bool
    ) -> OneSession:
        self._make_room()
        session = self.rooms[sessions.name].begin(key)
        session.holder = holder
        if self.keeper is None or is_anonymous(key):
            return session
        session.opening = asyncio.get_running_loop().create_future()
        try:
            saved = await self.keeper.acquire(session, takeover=takeover)
            if not session.is_live:
                self.keeper.give_back(session)
                raise SessionEndedError(f"session {key!r} was left while it was opened")
            if saved is None and not begin:
                self.keeper.forget(session)
                raise NoSessionError(_no_session(key))
            self.replaced.place(session, None if reset else saved)
        except BaseException:
            if session.token and session.is_live:
                self.keeper.give_back(session)
            session.holder = None if session.holder is holder else session.holder
            session.room.end(session)
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
            session
            for room in self.all_rooms
            for session in room.by_key.values()
            if session.is_idle and session.token and session.touched <= session.written
        ]
        for session in sorted(idle, key=lambda session: session.touched)[:_EVICTED_AT_ONCE]:
            session.room.end(session)
            keeper.give_back(session)

    def leave(self, session: OneSession, holder: Holder) -> None:
        """Take note that a connection has ended."""
        if session.room.let_go(session, holder) and self.keeper is not None:
            self.keeper.forget(session)

    def end(self, session: OneSession, end: End | None = None) -> None:
        """End a session, here and in the store."""
        if self.keeper is not None and session.is_live:
            self.keeper.forget(session)
        session.room.end(session, end)

    def received(self, session: OneSession, steps: int) -> None:
        """Take note that a client has received all answers up to some step."""
        if checkpoints.received(session, steps) and session.safe is not None:
            if self.keeper is not None and session.token:
                self.keeper.is_safe(session)
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
        for room in self.all_rooms:
            for session, end in room.overdue(now):
                self.end(session, end)
        self.replaced.give_up(now)
        self._propose_checkpoints(now)
        if self.keeper is not None:
            await self.keeper.tick(self.all_rooms)

    def _propose_checkpoints(self, now: float) -> None:
        """Ask the clients who replay, of sessions that no store keeps, what they have received."""
        for room in self.all_rooms:
            for session in room.by_key.values():
                if checkpoints.replays(session) and session.touched > session.written and not session.token:
                    checkpoints.propose(session, now)

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
        for room in self.all_rooms:
            room.turns.finish()
        try:
            if self.keeper is not None:
                async with self._ticking:
                    await self.tick()
                deadline = perf_counter() + INTERVAL
                while self._awaits_clients() and perf_counter() < deadline:
                    await asyncio.sleep(0.01)
                await self.keeper.flush(self.all_rooms)
        finally:
            self.threads.close()
            self.generators.close()
            for holder in [*self.connections]:
                holder.ended(End.RESTART)

    def _awaits_clients(self) -> bool:
        return any(
            session.pending is not None and session.holder is not None
            for room in self.all_rooms
            for session in room.by_key.values()
        )


def _no_session(key: str) -> str:
    return f"inference request for sequence {key!r} must specify the START flag on the first request of the sequence"
