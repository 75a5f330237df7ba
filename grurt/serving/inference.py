"""Requests of the Open Inference Protocol, whichever way they come: they hold no session, and wait for their turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from grurt.serving.errors import ModelReplacedError, UnknownModelError

if TYPE_CHECKING:
    from grurt.errors import GrurtError
    from grurt.serving.access import Permit
    from grurt.serving.inference_protocol import InferenceRequest
    from grurt.serving.layout import Layout
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession, Sessions
    from grurt.serving.whole import WholeModel


class Reply:
    """Receives the answers to a message for who awaits them.

    Parameters
    ----------
    session
        Of the message.
    """

    def __init__(self, session: OneSession) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._session = session
        self.version = 0
        """Of the model that has answered."""
        self.is_renewed = False
        """Whether that was the first answer after the session has begun anew on another model."""

    def answer(self, answers: bytes) -> None:
        session = self._session
        self.version = session.room.version
        self.is_renewed, session.is_renewed = session.is_renewed, False
        if not self.future.done():
            self.future.set_result(answers)

    def refuse(self, error: GrurtError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Pending:
    """A request whose samples wait for their turn, or are answered.

    Parameters
    ----------
    service, session
        What it is about.
    request
        What is asked for.
    """

    def __init__(self, service: Service, session: OneSession, request: InferenceRequest) -> None:
        self._service = service
        self._session = session
        self.model = session.room.name
        self.request = request
        self.reply = Reply(session)
        session.room.turns.submit(session, (request.samples, request.n_samples, self.reply))

    async def answers(self) -> bytes:
        """Wait for the answers, and `close`. Raises GrurtError if the samples were refused."""
        try:
            return await self.reply.future
        finally:
            self.close()

    async def settled(self) -> None:
        """Wait until the samples are answered, or refused, and `close`."""
        await asyncio.wait([self.reply.future])
        self.close()

    def close(self) -> None:
        """End the session, if the request says so, or nobody else can name it."""
        if self.request.key is None or self.request.end:
            self._service.end(self._session)


def served_of(service: Service, model: str, version: str | None = None) -> Sessions | WholeModel:
    """Return the model that a request names, as the addresses of HTTP do. Raises UnknownModelError."""
    served = service.served(model)
    if served is None:
        raise UnknownModelError(f"Request for unknown model: {model!r} is not found")
    if version is not None and version != str(served.version):
        raise UnknownModelError(
            f"Request for unknown model: {model!r} version {version!r} is not found: expected {served.version}"
        )
    return served


def layout_for(service: Service, sessions: Sessions, key: str | None) -> Layout:
    """Return the layout for what begins, or for a session, which may be on a model that was replaced."""
    session = None if key is None else service.find(sessions.name, key)
    return sessions.layout if session is None else session.room.layout


def expect_layout(session: OneSession, layout: Layout) -> None:
    """Raise ModelReplacedError if samples of a layout are no longer those of the session's model."""
    if session.room.layout is not layout and not session.room.layout.is_like(layout):
        raise ModelReplacedError("the model was replaced while this waited, and the samples do not fit the new one")


async def submit(service: Service, sessions: Sessions, request: InferenceRequest, permit: Permit) -> Pending:
    """Let the samples of a request wait for their turn; whoever calls sees to it that what is returned is closed.

    Raises
    ------
    ServingError, InputShapeError, InputValueError
        If the client may not, the session cannot be had, there are too many samples, or one is none.
    """
    if request.key is not None:
        permit.expect(request.key)
    if request.n_samples > 1:
        service.expect_room_for(request.layout, request.n_samples)
        request.layout.expect_sound(request.samples)
    service.expect_to_go_on()
    session = _session_at_hand(service, sessions, request)
    if session is None:
        session = await service.open(sessions, request.key, None, reset=request.start, begin=request.start)
        service.expect_to_go_on()
    expect_layout(session, request.layout)
    return Pending(service, session, request)


def _session_at_hand(service: Service, sessions: Sessions, request: InferenceRequest) -> OneSession | None:
    """Return the session of a request, if nothing has to be awaited for it: the usual case."""
    if request.key is None:
        return service.begin_nameless(sessions)
    session = None if request.start else service.find(sessions.name, request.key)
    is_free = session is not None and session.holder is None and session.opening is None and session.safe is None
    return session if is_free else None
