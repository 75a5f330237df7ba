"""A WebSocket connection that holds a session.

Each message of the client gets one reply, in their order: answers in the form of the samples, or an error, after which
the session is as it was. docs/serving.md describes the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from grurt.errors import GrurtError
from grurt.escaping import shown
from grurt.serving.errors import ServingError, SessionEndedError, SlowReaderError
from grurt.serving.incoming import Incoming
from grurt.serving.session import SLOW_READER

if TYPE_CHECKING:
    from grurt.serving.opening import Opening
    from grurt.serving.service import Service
    from grurt.serving.session import End, Message
    from grurt.serving.sessions import OneSession

_BINARY, _TEXT, _CONTINUATION, _CLOSE, _PONG = (
    WSMsgType.BINARY,
    WSMsgType.TEXT,
    WSMsgType.CONTINUATION,
    WSMsgType.CLOSE,
    WSMsgType.PONG,
)
_CLOSING = 1.0
"""Seconds for which a client may take to answer to the end of its connection."""
_MAX_REASON = 123
_MAX_EARLY = 64
"""Messages before the hello; more are no way to begin."""


class Connection(WSListener):
    """One client, and its session.

    Parameters
    ----------
    service
        Whose.
    opening
        What the client asks for; or why it cannot have it, which it is told.
    """

    def __init__(self, service: Service, opening: Opening | ServingError) -> None:
        self._service = service
        self._opening = opening
        self.replays = not isinstance(opening, ServingError) and opening.replay
        self._session: OneSession | None = None
        self._intake: OneSession | None = None
        """The session, as long as whole messages of samples are taken,"""
        self._resting: OneSession | None = None
        """and while a message comes in parts."""
        self._incoming: Incoming | None = None
        self._early: list[tuple[bytes, bool]] = []
        self._fragments: list[bytes] = []
        self._fragments_are_text = False
        self._is_over = False
        self._is_read_slowly = False
        self._timer: asyncio.TimerHandle | None = None
        self._sample_bytes = 0
        self._submit: Callable[[OneSession, Message], None] = _forget

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._service.connections.add(self)
        self.answer: Callable[[bytes], None] = partial(transport.send, _BINARY)
        transport.underlying_transport.set_write_buffer_limits(high=self._service.limits.frame)
        self._task = self._loop.create_task(self._open())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        session = self._intake
        kind = frame.msg_type
        if session is not None and kind == _BINARY and frame.fin and not frame.rsv1:
            payload = frame.get_payload_as_bytes()
            if len(payload) == self._sample_bytes:
                self._submit(session, (payload, 1, self))
            elif self._incoming is not None:
                self._incoming.take_block(payload)
        elif not self._is_over:
            self._take_other(kind, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._is_over = True
        self._service.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._task.cancel()
        self._leave()

    def pause_writing(self) -> None:
        self._is_read_slowly = True
        self._transport.underlying_transport.pause_reading()
        if self._session is not None:
            self._session.held_back |= SLOW_READER
        self._timer = self._loop.call_later(self._service.limits.slow_reader, self._give_up_slow_reader)

    def resume_writing(self) -> None:
        self._is_read_slowly = False
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.room.turns.go_on(self._session, SLOW_READER)
        self.resume()

    def _give_up_slow_reader(self) -> None:
        self._service.note_refusal(SlowReaderError("the client did not read its answers"), self._key)
        self._transport.disconnect(graceful=False)

    # What a session calls: see `Holder` and `Receiver`.

    def refuse(self, error: GrurtError) -> None:
        """Tell the client why a message was refused."""
        if isinstance(error, SessionEndedError):
            return
        self._service.note_refusal(error, self._key)
        self.say({"error": {"kind": type(error).__name__, "message": shown(str(error))}, "steps": self._steps})

    def ended(self, end: End) -> None:
        """Tell the client that it does not have the session any more, and why."""
        self._session = self._intake = self._resting = None
        self.close(end.code, end.message)

    def renewed(self) -> None:
        """Tell the client that the session has begun anew on another model; it has not had a hello, or gets another."""
        if self._session is not None:
            self._greet(self._session)

    def take_no_more(self) -> None:
        """Take no more samples: what comes from now on is not answered, and has changed nothing."""
        self._intake = self._resting = None

    def checkpoint(self, steps: int) -> None:
        """Ask the client to say when it has all answers up to a step."""
        self.say({"checkpoint": steps})

    def durable(self, steps: int) -> None:
        """Tell the client up to which step it may forget its samples."""
        self.say({"durable": steps})

    def pause(self) -> None:
        """Read no more for now: enough waits."""
        self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read again, unless the client does not."""
        if not self._is_read_slowly and not self._is_over:
            self._transport.underlying_transport.resume_reading()

    # The session.

    async def _open(self) -> None:
        try:
            opening = self._opening
            if isinstance(opening, ServingError):
                raise opening
            sessions = self._service.sessions_of(opening.model)
            session = await self._service.open(
                sessions, opening.session, self, takeover=opening.takeover, reset=opening.reset
            )
        except GrurtError as error:
            self._service.note_refusal(error, self._key)
            self.close(error.close_code if isinstance(error, ServingError) else 1008, str(error))
            return
        if self._is_over:
            self._service.leave(session, self)
            return
        self._session = session
        self._intake = None if self._service.is_ending else session
        self._incoming = Incoming(self, self._service, session)
        self._greet(session)
        early, self._early = self._early, []
        for payload, is_text in early:
            self._take_message(payload, is_text=is_text)

    def _greet(self, session: OneSession) -> None:
        """Take samples in the form of the session's model, and tell the client which that is."""
        self._sample_bytes = session.room.layout.sample_bytes
        self._submit = session.room.turns.submit
        is_renewed, session.is_renewed = session.is_renewed, False
        self.say({"hello": self._hello(session) | ({"renewed": True} if is_renewed else {})})

    def _hello(self, session: OneSession) -> dict[str, Any]:
        room, limits = session.room, self._service.limits
        layout = room.layout
        return {
            "model": room.name,
            "version": str(room.version),
            "fingerprint": room.model.fingerprint.hex(),
            "session": session.key,
            "steps": room.steps(session),
            "inputs": [port.described() for port in layout.inputs],
            "outputs": [port.described() for port in layout.outputs],
            "sample_bytes": layout.sample_bytes,
            "answer_bytes": layout.answer_bytes,
            "max_message_bytes": limits.frame,
            "stored": bool(session.token),
        }

    @property
    def _key(self) -> str:
        if self._session is not None:
            return self._session.key
        return "" if isinstance(self._opening, ServingError) else self._opening.session or ""

    @property
    def _steps(self) -> int | None:
        return None if self._session is None else self._session.room.steps(self._session)

    def _leave(self) -> None:
        session, self._session, self._intake, self._resting = self._session, None, None, None
        # A circle with the transport would keep a model that was replaced.
        incoming, self._incoming, self._submit = self._incoming, None, _forget
        if incoming is not None:
            incoming.leave()
        if session is not None:
            self._service.leave(session, self)

    # Frames of the client.

    def _take_other(self, kind: WSMsgType, frame: WSFrame) -> None:
        if kind == _CLOSE:
            self.close(_echoed(frame.get_close_code()), "")
            self._transport.disconnect()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(1002, "expected a frame without extensions, got one that is compressed, or has others")
        elif kind == _CONTINUATION or not frame.fin:
            self._take_fragment(kind, frame)
        elif kind in (_BINARY, _TEXT) and self._fragments:
            self.close(1002, "expected the rest of a message, got another one")
        elif kind in (_BINARY, _TEXT):
            self._take_message(frame.get_payload_as_bytes(), is_text=kind == _TEXT)

    def _take_fragment(self, kind: WSMsgType, frame: WSFrame) -> None:
        is_first = kind != _CONTINUATION
        if is_first == bool(self._fragments):
            self.close(1002, "expected the parts of a message one after the other")
            return
        if is_first:
            self._fragments_are_text = kind == _TEXT
            self._resting, self._intake = self._intake, None
        self._fragments.append(frame.get_payload_as_bytes())
        limit = self._service.limits.frame
        if sum(map(len, self._fragments)) > limit or len(self._fragments) > limit // 16:
            self.close(1009, f"expected a message of at most {limit} bytes, and parts that are not tiny")
        elif frame.fin:
            message, self._fragments = b"".join(self._fragments), []
            self._intake, self._resting = self._resting, None
            self._take_message(message, is_text=self._fragments_are_text)

    def _take_message(self, payload: bytes, *, is_text: bool) -> None:
        if self._session is None:
            self._early.append((payload, is_text))
            if len(self._early) > _MAX_EARLY:
                self.close(1008, "expected the client to wait for the hello")
        elif self._incoming is not None:
            self._incoming.take(payload, is_text=is_text)

    def end(self) -> None:
        """End the session, as the client wishes."""
        session = self._session
        if session is not None:
            self._session = self._intake = self._resting = None
            session.holder = None
            self._service.end(session)
            self.close(1000, "the session has ended")

    # What is sent.

    def say(self, value: dict[str, Any]) -> None:
        """Send a message in JSON."""
        if not self._is_over:
            self._transport.send(_TEXT, orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))

    def close(self, code: int, reason: str) -> None:
        """Say the last word, and let the session go; a client that does not answer is cut off."""
        if self._is_over:
            return
        self._is_over = True
        self._transport.send_close(code, _fitting(reason))  # type: ignore[arg-type]
        self._loop.call_later(_CLOSING, self._transport.disconnect, False)
        self._leave()


def _forget(session: OneSession, message: Message) -> None:
    """Take what nobody takes."""


def _fitting(reason: str) -> bytes:
    """Return a reason as a close frame can hold it."""
    return shown(reason).encode()[:_MAX_REASON].decode(errors="ignore").encode()


def _echoed(code: Any) -> int:
    """Return the code with which to answer to a close frame."""
    number: int = getattr(code, "value", code)  # codes beyond the enumeration are plain integers
    return number or 1000
