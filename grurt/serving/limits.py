"""How much of everything a service allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a service; times in seconds, sizes in bytes.

    Parameters
    ----------
    sessions
        In memory, of all models. One more is refused, unless a store can take one that nobody is connected to.
    idle
        After so long without a sample, or a connection, a session ends: here, and in the store.
    lifetime
        After so long a session ends in any case; None for never.
    keep
        Whether a session that has a name stays when its connection ends.
    frame
        Of a WebSocket message.
    body
        Of an HTTP request, also after it was decompressed.
    waiting
        Samples that wait in a session: from then on nothing is read from its connection.
    runs
        Requests for whole sequences of a model that run or wait at once, and such requests to generate.
    tokens
        Of a request to generate, those of its prompt among them.
    generation
        After so long nothing more is generated for a request.
    reply
        What the answers to a message may take.
    connections
        Open at once, of all kinds.
    handshake
        Until the head of a request has arrived.
    request
        Until the body of a request has arrived behind its head.
    ping
        A connection that is silent for so long is asked whether it is there, and has as long to answer.
    slow_reader
        A client that does not read its answers for so long is disconnected.
    """

    sessions: int = 20_000
    idle: float = 3600.0
    lifetime: float | None = None
    keep: bool = True
    frame: int = 1 << 16
    body: int = 1 << 20
    waiting: int = 32
    runs: int = 256
    tokens: int = 4096
    generation: float = 30.0
    reply: int = 1 << 26
    connections: int = 22_000
    handshake: float = 5.0
    request: float = 20.0
    ping: float = 20.0
    slow_reader: float = 30.0
