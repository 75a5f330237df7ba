"""States that outlive the process, with real processes, real stores, and clients of every kind."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from redis_servers import redis_server
from serving import Process, asked, hello, mixed_model, saved, serving, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from grurt.demo import MODEL_PATH, load_model, load_recordings
from grurt.errors import InputShapeError, InputValueError
from grurt.serving import Client, SyncClient
from grurt.serving.client import UnreachableError
from grurt.serving.errors import ServingError
from grurt.serving.journal import SessionLostError

pytestmark = pytest.mark.slow

SAMPLES = load_recordings().samples
EXPECTED = load_model().run(SAMPLES)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["sqlite", "redis"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the address of a store of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'states.db'}"
        return
    port = free_port()
    with redis_server(tmp_path, "--port", port, "--bind", "127.0.0.1"):
        yield f"redis://127.0.0.1:{port}"


def test_a_restart_loses_nothing(state: str) -> None:
    stream = load_model().stream()
    for start, end in ((0, 30), (30, 60), (60, 100)):
        with serving(MODEL_PATH, "--state", state) as process, process.connect("session=ann") as connection:
            found = hello(connection)
            assert (found["steps"], found["stored"]) == (start, True)
            assert asked(connection, SAMPLES[1, start:end].tobytes()) == stream.run(SAMPLES[1, start:end]).tobytes()


def test_samples_that_come_while_the_service_ends_change_nothing(tmp_path: Path) -> None:
    """It waits a second for a client that replays and says nothing: meanwhile another one sends in every form."""
    state = f"sqlite:///{tmp_path / 'states.db'}"
    with serving(MODEL_PATH, "--state", state) as process:
        with process.connect("session=silent&replay=1") as silent, process.connect("session=ann") as connection:
            hello(silent)
            hello(connection)
            asked(silent, SAMPLES[0, 0].tobytes())
            assert asked(connection, SAMPLES[1, :3].tobytes()) == EXPECTED[1, :3].tobytes()
            probe = http.client.HTTPConnection("127.0.0.1", process.port, timeout=20)
            assert status(probe) == (200, b"ready\n")
            process._process.send_signal(signal.SIGTERM)
            wait_for(lambda: status(probe) == (503, b"the service ends\n"))
            sample = SAMPLES[1, 3].tobytes()
            for message in (sample, sample * 2, json.dumps(SAMPLES[1, 3].tolist()), [sample[:5], sample[5:]], b"x"):
                connection.send(message)
            connection.send(json.dumps({"command": "generate", "prompt": [1]}))
            probe.close()
            with pytest.raises(ConnectionClosed, match="1012"):
                connection.recv(timeout=20)
        assert process.end(None) == (0, "")
    with serving(MODEL_PATH, "--state", state) as process, process.connect("session=ann") as connection:
        assert hello(connection)["steps"] == 3
        assert asked(connection, SAMPLES[1, 3].tobytes()) == EXPECTED[1, 3].tobytes()


def status(probe: http.client.HTTPConnection) -> tuple[int, bytes]:
    """Return what /readyz says over a connection that was made before."""
    probe.request("GET", "/readyz")
    response = probe.getresponse()
    return response.status, response.read()


def test_a_session_that_ended_is_forgotten(state: str) -> None:
    with serving(MODEL_PATH, "--state", state) as process, process.connect("session=ann") as connection:
        hello(connection)
        asked(connection, SAMPLES[0, :9].tobytes())
        connection.send('{"command": "end"}')
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=20)
    with serving(MODEL_PATH, "--state", state) as process, process.connect("session=ann") as connection:
        assert hello(connection)["steps"] == 0


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'states.db'}"
    for seed, reason in ((1, ""), (2, "belongs to another model")):
        path = saved(mixed_model(seed), tmp_path, "mixed")
        with serving(path, "--state", state) as process:
            with process.connect("session=ann") as connection:
                if not reason:
                    assert hello(connection)["steps"] == 0
                    asked(connection, {"sensor": [0, 0, 0], "word": 1})
                else:
                    with pytest.raises(ConnectionClosed, match=reason):
                        connection.recv(timeout=20)
            if reason:
                with process.connect("session=ann&reset=1") as connection:
                    assert hello(connection)["steps"] == 0


def test_more_sessions_than_memory_takes_are_left_to_the_store(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'states.db'}"
    with serving(MODEL_PATH, "--state", state, "--max-sessions", 4) as process:
        for turn in range(2):
            for i in range(8):
                deadline = time.monotonic() + 20
                while True:  # states are written every second: until then there is no room
                    with process.connect(f"session=s{i}") as connection:
                        try:
                            found = hello(connection)
                        except ConnectionClosed:
                            assert connection.close_code == 1013
                            assert time.monotonic() < deadline
                            time.sleep(0.1)
                            continue
                        assert found["steps"] == turn
                        answer = asked(connection, SAMPLES[i, turn].tobytes())
                        assert answer == EXPECTED[i, turn].tobytes()
                        break


def test_two_processes_share_a_store(state: str) -> None:
    stream = load_model().stream()
    with (
        serving(MODEL_PATH, "--state", state) as first,
        serving(MODEL_PATH, "--state", state) as second,
        first.connect("session=ann") as one,
    ):
        hello(one)
        assert asked(one, SAMPLES[0, :7].tobytes()) == stream.run(SAMPLES[0, :7]).tobytes()
        with second.connect("session=ann") as refused, pytest.raises(ConnectionClosed, match="another process"):
            refused.recv(timeout=20)
        with second.connect("session=ann&takeover=1") as other:
            assert hello(other)["steps"] == 7, "the first process has written the latest state before it let go"
            with pytest.raises(ConnectionClosed, match="4001"):
                one.recv(timeout=20)
            assert asked(other, SAMPLES[0, 7:20].tobytes()) == stream.run(SAMPLES[0, 7:20]).tobytes()
        with first.connect("session=ann&takeover=1") as back:
            assert hello(back)["steps"] == 20


def test_a_process_that_stands_still_has_lost_its_session(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'states.db'}"
    with (
        serving(MODEL_PATH, "--state", state) as first,
        serving(MODEL_PATH, "--state", state) as second,
        first.connect("session=ann") as one,
    ):
        hello(one)
        asked(one, SAMPLES[0, :7].tobytes())
        with sqlite3.connect(tmp_path / "states.db") as database:
            wait_for(lambda: database.execute("SELECT saved FROM sessions").fetchone() != (None,))
        first._process.send_signal(signal.SIGSTOP)
        try:
            with second.connect("session=ann&takeover=1") as other:
                assert hello(other)["steps"] == 7
                assert asked(other, SAMPLES[0, 7:20].tobytes()) == EXPECTED[0, 7:20].tobytes()
        finally:
            first._process.send_signal(signal.SIGCONT)
        asked(one, SAMPLES[0, 50].tobytes())
        with pytest.raises(ConnectionClosed, match="4001"):
            one.recv(timeout=20)
    with serving(MODEL_PATH, "--state", state) as third, third.connect("session=ann") as connection:
        assert hello(connection)["steps"] == 20, "what the first process wrote later was not taken"


def test_a_store_that_is_away_is_told_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    listening = ("--port", port, "--bind", "127.0.0.1")
    with ExitStack() as servers:
        first = servers.enter_context(redis_server(tmp_path, *listening))
        process = servers.enter_context(serving(MODEL_PATH, "--state", f"redis://127.0.0.1:{port}"))
        with process.connect("session=ann") as connection:
            hello(connection)
            first.terminate()
            first.communicate(timeout=20)
            assert asked(connection, SAMPLES[0, 0].tobytes()) == EXPECTED[0, 0].tobytes()
            with process.connect("session=bob") as other, pytest.raises(ConnectionClosed, match="1011"):
                other.recv(timeout=20)
            servers.enter_context(redis_server(tmp_path, *listening))
            assert asked(connection, SAMPLES[0, 1].tobytes()) == EXPECTED[0, 1].tobytes()
        with process.connect("session=bob") as other:
            assert hello(other)["stored"]
        assert process.end() == (0, "")


def test_the_client_steps_as_a_stream(tmp_path: Path) -> None:
    with serving(MODEL_PATH, saved(mixed_model(), tmp_path, "mixed")) as process:
        with SyncClient(process.address, "ann", model="activity") as client:
            np.testing.assert_array_equal(client.step(SAMPLES[0, 0]), EXPECTED[0, 0])
            np.testing.assert_array_equal(client.step(SAMPLES[0, 1].tolist()), EXPECTED[0, 1])
            np.testing.assert_array_equal(client.run(SAMPLES[0, 2:50]), EXPECTED[0, 2:50])
            with pytest.raises(InputShapeError, match=r"expected shape \(6\), got \(5,\)"):
                client.step(SAMPLES[0, 0, :5])
            with pytest.raises(InputValueError, match="expected finite numbers, got nan"):
                client.step(np.full(6, np.nan))
            np.testing.assert_array_equal(client.step(SAMPLES[0, 50]), EXPECTED[0, 50])
            assert client.steps == 51
        stream = mixed_model().stream()
        with SyncClient(process.address, "bob", model="mixed") as client:
            inputs = {"sensor": np.array([1, 2, 3], "f4"), "word": 4}
            answers, expected = client.step(inputs), stream.step(inputs)
            assert isinstance(answers, dict)
            for name, array in expected.items():
                np.testing.assert_array_equal(answers[name], array)


def test_what_the_service_refuses_the_client_says(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("token-of-everybody-1\n")
    with serving(MODEL_PATH, "--tokens", path) as process:
        with pytest.raises(ServingError, match="401"), SyncClient(process.address, "ann"):
            pass
        token = "token-of-everybody-1"
        with pytest.raises(ServingError, match="expected 1 to 128"), SyncClient(process.address, "../ann", token=token):
            pass
        with SyncClient(process.address, "ann", token=token) as client:
            client.step(SAMPLES[0, 0])
            with pytest.raises(ServingError, match="is in use"), SyncClient(process.address, "ann", token=token):
                pass
            with SyncClient(process.address, "ann", token=token, takeover=True) as other:
                other.step(SAMPLES[0, 0])
                ended = r"service: another connection has taken the session over \(4001\)"
                with pytest.raises(ServingError, match=ended):
                    client.step(SAMPLES[0, 0])


def test_what_the_client_cannot_take(tmp_path: Path) -> None:
    for address in ("ftp://127.0.0.1", "127.0.0.1:8000", "http://", "http://a/?b=c"):
        with pytest.raises(ServingError, match=r"address: expected http://HOST:PORT, https:// or ws://"):
            SyncClient(address, "ann")
    with pytest.raises(ServingError, match="client: it is not connected yet: use 'async with'"):
        asyncio.run(Client("http://127.0.0.1", "ann").step([0]))
    with pytest.raises(ServingError, match=r"client: it is not connected: use 'with SyncClient\(...\) as client'"):
        SyncClient("http://127.0.0.1", "ann").step([0])
    inputs = {"sensor": np.zeros((2, 3)), "word": np.zeros(3, int)}
    with (
        serving(saved(mixed_model(), tmp_path, "mixed")) as process,
        SyncClient(process.address, "ann") as client,
        pytest.raises(InputShapeError, match="samples: expected as many of each input, and not none"),
    ):
        client.run(inputs)


def test_a_service_of_another_kind() -> None:
    def speak(connection: ServerConnection) -> None:
        connection.send('{"greeting": "hello"}')

    with serve(speak, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = SyncClient(f"http://127.0.0.1:{server.socket.getsockname()[1]}", "ann")
        with pytest.raises(ServingError, match="expected a message of grurt serve, got something else"), client:
            pass
        server.shutdown()
        thread.join()


def test_a_service_that_is_away() -> None:
    client = SyncClient(f"http://127.0.0.1:{free_port()}", "ann", patience=0.3)
    with pytest.raises(UnreachableError, match=r"could not be reached for 0\.3 s"), client:
        pass


def test_a_service_without_a_store_that_starts_anew_has_lost_the_session() -> None:
    port = free_port()
    first = Process(MODEL_PATH, port=port)
    with SyncClient(first.address, "ann") as client:
        client.step(SAMPLES[0, 0])
        wait_for(lambda: not client._client._journal.n_kept)  # type: ignore[union-attr]
        first.end(signal.SIGKILL)
        with serving(MODEL_PATH, port=port), pytest.raises(SessionLostError, match="begin another session"):
            client.step(SAMPLES[0, 1])


class Proxy:
    """Breaks the connections that go through it, at random moments, in the middle of what they carry."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port, self._rng = port, rng

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        n_bytes = [self._rng.randrange(800, 8000), self._rng.randrange(800, 8000)]

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int) -> None:
            while limit > 0 and (part := await source.read(min(limit, 1000))):
                limit -= len(part)
                target.write(part)
                await target.drain()

        ways = ((reader, back, n_bytes[0]), (there, writer, n_bytes[1]))
        pumps = [asyncio.create_task(pump(*way)) for way in ways]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for one in pumps:
            one.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for end in (writer, back):
            end.transport.abort()


