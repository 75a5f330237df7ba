"""A session: the state of one client, and what waits in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio

    from grurt.errors import GrurtError
    from grurt.serving.layout import Layout


class End(Enum):
    """Why a session ends, or leaves the one that holds it: the close code, and what its client is told."""

    TAKEN_OVER = (4001, "another connection has taken the session over")
    IDLE = (4002, "the session has ended: nothing came for longer than a session may idle")
    LIFETIME = (4003, "the session has ended: it has lived as long as a session may")
    ENDED = (4004, "the session was ended")
    RESTART = (1012, "the service restarts: come back")

    @property
    def code(self) -> int:
        """The close code of WebSocket."""
        return self.value[0]

    @property
    def message(self) -> str:
        """What the client is told."""
        return self.value[1]


SLOW_READER = 1
"""Why a session is held back: its client does not read the answers that it has,"""
GENERATES = 2
"""or what it generates is not over. Bits: of an enumeration, asking for none takes as long as a sample."""


class Receiver(Protocol):
    """Who gets the reply to a message: one for each, in the order of the messages."""

    def answer(self, answers: bytes) -> None:
        """Take the answers to the samples of a message, one after the other."""

    def refuse(self, error: GrurtError) -> None:
        """Take the reason for which a message was refused: the session is as it was."""


class Holder(Protocol):
    """Who holds a session, and sends to it: a connection."""

    replays: bool
    """Whether it keeps its samples, and sends those again whose answers it has not got."""

    def ended(self, end: End) -> None:
        """Learn that one does not hold the session any more."""

    def checkpoint(self, steps: int) -> None:
        """Say when all answers up to this step have been received."""

    def durable(self, steps: int) -> None:
        """Learn that what led to this step may be forgotten."""

    def renewed(self) -> None:
        """Learn that the session has begun anew, on the model that has replaced its own."""

    def take_no_more(self) -> None:
        """Learn that the service ends: samples are not taken any more, but replies to checkpoints are."""

    def pause(self) -> None:
        """Learn that there is no room for more samples for now."""

    def resume(self) -> None:
        """Learn that there is room for more samples."""


Message = tuple[bytes, int, Receiver]
"""Samples, how many, and who gets the answers; with no samples, `Receiver.answer` is called in its turn."""


Watcher = Callable[["Layout", bytes, bytes], None]
"""Is shown samples and their answers, and how they lie."""


class Room(Protocol):
    """The sessions of one model, of which `grurt.serving.sessions` knows more."""

    by_key: dict[str, Any]


R = TypeVar("R", bound=Room)


class Session(Generic[R]):
    """The state of one client.

    Parameters
    ----------
    key
        Under which it is known: see `grurt.serving.names`.
    room
        The sessions of its model, among which it is.
    slot
        Its stream in their pool.
    now
        When it begins, in seconds of a monotonic clock.
    """

    __slots__ = (
        "began",
        "done",
        "held_back",
        "holder",
        "is_full",
        "is_in_turn",
        "is_renewed",
        "key",
        "last_answer",
        "n_samples",
        "n_waiting",
        "opening",
        "partial",
        "pending",
        "room",
        "safe",
        "slot",
        "token",
        "touched",
        "waiting",
        "watchers",
        "written",
    )

    def __init__(self, key: str, room: R, slot: int, now: float) -> None:
        self.key = key
        self.room = room
        self.slot = slot
        self.holder: Holder | None = None
        self.waiting: deque[Message] = deque()
        self.n_waiting = 0
        """Samples, those of messages that are begun among them; a message without any counts as one."""
        self.done = 0
        """Samples of the first message that are answered,"""
        self.partial: list[bytes] = []
        """and the answers."""
        self.is_in_turn = False
        self.is_full = False
        """Whether its holder was told to send no more for now."""
        self.held_back = 0
        """Why it is not advanced for now, if it is not."""
        self.is_renewed = False
        """Whether it has begun anew on another model, and its client was not told yet."""
        self.began = now
        self.touched = now
        """When it was advanced last, or held."""
        self.written = now
        """What the store has is not older than what it was then."""
        self.n_samples = 0
        self.last_answer = b""
        self.watchers: tuple[Watcher, ...] = ()
        self.opening: asyncio.Future[None] | None = None
        """Until it is known what the store has of it."""
        self.token = 0
        """By which the store knows that this process has the session; 0 where nothing is kept."""
        self.safe: tuple[int, bytes] | None = None
        """Of a client that replays: the latest state, with its step, whose answers the client has received,"""
        self.pending: tuple[int, bytes] | None = None
        """and a later one of which it has not said so yet."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody holds it, and nothing waits in it."""
        return self.holder is None and not self.waiting and self.opening is None and not self.held_back

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.room.by_key.get(self.key) is self
