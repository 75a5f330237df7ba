"""The port: requests of HTTP go to uvicorn, and those that become a WebSocket to picows.

uvicorn limits neither the time nor the size of a request's head, nor the number of connections; `FrontProtocol` does.
picows has no public way to take a connection over: `picows_protocol` calls its constructor, and pyproject.toml holds
picows at the releases for which that fits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httptools
from picows import WSAutoPingStrategy, WSListener, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from grurt.serving.connection import Connection
from grurt.serving.errors import ServingError
from grurt.serving.opening import Opening, read_opening
from grurt.serving.watcher import Watcher

if TYPE_CHECKING:
    from grurt.serving.access import Access
    from grurt.serving.limits import Limits
    from grurt.serving.service import Service

MAX_HEAD = 1 << 14
"""Bytes of a request's line and headers."""
_READ_BUFFER = 4096
PATH = "/ws"
WATCH = "/watch"

Front = Callable[[WSUpgradeRequest], WSListener | WSUpgradeResponseWithListener | None]

_silent = logging.getLogger("grurt.serving.websocket")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
_LOGGER = logging.LoggerAdapter(_silent, {})
"""Of a kind of which picows does not make another one for each connection."""


def picows_protocol(front: Front, limits: Limits) -> asyncio.BufferedProtocol:
    """Return picows's protocol for a connection whose request has just arrived."""
    is_client_side, disconnect_on_exception, enable_auto_ping, enable_auto_pong = False, True, True, True
    protocol: asyncio.BufferedProtocol = WSProtocol(
        None,
        None,
        is_client_side,
        front,
        _LOGGER,
        disconnect_on_exception,
        limits.handshake,
        enable_auto_ping,
        limits.ping,
        limits.ping,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong,
        limits.frame,
        None,
        _READ_BUFFER,
    )
    return protocol


def front_of(service: Service, access: Access) -> Front:
    """Return what answers to requests that want a WebSocket: with who talks to the client, or a refusal."""

    def front(request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        headers = request.headers
        address = urlsplit(request.path.decode("ascii", "replace"))
        try:
            access.expect_host(headers.getall("Host", []), headers.getall("Origin", []))
            opening = _opening(address.query, by_key=address.path == WATCH)
            token = opening.token if isinstance(opening, Opening) else None
            permit = access.permit(headers.get("Authorization"), token)
            if isinstance(opening, Opening) and opening.session is not None:
                permit.expect(opening.session)
        except ServingError as error:
            service.note_refusal(error)
            return _refusal(error)
        if address.path == WATCH and isinstance(opening, Opening):
            return Watcher(service, opening)
        return Connection(service, opening) if address.path == PATH else None

    return front


def _opening(query: str, *, by_key: bool) -> Opening | ServingError:
    """Return what a client asks for, or what is wrong with that: it is told as soon as it can be."""
    try:
        return read_opening(query, by_key=by_key)
    except ServingError as error:
        return error


def _refusal(error: ServingError) -> WSUpgradeResponseWithListener:
    response = WSUpgradeResponse.create_error_response(HTTPStatus(error.status), str(error).encode())
    return WSUpgradeResponseWithListener(response, None)


class _Phase(Enum):
    """What of a request has arrived."""

    HEAD = 1
    BODY = 2
    BETWEEN = 3


class FrontProtocol(HttpToolsProtocol):
    """A connection, until it is known what it wants."""

    limits: Limits
    n_websockets: Callable[[], int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._phase = _Phase.HEAD
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) + self.n_websockets() > self.limits.connections:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        """Wait for the rest of a request, but not for ever; one that arrives whole is not waited for."""
        seconds = self.limits.handshake if self._phase is _Phase.HEAD else self.limits.request
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._phase is not _Phase.BODY:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and b"\r\n\r\n" not in data[:MAX_HEAD]:
                self.send_400_response(f"expected a head of at most {MAX_HEAD} bytes")
                return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._become_websocket(data[upgrade.args[0] :])
            else:
                self.send_400_response("expected an upgrade to websocket, or none")
            return
        except httptools.HttpParserError:
            self.send_400_response("expected a request of HTTP/1.1")
            return
        if self._phase is not _Phase.BETWEEN and self._timer is None:
            self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase = _Phase.HEAD

    def on_headers_complete(self) -> None:
        self._phase = _Phase.BODY
        self._head_bytes = 0
        self._wait_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._phase = _Phase.BETWEEN
        self._wait_no_more()
        super().on_message_complete()

    def _become_websocket(self, rest: bytes) -> None:
        """Let picows have the connection, with the head that has arrived, and what came behind it."""
        self._wait_no_more()
        self.connections.discard(self)
        lines = [b" ".join([self.scope["method"].encode(), self.url, b"HTTP/1.1"])]
        lines += [b": ".join(header) for header in self.headers]
        protocol: asyncio.BufferedProtocol = self.config.ws()  # type: ignore[assignment, operator]
        transport = self.transport
        vars(self).clear()  # uvloop keeps this object as long as the connection, though it has done its work
        transport.pause_reading()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()
        _feed(protocol, b"\r\n".join([*lines, b"", b""]) + rest)


def _feed(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Hand data to a protocol that provides the memory for them."""
    while data:
        buffer = protocol.get_buffer(len(data))
        n_bytes = min(len(buffer), len(data))  # type: ignore[arg-type]
        buffer[:n_bytes] = data[:n_bytes]  # type: ignore[index]
        protocol.buffer_updated(n_bytes)
        data = data[n_bytes:]


def front_protocol(limits: Limits, n_websockets: Callable[[], int]) -> type[FrontProtocol]:
    """Return the class of connections with some limits, beside so many that are a WebSocket already."""
    return type("FrontProtocol", (FrontProtocol,), {"limits": limits, "n_websockets": staticmethod(n_websockets)})


def websocket_protocol(front: Front, limits: Limits) -> Any:
    """Return what is called for a connection that becomes a WebSocket."""
    return partial(picows_protocol, front, limits)
