"""The port: requests of HTTP go to uvicorn, and those that become a WebSocket to picows.

uvicorn limits neither the time nor the size of a request's head, nor the number of connections; `FrontProtocol` does.
picows has no public way to take a connection over: `picows_protocol` calls its constructor, and pyproject.toml holds
picows at the releases for which that fits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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

_logger = logging.getLogger("grurt.serving.websocket")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


def picows_protocol(front: Front, limits: Limits) -> asyncio.BufferedProtocol:
    """Return picows's protocol for a connection whose request has just arrived."""
    is_client_side, disconnect_on_exception, enable_auto_ping, enable_auto_pong = False, True, True, True
    protocol: asyncio.BufferedProtocol = WSProtocol(
        None,
        None,
        is_client_side,
        front,
        _logger,
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
            opening = _opening(address.query)
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


def _opening(query: str) -> Opening | ServingError:
    """Return what a client asks for, or what is wrong with that: it is told as soon as it can be."""
    try:
        return read_opening(query)
    except ServingError as error:
        return error


def _refusal(error: ServingError) -> WSUpgradeResponseWithListener:
    response = WSUpgradeResponse.create_error_response(HTTPStatus(error.status), str(error).encode())
    return WSUpgradeResponseWithListener(response, None)


class FrontProtocol(HttpToolsProtocol):
    """A connection, until it is known what it wants."""

    limits: Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.limits.handshake, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self._has_head(data):
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
        except httptools.HttpParserError:
            self.send_400_response("expected a request of HTTP/1.1")

    def _become_websocket(self, rest: bytes) -> None:
        """Let picows have the connection, with the head that has arrived, and what came behind it."""
        self._head_is_there()
        self.connections.discard(self)
        lines = [b" ".join([self.scope["method"].encode(), self.url, b"HTTP/1.1"])]
        lines += [b": ".join(header) for header in self.headers]
        protocol: asyncio.BufferedProtocol = self.config.ws()  # type: ignore[assignment, operator]
        self.transport.pause_reading()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        self.transport.resume_reading()
        _feed(protocol, b"\r\n".join([*lines, b"", b""]) + rest)

    def _has_head(self, data: bytes) -> bool:
        """Say whether data that are many may have a body behind a short head."""
        return b"\r\n\r\n" in data[:MAX_HEAD]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._head_bytes = 0
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()


def _feed(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Hand data to a protocol that provides the memory for them."""
    while data:
        buffer = protocol.get_buffer(len(data))
        n_bytes = min(len(buffer), len(data))  # type: ignore[arg-type]
        buffer[:n_bytes] = data[:n_bytes]  # type: ignore[index]
        protocol.buffer_updated(n_bytes)
        data = data[n_bytes:]


def front_protocol(limits: Limits) -> type[FrontProtocol]:
    """Return the class of connections with some limits."""
    return type("FrontProtocol", (FrontProtocol,), {"limits": limits})


def websocket_protocol(front: Front, limits: Limits) -> Any:
    """Return what is called for a connection that becomes a WebSocket."""
    return partial(picows_protocol, front, limits)
