"""The port of gRPC, from the first connection to the last word."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from grurt.errors import GrurtError
from grurt.serving.grpc.calls import Calls

if TYPE_CHECKING:
    from grurt.serving.access import Access
    from grurt.serving.limits import Limits
    from grurt.serving.service import Service

_GRACE = 2.0
"""Seconds for which calls may take to end."""
_MAX_HEAD = 1 << 14
_STREAMS_OF_A_CONNECTION = 1000


class GrpcServer:
    """The Open Inference Protocol over gRPC, as a way into a service.

    Parameters
    ----------
    service
        Whose models.
    access
        Who may.
    host, port
        Where; port 0 is any that is free.
    certificate, key
        Files in PEM format, for TLS; None for none. Without a key the file of the certificate has it, too.
    """

    def __init__(
        self,
        service: Service,
        access: Access,
        *,
        host: str,
        port: int,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._certificate, self._key = certificate, key
        self._calls = Calls(service, access)
        logger = logging.getLogger("grpc")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        self._server = grpc.aio.server(
            options=_options(service.limits), maximum_concurrent_rpcs=service.limits.connections
        )
        self._server.add_generic_rpc_handlers([self._calls.handler()])

    async def start(self) -> str:
        """Accept connections, and return what to say of it. Raises GrurtError if the port cannot be had."""
        name = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = self._listen(f"{name}:{self._port}")
        except RuntimeError as error:
            raise GrurtError(
                f"{self._host}, port {self._port}: gRPC cannot have it; another may be free: see --grpc-port"
            ) from error
        await self._server.start()
        return f"gRPC at {name}:{port}"

    def _listen(self, address: str) -> int:
        if self._certificate is None:
            return int(self._server.add_insecure_port(address))
        certificate = self._certificate.read_bytes()
        key = certificate if self._key is None else self._key.read_bytes()
        return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)])))

    async def stop(self) -> None:
        """Answer what was asked, tell clients to come back, and close."""
        for stream in self._calls.streams:
            stream.cut_off()
        await self._server.stop(_GRACE)


def _options(limits: Limits) -> list[tuple[str, int]]:
    """Return the limits as gRPC has them."""
    return [
        ("grpc.so_reuseport", 0),  # else two services have one port, and neither knows
        ("grpc.max_receive_message_length", limits.body),
        ("grpc.max_metadata_size", _MAX_HEAD),
        ("grpc.absolute_max_metadata_size", _MAX_HEAD),
        ("grpc.max_concurrent_streams", _STREAMS_OF_A_CONNECTION),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", int(1000 * limits.handshake)),
        ("grpc.keepalive_time_ms", int(1000 * limits.ping)),
        ("grpc.keepalive_timeout_ms", int(1000 * limits.ping)),
    ]
