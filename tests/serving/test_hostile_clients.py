"""Clients of thirty kinds that mean no good: another one beside them sees nothing of it."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from serving import Process, hello, serving

from grurt.demo import MODEL_PATH, load_model, load_recordings

pytestmark = pytest.mark.slow

SAMPLES = load_recordings().samples
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = "Sec-WebSocket-Version: 13\r\n"
HOST = "Host: localhost\r\n"
N_CONNECTIONS = 600


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    state = f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'states.db'}"
    with serving(MODEL_PATH, "--state", state, "--max-connections", 900) as process:
        yield process


def bare(service: Process, *parts: bytes | str, timeout: float = 0.3) -> bytes:
    """Send bytes, and return what comes within some time."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection, suppress(OSError):
        for part in parts:
            connection.sendall(part.encode() if isinstance(part, str) else part)
        connection.settimeout(timeout)
        while part := connection.recv(65536):
            received += part
    return received


def opened(path: str = "/ws?session=bad&takeover=1", headers: str = "") -> str:
    return f"GET {path} HTTP/1.1\r\n{HOST}{UPGRADE}{VERSION}{headers}\r\n"


def frame(payload: bytes, first: int = 0x82) -> bytes:
    size = struct.pack("!BB", first, 0x80 | len(payload)) if len(payload) < 126 else struct.pack(
        "!BBH", first, 0x80 | 126, len(payload)
    )  # fmt: skip
    return size + bytes(4) + payload


def posted(body: bytes, headers: str = "") -> bytes:
    return (
        f"POST /v2/models/activity/infer HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n{headers}\r\n".encode() + body
    )


