"""Models that were replaced while somebody was on them: what becomes of their sessions, and when they are given up.

By one rule, sessions end with the model that they have, and only new ones get the new one. By the other they begin anew
on the new one: between two samples, in the order of their messages.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from grurt.runtime.snapshot import fingerprint_of
from grurt.serving import checkpoints

if TYPE_CHECKING:
    from grurt.errors import GrurtError
    from grurt.serving.limits import Limits
    from grurt.serving.sessions import OneSession, Sessions

_MOVED_AT_ONCE = 200
"""Sessions that begin anew before the event loop looks after all others."""


class Replaced:
    """The sessions of models that were replaced.

    Parameters
    ----------
    served
        Those of the models that are served, by name: `replace` changes it.
    limits
        See there.
    renews
        Whether sessions begin anew on the new model; else they end with the one that they have.
    are_kept
        Whether a store may have sessions of a model that has none in memory.
    """

    def __init__(self, served: dict[str, Sessions], limits: Limits, *, renews: bool, are_kept: bool) -> None:
        self._served = served
        self._limits = limits
        self._renews = renews
        self._are_kept = are_kept
        self._since: dict[Sessions, float] = {}
        self.n_renewed = 0
        """Sessions that have begun anew."""

    @property
    def rooms(self) -> list[Sessions]:
        """The sessions of models that were replaced, as far as these are in memory."""
        return [*self._since]

    def find(self, name: str, key: str) -> OneSession | None:
        """Return a session of a model that was replaced; None if there is none."""
        found = (room.by_key.get(key) for room in self._since if room.name == name)
        return next((session for session in found if session is not None), None)

    async def replace(self, new: Sessions) -> None:
        """Serve a model in place of the one of its name; sessions on that one move by the rule."""
        old = self._served[new.name]
        self._served[new.name] = new
        self._since[old] = perf_counter()
        if not self._renews:
            return
        for number, session in enumerate([*old.by_key.values()], 1):
            if session.room is old and session.is_live and session.opening is None:
                old.turns.submit(session, (b"", 0, _Renewal(self, session)))
            if number % _MOVED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def renew(self, session: OneSession) -> None:
        """Let a session begin anew on the model that is served, and its client be told."""
        served = self._served[session.room.name]
        if session.room is served or not session.is_live:
            return
        served.renew(session)
        session.is_renewed = True
        self.n_renewed += 1
        if session.holder is not None:
            if session.holder.replays:
                checkpoints.begin(session)
            session.holder.renewed()

    def place(self, session: OneSession, saved: bytes | None) -> None:
        """Let a session that was just begun go on from a saved state, on the model that this is of, if it may.

        Raises
        ------
        SnapshotError
            If it belongs to a model that is not in memory, and sessions do not begin anew.
        """
        served = self._served[session.room.name]
        owner = served if saved is None else self._owner(served, fingerprint_of(saved))
        if session.room is not owner:
            owner.renew(session)
        if saved is None:
            return
        if self._renews and fingerprint_of(saved) != owner.model.fingerprint:
            session.is_renewed = True
            self.n_renewed += 1
        else:
            owner.restore(session, saved)

    def _owner(self, served: Sessions, fingerprint: bytes) -> Sessions:
        """Return the sessions of the model of a fingerprint; those of the served one, if it is of none in memory."""
        rooms = [served, *([] if self._renews else (room for room in self._since if room.name == served.name))]
        return next((room for room in rooms if room.model.fingerprint == fingerprint), served)

    def give_up(self, now: float) -> None:
        """Forget the models that nobody can come back to: without sessions, here or in the store."""
        kept_for = self._limits.idle if self._are_kept and not self._renews else 0.0
        for room, since in [*self._since.items()]:
            if not len(room) and now - since > kept_for:
                del self._since[room]


class _Renewal:
    """A receiver by which a session begins anew in its turn."""

    def __init__(self, replaced: Replaced, session: OneSession) -> None:
        self._replaced = replaced
        self._session = session

    def answer(self, answers: bytes) -> None:
        self._replaced.renew(self._session)

    def refuse(self, error: GrurtError) -> None:
        """Begin anew now: what the session was to answer before is forgotten."""
        self._replaced.renew(self._session)
