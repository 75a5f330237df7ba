"""What keeps states beyond the process: its interface, and what it promises.

A store knows processes. A session belongs to one of them at a time, which has its *token*: a number that grows whenever
the session changes hands. What is written with an older token is not taken (a fencing token: Kleppmann, Designing
Data-Intensive Applications, chapter 8). A process says every second that it lives; one that has not for `LEASE` seconds
is taken to be dead, and its sessions are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

LEASE = 5.0
"""Seconds after which a process that has not said that it lives is dead."""

BATCH = 250
"""Rows that are written in one transaction at most."""


class Place(NamedTuple):
    """Of what model a session is, and its key."""

    model: str
    key: str


class Grant(NamedTuple):
    """A session that this process has from now on."""

    token: int
    saved: bytes | None
    """A snapshot of its state; None if there is none yet."""


class Row(NamedTuple):
    """A state to write."""

    place: Place
    token: int
    saved: bytes


class Store(Protocol):
    """Keeps states. One thread calls it, and any of its methods may take a while, or raise StoreError."""

    def acquire(self, place: Place, *, force: bool) -> Grant | None:
        """Take a session for this process; None if another one that lives has it, unless one is to ``force`` it."""

    def ask_for(self, place: Place) -> None:
        """Ask the process that has a session to give it back."""

    def asked_for(self) -> list[Place]:
        """Return the sessions of this process that others have asked for, once each."""

    def write(self, rows: Sequence[Row]) -> list[Place]:
        """Write states, `BATCH` at most, all or none; return those that this process has lost, which were not taken."""

    def release(self, places: Sequence[tuple[Place, int]]) -> None:
        """Give sessions back, with their tokens: their states stay."""

    def delete(self, places: Sequence[tuple[Place, int]]) -> None:
        """Forget sessions that have ended, with their tokens."""

    def beat(self, idle: float) -> None:
        """Say that this process lives, and forget sessions of nobody that were not written for so many seconds."""

    def close(self) -> None:
        """Give all sessions of this process back, and close."""
