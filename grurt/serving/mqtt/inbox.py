"""One session's messages, which are answered one after the other: each must find the state that the last one left."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from grurt.errors import GrurtError
from grurt.serving.errors import ServingError, SessionInUseError
from grurt.serving.inference import Reply as Awaited
from grurt.serving.inference import expect_layout, layout_for
from grurt.serving.mqtt.messages import Reply, Samples, answer, read, refusal, said
from grurt.serving.names import key_of_name
from grurt.serving.stores.base import LEASE

if TYPE_CHECKING:
    from grurt.serving.mqtt.messages import Arrived
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession, Sessions

_PAUSE = 0.5

Publish = Callable[[Reply, bool], None]
"""Takes a reply, and whether it is an error; of each message once, in their order."""


class DuplicateError(ServingError):
    """The samples of a message have been answered."""

    kind = "duplicate"


class GapError(ServingError):
    """Samples before those of a message are missing."""

    kind = "gap"


class Inbox:
    """The messages to one session.

    Parameters
    ----------
    service, model
        Whose; of which model.
    name
        The session's, which may be none.
    emptied
        Is called when nothing waits any more.
    """

    def __init__(self, service: Service, model: str, name: str, emptied: Callable[[], None]) -> None:
        self._service = service
        self._model = model
        self._name = name
        self._emptied = emptied
        self._waiting: deque[tuple[Arrived | GrurtError, Publish]] = deque()
        self._work: asyncio.Task[None] | None = None

    def take(self, arrived: Arrived | GrurtError, publish: Publish) -> None:
        """Let a message wait for its turn, or what is wrong with it."""
        self._waiting.append((arrived, publish))
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._answer_all())

    @property
    def work(self) -> asyncio.Task[None] | None:
        """What answers, as long as there is something to answer to."""
        return self._work

    async def _answer_all(self) -> None:
        try:
            while self._waiting and not self._service.is_ending:
                arrived, publish = self._waiting.popleft()
                try:
                    reply = await self._answer(arrived)
                except GrurtError as error:
                    if self._service.is_ending:
                        return  # neither answered nor acknowledged: the broker may send it again
                    self._refuse(error, publish)
                else:
                    publish(reply, False)
        finally:
            self._emptied()

    def _refuse(self, error: GrurtError, publish: Publish) -> None:
        self._service.note_refusal(error, self._name)
        session = self._service.find(self._model, self._name)
        steps = None if session is None else session.room.steps(session)
        publish(refusal(error, steps), True)

    async def _answer(self, arrived: Arrived | GrurtError) -> Reply:
        if isinstance(arrived, GrurtError):
            raise arrived
        service, key = self._service, key_of_name(self._name)
        sessions = service.sessions_of(self._model)
        layout = layout_for(service, sessions, key)
        asked = read(arrived, layout)
        session = await self._open(sessions, key, reset=asked == "reset")
        if asked == "reset":
            return said({"reset": True, "steps": 0})
        if isinstance(asked, str):
            service.end(session)
            return said({"ended": True, "steps": None})
        service.expect_room_for(layout, asked.count)
        while session.waiting or session.held_back:  # for somebody who came another way
            await _submitted(session, b"", 0).future
        service.expect_to_go_on()
        expect_layout(session, layout)
        asked = _fresh(asked, session, is_again=arrived.is_again)
        reply = _submitted(session, asked.content, asked.count)
        answers = await reply.future
        steps = session.room.steps(session)
        return answer(asked, answers, layout, steps, is_text=arrived.is_text, is_renewed=reply.is_renewed)

    async def _open(self, sessions: Sessions, key: str, *, reset: bool) -> OneSession:
        """Return the session; soon after the start, wait for those of a process that has died to be free."""
        while True:
            try:
                return await self._service.open(sessions, key, None, reset=reset)
            except SessionInUseError:
                if (
                    self._service.find(sessions.name, key) is not None
                    or perf_counter() - self._service.began > LEASE + _PAUSE
                ):
                    raise
                await asyncio.sleep(_PAUSE)


def _submitted(session: OneSession, samples: bytes, count: int) -> Awaited:
    """Let samples wait for their turn, and return what gets the answers."""
    reply = Awaited(session)
    session.room.turns.submit(session, (samples, count, reply))
    return reply


def _fresh(asked: Samples, session: OneSession, *, is_again: bool) -> Samples:
    """Return the samples that the session has not had. Raises DuplicateError, GapError."""
    steps = session.room.steps(session)
    if asked.step is None:
        if is_again:
            raise DuplicateError(
                "the broker has sent this before, and it has no step: whether it was answered cannot be known"
            )
        return asked
    if asked.step > steps:
        raise GapError(f"step: expected {steps}, the samples that the session has had, got {asked.step}: send them")
    n_had = steps - asked.step
    if n_had >= asked.count:
        raise DuplicateError(f"step: expected {steps}, as what came before was answered, got {asked.step}")
    size = session.room.layout.sample_bytes
    return replace(asked, content=asked.content[n_had * size :], count=asked.count - n_had)
