"""A service that keeps every client's state, and a client: `grurt serve`, `Client`, `SyncClient`.

A message's path through the rooms::

    protocol      the port: HTTP to uvicorn, WebSocket to picows; who may: access
    grpc, mqtt    ways in beside that port                      inference, inference_protocol
    connection    one client                                    opening, incoming, layout
    service       models with their sessions, and every second  limits
    sessions      who holds which, how they begin and end       session, names
    turns         what waits is advanced, by one call of a pool
    keeper        states are written behind                     checkpoints, stores

    client        sends samples, and again those whose answers it has not got    journal, layout
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grurt.serving.client import Client as Client
    from grurt.serving.sync_client import SyncClient as SyncClient

__all__ = ["Client", "SyncClient"]


def __getattr__(name: str) -> object:
    """Import the clients, and the package websockets, when somebody asks for them: a service needs neither."""
    if name == "Client":
        from grurt.serving.client import Client

        return Client
    if name == "SyncClient":
        from grurt.serving.sync_client import SyncClient

        return SyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
