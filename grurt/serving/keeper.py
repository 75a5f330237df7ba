"""Keeps the states of sessions: written behind, by a thread, while the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from grurt.runtime.snapshots import singles
from grurt.serving import checkpoints
from grurt.serving.errors import SessionInUseError, StoreError
from grurt.serving.session import End
from grurt.serving.stores.base import BATCH, Place, Row

if TYPE_CHECKING:
    from grurt.runtime.snapshots import Snapshots
    from grurt.serving.sessions import OneSession, Sessions
    from grurt.serving.stores.base import Grant, Store

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 3.0
"""Seconds for which a process that is asked for a session may take to give it back."""
_PAUSE = 0.05


class Keeper:
    """Writes the states of sessions to a store, and gets them from there.

    Parameters
    ----------
    store
        Where; only the thread of this object calls it.
    idle
        Seconds after which the store forgets a session that nobody has.
    """

    def __init__(self, store: Store, *, idle: float) -> None:
        self._store = store
        self._idle = idle
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grurt-store")
        self._deleted: list[tuple[Place, int]] = []
        self._released: list[tuple[Place, int]] = []
        self._safe: dict[OneSession, None] = {}
        self.written_at = perf_counter()
        """When the store had everything."""
        self.rows_written = 0
        self.failures = 0
        self.failure: str | None = None
        """What went wrong last, until something is written again."""

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def acquire(self, session: OneSession, *, takeover: bool) -> bytes | None:
        """Take a session for this process, and return the state that the store has of it, if any.

        Raises
        ------
        SessionInUseError
            If another process has it, and one does not take over. Whoever does waits for that process to write the
            state, and to give the session back.
        StoreError
            If the store does not work.
        """
        place = _place(session)
        await self._give_back()
        grant = await self._call(self._store.acquire, place, force=False)
        if grant is None:
            if not takeover:
                raise SessionInUseError(
                    f"session {session.key!r} is in use by another process of the service: "
                    "close its connection there, or take it over with takeover=1"
                )
            grant = await self._wait_for(place)
        session.token = grant.token
        return grant.saved

    async def _wait_for(self, place: Place) -> Grant:
        await self._call(self._store.ask_for, place)
        deadline = perf_counter() + PATIENCE
        while perf_counter() < deadline:
            grant = await self._call(self._store.acquire, place, force=False)
            if grant is not None:
                return grant
            await asyncio.sleep(_PAUSE)
        grant = await self._call(self._store.acquire, place, force=True)
        if grant is None:
            raise StoreError("the store gives a session to nobody")
        return grant

    def forget(self, session: OneSession) -> None:
        """Let the store forget a session that has ended."""
        if session.token:
            self._deleted.append((_place(session), session.token))
            self._safe.pop(session, None)

    def give_back(self, session: OneSession) -> None:
        """Let other processes have a session; its state was written."""
        if session.token:
            self._released.append((_place(session), session.token))

    def is_safe(self, session: OneSession) -> None:
        """Let the state of a client that replays be written: it has received what led there."""
        self._safe[session] = None

    async def tick(self, rooms: Iterable[Sessions]) -> None:
        """Do what is to be done every second; what goes wrong is kept in ``failure``."""
        rooms = list(rooms)
        begun = perf_counter()
        try:
            await self._call(self._store.beat, self._idle)
            await self._give_back()
            for place in await self._call(self._store.asked_for):
                await self._hand_over(rooms, place)
            for sessions in rooms:
                await self.write_changed(sessions)
            await self._write_safe()
        except StoreError as error:
            self.failures += 1
            self.failure = str(error)
        else:
            self.failure = None
            self.written_at = begun

    async def _give_back(self) -> None:
        deleted, self._deleted = self._deleted, []
        released, self._released = self._released, []
        try:
            if deleted:
                await self._call(self._store.delete, deleted)
                deleted = []
            if released:
                await self._call(self._store.release, released)
                released = []
        finally:
            self._deleted += deleted
            self._released += released

    async def _hand_over(self, rooms: list[Sessions], place: Place) -> None:
        """Let another process have a session that it has asked for: with the latest state, and nobody on it."""
        found = (room.by_key.get(place.key) for room in rooms if room.name == place.model)
        session = next((session for session in found if session is not None), None)
        if session is None or session.opening is not None:
            return
        session.room.turns.finish()
        if not session.is_live:
            return
        saved = session.safe[1] if session.safe is not None else session.room.snapshot(session)
        session.room.end(session, End.TAKEN_OVER)
        self._safe.pop(session, None)
        await self._call(self._store.write, [Row(place, session.token, saved)])
        await self._call(self._store.release, [(place, session.token)])

    async def write_changed(self, sessions: Sessions) -> None:
        """Write the states that have changed since they were written; those of clients that replay are proposed."""
        changed = [
            session for session in sessions.by_key.values() if session.token and session.touched > session.written
        ]
        remaining = iter(changed)
        while chunk := [*islice(remaining, BATCH)]:
            live = [session for session in chunk if session.is_live and session.room is sessions]
            now = perf_counter()
            direct = []
            for session in live:
                if checkpoints.replays(session):
                    checkpoints.propose(session, now)
                else:
                    direct.append(session)
            if direct:
                saved = sessions.snapshot_many(direct)
                lost = await self._call(self._write, sessions.name, [(s.key, s.token) for s in direct], saved)
                self._take_note(direct, lost, now)

    def _write(self, model: str, owned: list[tuple[str, int]], saved: Snapshots) -> set[Place]:
        rows = [Row(Place(model, key), token, state) for (key, token), state in zip(owned, singles(saved), strict=True)]
        return set(self._store.write(rows))

    async def _write_safe(self) -> None:
        """Write the states that clients who replay have received, and tell them."""
        while self._safe:
            taken = [*islice(self._safe, BATCH)]
            for session in taken:
                del self._safe[session]
            written = [(session, session.safe) for session in taken if session.safe is not None and session.is_live]
            rows = [Row(_place(session), session.token, safe[1]) for session, safe in written]
            try:
                lost = set(await self._call(self._store.write, rows))
            except StoreError:
                self._safe |= dict.fromkeys(taken)
                raise
            for session, safe in written:
                self._take_note([session], lost, session.written)
                if session.is_live and session.holder is not None:
                    session.holder.durable(safe[0])

    def _take_note(self, written: list[OneSession], lost: set[Place], now: float) -> None:
        self.rows_written += len(written)
        for session in written:
            session.written = max(session.written, now)
            if lost and _place(session) in lost:
                session.token = 0
                session.room.end(session, End.TAKEN_OVER)

    async def flush(self, rooms: Iterable[Sessions]) -> None:
        """Write everything that may be written, and close. Raises StoreError if that cannot be done."""
        try:
            await self._give_back()
            for sessions in rooms:
                await self.write_changed(sessions)
            await self._write_safe()
            await self._call(self._store.close)
        finally:
            self._thread.shutdown(wait=True)


def _place(session: OneSession) -> Place:
    return Place(session.room.name, session.key)