def many(service: Process, head: bytes) -> None:
    """Open many connections that begin a request, and leave it at that."""
    connections = []
    try:
        for _ in range(N_CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
            connections.append(connection)
            with suppress(OSError):
                connection.sendall(head)
    finally:
        for connection in connections:
            connection.close()


def flood(service: Process) -> None:
    bare(service, opened(), *[frame(SAMPLES[0, 0].tobytes()) * 1000] * 20)


def vanish(service: Process) -> None:
    """Break off connections without a word, with samples on the way."""
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(opened("/ws").encode() + frame(SAMPLES[0, 0].tobytes()) * 10)
        connection.close()


def sequence(number: object) -> bytes:
    tensor = {"name": "samples", "shape": [1, 6], "datatype": "FP32", "data": [0] * 6}
    return json.dumps({"inputs": [tensor], "parameters": {"sequence_id": number, "sequence_start": True}}).encode()


KINDS: dict[str, Callable[[Process], object]] = {
    "half a handshake": lambda s: many(s, b"GET /ws HTTP/1.1\r\nHost: loc"),
    "nothing at all": lambda s: many(s, b""),
    "bytes that are no HTTP": lambda s: bare(s, bytes(range(256)) * 64),
    "a TLS hello": lambda s: bare(s, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    "an endless head": lambda s: bare(s, "GET / HTTP/1.1\r\n", *["X: " + "y" * 4000 + "\r\n"] * 50),
    "ten thousand headers": lambda s: bare(s, "GET / HTTP/1.1\r\n" + "a: b\r\n" * 10_000 + "\r\n"),
    "an endless address": lambda s: bare(s, "GET /" + "a" * 100_000 + f" HTTP/1.1\r\n{HOST}\r\n"),
    "two hosts": lambda s: bare(s, f"GET /api/sessions HTTP/1.1\r\n{HOST}Host: evil.example\r\n\r\n"),
    "a foreign page": lambda s: bare(s, opened(headers="Origin: https://evil.example\r\n")),
    "an upgrade to something else": lambda s: bare(
        s, f"GET / HTTP/1.1\r\n{HOST}Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    ),
    "a handshake without a key": lambda s: bare(
        s, f"GET /ws HTTP/1.1\r\n{HOST}Upgrade: websocket\r\nConnection: Upgrade\r\n{VERSION}\r\n"
    ),
    "a handshake of another version": lambda s: bare(
        s, f"GET /ws HTTP/1.1\r\n{HOST}{UPGRADE}Sec-WebSocket-Version: 7\r\n\r\n"
    ),
    "a path for a name": lambda s: bare(s, opened("/ws?session=..%2F..%2Fetc%2Fpasswd")),
    "a script for a name": lambda s: bare(s, opened("/ws?session=%3Cscript%3Ealert(1)%3C/script%3E")),
    "a terminal's commands for a name": lambda s: bare(s, opened("/ws?session=%1b%5D0;x%07")),
    "a file's path": lambda s: bare(s, f"GET /../../../../etc/passwd HTTP/1.1\r\n{HOST}\r\n"),
    "no mask": lambda s: bare(s, opened(), b"\x82\x18" + bytes(24)),
    "a giant frame": lambda s: bare(s, opened(), b"\x82\xff" + struct.pack("!Q", 1 << 40) + bytes(1000)),
    "empty frames": lambda s: bare(s, opened(), frame(b"") * 2000),
    "pings": lambda s: bare(s, opened(), frame(b"x" * 100, 0x89) * 2000),
    "parts without an end": lambda s: bare(s, opened(), frame(b"", 0x02), frame(b"x" * 20, 0x00) * 5000),
    "compressed frames": lambda s: bare(s, opened(), frame(bytes(24), 0xC2)),
    "text that is no UTF-8": lambda s: bare(s, opened(), frame(b"\xff" * 24, 0x81)),
    "deep JSON": lambda s: bare(s, opened(), frame(b"[" * 30_000, 0x81)),
    "JSON of another kind": lambda s: bare(s, opened(), frame(b'{"command": {"command": "reset"}}', 0x81)),
    "not a number": lambda s: bare(s, opened(), frame(struct.pack("<6f", *[float("nan")] * 6)) * 500),
    "half a sample": lambda s: bare(s, opened(), frame(bytes(23)) * 500),
    "a flood": flood,
    "clients that vanish": vanish,
    "a compressed bomb": lambda s: bare(
        s, posted(gzip.compress(bytes(100 << 20)), "Content-Encoding: gzip\r\n"), timeout=3
    ),
    "a body that does not come": lambda s: many(s, posted(b"x" * 1000)[:-500]),
    "a body of a negative length": lambda s: bare(s, f"POST /v2 HTTP/1.1\r\n{HOST}Content-Length: -5\r\n\r\n"),
    "two lengths": lambda s: bare(
        s, f"POST /v2 HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a thousand sequences": lambda s: bare(s, b"".join(posted(sequence(i)) for i in range(1, 1001)), timeout=3),
    "numbers that are none": lambda s: [bare(s, posted(sequence(n))) for n in (-1, 2**70, 1.5, True, None, [], "a b")],
}


class Calm:
    """A client that steps all the time, and looks at each answer."""

    def __init__(self, service: Process, number: int) -> None:
        self._service, self._number = service, number
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.n_answers = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> Calm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.failure is None, self.failure

    def _work(self) -> None:
        stream = load_model().stream()
        try:
            with self._service.connect(f"session=calm-{self._number}") as connection:
                hello(connection)
                while not self._stop.is_set() or not self.n_answers:
                    sample = SAMPLES[1, self.n_answers % 100]
                    connection.send(sample.tobytes())
                    assert connection.recv(timeout=20) == stream.step(sample).tobytes()
                    self.n_answers += 1
        except BaseException as error:
            self.failure = error


_numbers = itertools.count()


@pytest.mark.parametrize("kind", KINDS)
def test_others_see_nothing_of_it(service: Process, kind: str) -> None:
    with Calm(service, next(_numbers)) as calm:
        KINDS[kind](service)
    assert calm.n_answers
    assert service.status("/readyz")[0] == 200


def test_nothing_is_left_of_them(service: Process) -> None:
    memory = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * 4096
    assert memory < 400 << 20
    found = service.get("/api/sessions")
    assert all(session["session"].startswith(("calm-", "bad", "#")) for session in found["sessions"])
    assert {"forbidden", "name"} <= found["refused"].keys()
