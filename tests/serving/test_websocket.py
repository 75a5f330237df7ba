"""Sessions over WebSocket, with the client `websockets`, against a process of `grurt serve`."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import sqlite3
import ssl
import struct
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Process, asked, hello, mixed_model, saved, serving, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from grurt.demo import MODEL_PATH, load_model, load_recordings

pytestmark = pytest.mark.slow

SAMPLES = load_recordings().samples


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    mixed = saved(mixed_model(), tmp_path_factory.mktemp("serving"), "mixed")
    with serving(MODEL_PATH, mixed, "--max-message", 4096) as process:
        yield process


def closed(connection: ClientConnection) -> tuple[int, str]:
    """Return the code and the reason with which a connection is closed, after any further messages."""
    try:
        while True:
            connection.recv(timeout=20)
    except ConnectionClosed as end:
        closing = end.rcvd
    assert closing is not None
    return closing.code, closing.reason


def test_the_hello_says_what_a_client_has_to_know(service: Process) -> None:
    with service.connect("model=mixed") as connection:
        found = hello(connection)
    assert found | {"session": "", "fingerprint": ""} == {
        "model": "mixed",
        "version": "1",
        "fingerprint": "",
        "session": "",
        "steps": 0,
        "inputs": [
            {"name": "sensor", "dtype": "float32", "shape": [3]},
            {"name": "word", "dtype": "int64", "shape": [], "vocabulary_size": 7},
        ],
        "outputs": [
            {"name": "answer", "dtype": "float32", "shape": [2]},
            {"name": "hidden", "dtype": "float32", "shape": [4]},
        ],
        "sample_bytes": 20,
        "answer_bytes": 24,
        "max_message_bytes": 4096,
        "stored": False,
    }
    assert found["fingerprint"] == mixed_model().fingerprint.hex()


def test_binary_messages_give_the_bits_of_a_stream(service: Process) -> None:
    with service.connect("model=activity") as connection:
        hello(connection)
        stream = load_model().stream()
        for sample in SAMPLES[3, :30]:
            assert asked(connection, sample.tobytes()) == stream.step(sample).tobytes()
        assert asked(connection, SAMPLES[3, 30:].tobytes()) == stream.run(SAMPLES[3, 30:]).tobytes()


def test_json_is_answered_in_json(service: Process) -> None:
    stream = load_model().stream()
    with service.connect("model=activity") as connection:
        hello(connection)
        reply = asked(connection, SAMPLES[0, 0].tolist())
        np.testing.assert_array_equal(np.array(reply["outputs"]["probabilities"], "f4"), stream.step(SAMPLES[0, 0]))
        assert reply["steps"] == 1
        reply = asked(connection, {"samples": SAMPLES[0, 1:4].tolist()})
        np.testing.assert_array_equal(np.array(reply["outputs"]["probabilities"], "f4"), stream.run(SAMPLES[0, 1:4]))
        assert reply["steps"] == 4


def test_messages_of_both_kinds_to_several_inputs(service: Process) -> None:
    model = mixed_model()
    stream = model.stream()
    sensor, word = np.array([0.5, -1, 2], "<f4"), np.array(6, "<i8")
    with service.connect("model=mixed") as connection:
        hello(connection)
        answer = stream.step({"sensor": sensor, "word": 6})
        found = asked(connection, sensor.tobytes() + word.tobytes())
        assert found == answer["answer"].tobytes() + answer["hidden"].tobytes()
        reply = asked(connection, {"sensor": sensor.tolist(), "word": 6})
        expected = stream.step({"sensor": sensor, "word": 6})["answer"]
        np.testing.assert_array_equal(np.array(reply["outputs"]["answer"], "f4"), expected)


def test_the_state_stays_when_the_connection_ends(service: Process) -> None:
    stream = load_model().stream()
    for start in (0, 40, 70):
        with service.connect("session=stays&model=activity") as connection:
            assert hello(connection)["steps"] == start
            end = {0: 40, 40: 70, 70: 100}[start]
            assert asked(connection, SAMPLES[1, start:end].tobytes()) == stream.run(SAMPLES[1, start:end]).tobytes()


def test_without_a_name_a_session_ends_with_its_connection(service: Process) -> None:
    for _ in range(2):
        with service.connect("model=activity") as connection:
            assert hello(connection)["steps"] == 0
            asked(connection, SAMPLES[0, :3].tobytes())


def test_commands(service: Process) -> None:
    stream = load_model().stream()
    with service.connect("session=commands&model=activity") as connection:
        hello(connection)
        stream.run(SAMPLES[2, :9])
        asked(connection, SAMPLES[2, :9].tobytes())
        assert base64.b64decode(asked(connection, {"command": "snapshot"})["snapshot"]) == stream.snapshot()
        state = asked(connection, {"command": "state"})["state"]
        np.testing.assert_array_equal(np.array(state["gru"], "f4"), stream.state["gru"])
        assert asked(connection, {"command": "reset"}) == {"reset": True, "steps": 0}
        assert asked(connection, SAMPLES[2, 0].tobytes()) == load_model().stream().step(SAMPLES[2, 0]).tobytes()
        connection.send(json.dumps({"command": "end"}))
        assert closed(connection) == (1000, "the session has ended")
    with service.connect("session=commands&model=activity") as connection:
        assert hello(connection)["steps"] == 0


NAN = np.full(6, np.nan, "f4").tobytes()


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (b"", "InputShapeError", "message: expected samples of 24 bytes each"),
        (b"x" * 25, "InputShapeError", "message: expected samples of 24 bytes each"),
        (NAN, "InputValueError", "expected finite numbers, got nan"),
        (SAMPLES[0, 0].tobytes() + NAN, "InputValueError", r"at \[1, 0\]"),
        ("{", "InputTypeError", "message: expected JSON, with finite numbers"),
        ("[NaN]", "InputTypeError", "expected JSON"),
        ("[" * 2000 + "]" * 2000, "InputTypeError", "expected JSON"),
        ("[" * 100 + "1" + "]" * 100, "InputShapeError", "input 'samples': expected lists of at most 32 levels"),
        ("[1, 2]", "InputShapeError", "expected shape"),
        ("null", "InputTypeError", "NoneType"),
        ('{"samples": "x"}', "InputTypeError", "str"),
        ('{"other": [1]}', "InputShapeError", "inputs by name"),
        ('{"command": "shutdown"}', "ServingError", "expected one of reset"),
        ('{"command": "reset", "now": true}', "ServingError", "alone"),
        ('{"command": "received", "steps": "7"}', "ServingError", "received: expected steps, an integer, got"),
    ],
)
def test_an_error_leaves_the_session_as_it_was(service: Process, message: Any, kind: str, text: str) -> None:
    stream = load_model().stream()
    with service.connect("model=activity") as connection:
        hello(connection)
        stream.run(SAMPLES[0, :2])
        asked(connection, SAMPLES[0, :2].tobytes())
        connection.send(message)
        reply = json.loads(connection.recv(timeout=20))
        assert (reply["error"]["kind"], reply["steps"]) == (kind, 2)
        assert re.search(text, reply["error"]["message"])
        assert asked(connection, SAMPLES[0, 2].tobytes()) == stream.step(SAMPLES[0, 2]).tobytes()


def test_replies_come_in_the_order_of_the_messages(service: Process) -> None:
    with service.connect("model=activity") as connection:
        hello(connection)
        sample = SAMPLES[0, 0].tobytes()
        for message in (sample, b"?", sample * 3, json.dumps({"command": "reset"}), NAN, sample):
            connection.send(message)
        replies = [connection.recv(timeout=20) for _ in range(6)]
    assert [type(reply) for reply in replies] == [bytes, str, bytes, str, str, bytes]
    assert replies[0] == replies[5]


def test_a_second_connection_is_refused_unless_it_takes_over(service: Process) -> None:
    with service.connect("session=once&model=activity") as first:
        hello(first)
        asked(first, SAMPLES[0, :5].tobytes())
        with service.connect("session=once&model=activity") as second:
            assert closed(second) == (
                1008,
                "session 'once' is in use: close its other connection, or take it over with takeover=1",
            )
        with service.connect("session=once&model=activity&takeover=1") as third:
            assert hello(third)["steps"] == 5
            assert closed(first) == (4001, "another connection has taken the session over")
            asked(third, SAMPLES[0, 5].tobytes())
    with service.connect("session=once&model=activity&reset=1") as connection:
        assert hello(connection)["steps"] == 0


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("model=nothing", "model: expected one of activity, mixed, got nothing"),
        ("", "model: expected one of activity, mixed, got none"),
        ("model=activity&session=..%2F..%2Fetc", "session: expected 1 to 128"),
        ("model=activity&session=%1b%5b2J", "session: expected 1 to 128"),
        ("modell=activity", "query: expected some of"),
    ],
)
def test_what_cannot_be_opened(service: Process, query: str, reason: str) -> None:
    with service.connect(query) as connection:
        code, found = closed(connection)
        assert code == 1008
        assert found.startswith(reason)


def test_a_page_of_somebody_else_is_refused(service: Process) -> None:
    for options in ({"origin": "https://evil.example"}, {"additional_headers": {"Host": "evil.example"}}):
        with pytest.raises(InvalidStatus) as caught:
            service.connect("model=activity", **options)
        assert caught.value.response.status_code == 403
    with service.connect("model=activity", origin=service.address) as connection:
        hello(connection)


def test_messages_in_parts(service: Process) -> None:
    payload = SAMPLES[0, :10].tobytes()
    with service.connect("model=activity") as connection:
        hello(connection)
        connection.send([payload[:7], payload[7:100], payload[100:]])
        assert connection.recv(timeout=20) == load_model().stream().run(SAMPLES[0, :10]).tobytes()


def test_a_message_that_is_too_large_ends_the_connection(service: Process) -> None:
    reasons = ("", "expected a message of at most 4096 bytes, and parts that are not tiny")
    for message, reason in zip((bytes(5000), [bytes(3000), bytes(3000)]), reasons, strict=True):
        with service.connect("model=activity") as connection:
            hello(connection)
            with suppress(ConnectionClosed):  # where the service is quicker than what is still to be sent
                connection.send(message)
            code, found = closed(connection)
            assert code == 1009
            assert reason in found


def test_who_does_not_wait_for_the_hello(tmp_path: Path) -> None:
    """Whether the hello is quicker than a hundred messages depends on the store, which does not answer here."""
    state = tmp_path / "states.db"
    with serving(MODEL_PATH, "--state", f"sqlite:///{state}") as process:
        with sqlite3.connect(state, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            with process.connect("session=ann") as connection:
                with suppress(ConnectionClosed):
                    for _ in range(100):
                        connection.send(b"x")
                assert closed(connection) == (1008, "expected the client to wait for the hello")
            other.execute("ROLLBACK")
        wait_for(lambda: process.status("/readyz")[0] == 200)


def test_a_session_that_replays_is_not_reset(service: Process) -> None:
    with service.connect("model=activity&session=replayed&replay=1") as connection:
        hello(connection)
        error = asked(connection, {"command": "reset"})["error"]["message"]
        assert error == "reset: a session that replays counts on from step to step: begin another one"


def handshake(service: Process, query: str = "model=activity") -> socket.socket:
    """Return a bare socket, behind the hello."""
    bare = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    bare.sendall(
        f"GET /ws?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    received = b""
    while b'"stored":' not in received:
        part = bare.recv(65536)
        assert part, received
        received += part
    return bare


def masked(payload: bytes, first: int = 0x82) -> bytes:
    return struct.pack("!BBI", first, 0x80 | len(payload), 0) + payload


def test_messages_that_come_with_the_handshake_are_answered(service: Process) -> None:
    bare = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    head = (
        "GET /ws?model=activity HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    bare.sendall(head.encode() + masked(SAMPLES[0, 0].tobytes()))
    expected = load_model().stream().step(SAMPLES[0, 0]).tobytes()
    received = b""
    while not received.endswith(expected):
        part = bare.recv(65536)
        assert part, received
        received += part
    bare.close()


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        (masked(b"\xff\xfe", 0x81), 1007, "expected text in UTF-8"),
        (masked(bytes(24), 0xC2), 1002, "expected a frame without extensions, got one that is compressed"),
        (masked(bytes(24), 0x80), 1002, "expected the parts of a message one after the other"),
        (masked(bytes(24), 0x02) + masked(bytes(24)), 1002, "expected the rest of a message, got another one"),
        (b"\x82\x18" + bytes(24), 1002, ""),
        (masked(bytes(24), 0x83), 1002, ""),
        (b"\x89\xfe\x00\xff" + bytes(4 + 255), 1002, ""),
        (b"\x82\xff" + b"\xff" * 8, 1002, ""),
        (b"\x82\xff" + struct.pack("!Q", 1 << 40), 1009, ""),
    ],
    ids=[
        "no UTF-8", "compressed", "a part without a beginning", "a part without its rest", "no mask", "opcode",
        "long ping", "length", "giant",
    ],
)  # fmt: skip
def test_frames_that_are_none(service: Process, frame: bytes, code: int, reason: str) -> None:
    bare = handshake(service)
    bare.sendall(frame)
    received = b""
    while part := bare.recv(65536):
        received += part
    bare.close()
    assert struct.pack("!H", code) + reason.encode() in received
    with service.connect("model=activity") as connection:
        hello(connection)


def test_a_slow_reader_is_not_advanced_and_takes_no_memory(service: Process) -> None:
    bare = handshake(service, "model=activity&session=slow")
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    before = resident(service.pid)
    bare.settimeout(2)
    frames = masked(SAMPLES[0, 0].tobytes()) * 1000
    sent = 0
    with suppress(TimeoutError):
        while sent < 50 << 20:
            sent += bare.send(frames)
    assert sent < 50 << 20, "the service reads on and on"
    assert resident(service.pid) - before < 20 << 20
    with service.connect("model=activity") as connection:
        hello(connection)
        assert len(asked(connection, SAMPLES[0, 0].tobytes())) == 16
    bare.close()


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_and_tell_clients_to_come_back(number: signal.Signals) -> None:
    with serving(MODEL_PATH) as process:
        with process.connect("session=ann") as connection:
            hello(connection)
            asked(connection, SAMPLES[0, 0].tobytes())
            begun = time.monotonic()
            process._process.send_signal(number)
            assert closed(connection) == (1012, "the service restarts: come back")
        assert process.end(None) == ({signal.SIGTERM: 0, signal.SIGINT: 130}[number], "")
        assert time.monotonic() - begun < 20


def test_too_many_sessions() -> None:
    with (
        serving(MODEL_PATH, "--max-sessions", 2) as process,
        process.connect("session=a") as first,
        process.connect("session=b") as second,
    ):
        hello(first)
        hello(second)
        with process.connect("session=c") as third:
            code, reason = closed(third)
            assert code == 1013
            assert reason.startswith("expected at most 2 sessions, and there are as many")


def test_an_idle_session_ends_and_its_client_is_told() -> None:
    with serving(MODEL_PATH, "--idle", 0.5) as process, process.connect("session=a") as connection:
        hello(connection)
        assert closed(connection)[0] == 4002


def test_sessions_may_be_dropped_with_their_connection() -> None:
    with serving(MODEL_PATH, "--drop") as process:
        for _ in range(2):
            with process.connect("session=a") as connection:
                assert hello(connection)["steps"] == 0
                asked(connection, SAMPLES[0, 0].tobytes())


def test_tls(certificate: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("token-of-everybody-1\n")
    trusted = ssl.create_default_context(cafile=certificate)
    arguments = ("--certificate", certificate, "--tokens", tokens, "--host", "0.0.0.0", "--allow-host", "localhost")
    with serving(MODEL_PATH, *arguments) as process:
        assert process.address.startswith("https://0.0.0.0:")
        process.address = process.address.replace("0.0.0.0", "localhost")
        with process.connect("token=token-of-everybody-1", ssl=trusted) as connection:
            hello(connection)
            stream = load_model().stream()
            for sample in SAMPLES[0, :20]:
                assert asked(connection, sample.tobytes()) == stream.step(sample).tobytes()
            assert asked(connection, SAMPLES[0, 20:].tobytes()) == stream.run(SAMPLES[0, 20:]).tobytes()
        with urllib.request.urlopen(f"{process.address}/livez", timeout=20, context=trusted) as response:
            assert response.read() == b"live\n"
        with socket.create_connection(("127.0.0.1", process.port), timeout=20) as plain:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert plain.recv(100) == b""


def test_no_more_connections_than_allowed() -> None:
    with serving(MODEL_PATH, "--max-connections", 2) as process:
        with process.connect("session=a") as first, process.connect("session=b") as second:
            hello(first)
            hello(second)
            with socket.create_connection(("127.0.0.1", process.port), timeout=20) as third, suppress(OSError):
                third.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert third.recv(100) == b""
        wait_for(lambda: process.status("/livez")[0] == 200)


def test_tokens_are_bound_to_names(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("token-of-everybody-1\ntoken-of-ann-alone-2 ann/\n")
    with serving(MODEL_PATH, "--tokens", path) as process:
        for options in ({}, {"additional_headers": {"Authorization": "Bearer wrong"}}):
            with pytest.raises(InvalidStatus) as caught:
                process.connect("session=ann/1", **options)
            assert caught.value.response.status_code == 401
        ann = {"additional_headers": {"Authorization": "Bearer token-of-ann-alone-2"}}
        with process.connect("session=ann/1", **ann) as connection:
            hello(connection)
        for query in ("session=bob/1&takeover=1", "session=bob/1&reset=1"):
            with pytest.raises(InvalidStatus) as caught:
                process.connect(query, **ann)
            assert caught.value.response.status_code == 403
        with process.connect("session=bob/1&token=token-of-everybody-1") as connection:
            hello(connection)