def test_connections_that_break_lose_no_answer_and_give_none_twice() -> None:
    """The client checks by itself that what is computed again is the same; here, that nothing else is missing."""

    async def one(address: str, i: int) -> int:
        async with Client(address, f"s{i}") as client:
            answers = await asyncio.gather(*(client.step(sample) for sample in SAMPLES[i]))
            np.testing.assert_array_equal(np.stack(answers), EXPECTED[i])
            blocks = [await client.run(SAMPLES[i, start : start + 20]) for start in range(0, 100, 20)]
            stream = load_model().stream()
            stream.run(SAMPLES[i])
            np.testing.assert_array_equal(np.concatenate(blocks), stream.run(SAMPLES[i]))
            return client.reconnects

    async def main(port: int) -> int:
        async with Proxy(port, random.Random(4)) as address:
            return sum(await asyncio.gather(*(one(address, i) for i in range(10))))

    with serving(MODEL_PATH) as process:
        assert asyncio.run(main(process.port)) > 10


def kill_again_and_again(state: str, *, n_kills: int, n_clients: int, n_rounds: int) -> None:
    """Kill a service at random moments while clients send; each checks that it has every answer, once, bit for bit."""
    port = free_port()
    rng = random.Random(7)
    process = [Process(MODEL_PATH, "--state", state, port=port)]
    done = threading.Event()

    def kill() -> None:
        for _ in range(n_kills):
            time.sleep(rng.uniform(0.5, 3))
            process[0].end(signal.SIGKILL)
            process[0] = Process(MODEL_PATH, "--state", state, port=port)
        done.set()

    async def one(i: int) -> int:
        sequence, stream = SAMPLES[i % len(SAMPLES)], load_model().stream()
        n_answers = rounds = 0
        async with Client(f"http://127.0.0.1:{port}", f"client-{i}", patience=120) as client:
            while rounds < n_rounds or not done.is_set():
                rounds += 1
                answers = await asyncio.gather(*(client.step(sample) for sample in sequence))
                np.testing.assert_array_equal(np.stack(answers), stream.run(sequence))
                n_answers += len(answers)
                await asyncio.sleep(rng.uniform(0, 0.3))
            assert client.steps == n_answers
            return client.reconnects

    async def main() -> list[int]:
        return await asyncio.gather(*(one(i) for i in range(n_clients)))

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        reconnects = asyncio.run(main())
    finally:
        killer.join()
        assert process[0].end() == (0, "")
    assert min(reconnects) >= 1
    assert sum(reconnects) >= n_clients * n_kills / 2


def test_killed_at_random_moments(state: str) -> None:
    kill_again_and_again(state, n_kills=2, n_clients=12, n_rounds=2)


@pytest.mark.long
def test_killed_twenty_times_with_two_hundred_clients(tmp_path: Path) -> None:
    kill_again_and_again(f"sqlite:///{tmp_path / 'states.db'}", n_kills=20, n_clients=200, n_rounds=2)
