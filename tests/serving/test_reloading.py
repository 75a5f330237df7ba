"""Model files that are replaced while clients are connected: who goes on with which model, and who is told."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Inbox, Process, asked, hello, mixed_model, saved, serving, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

import grurt
from grurt.demo import load_model
from grurt.serving import SyncClient
from grurt.serving.journal import SessionLostError
from grurt.serving.limits import Limits
from grurt.serving.reloading import ModelFile, Reloader
from grurt.serving.service import Service

SAMPLE = {"sensor": [0.5, -1.0, 2.0], "word": 3}
BYTES = np.array([0.5, -1, 2], "<f4").tobytes() + np.array(3, "<i8").tobytes()


def answers_of(seed: int, n: int) -> list[bytes]:
    """Return what a model answers to the sample, n times from its initial state."""
    stream = mixed_model(seed).stream()
    return [b"".join(array.tobytes() for array in stream.step(SAMPLE).values()) for _ in range(n)]


def version(process: Process) -> str:
    return process.get("/v2/models/mixed")["versions"][0]  # type: ignore[no-any-return]


def metric(process: Process, name: str) -> float:
    (line,) = (line for line in process.get("/metrics").splitlines() if line.split("{")[0].split()[0] == name)
    return float(line.split()[-1])


def replace(process: Process, folder: Path, seed: int, expected: str) -> None:
    """Replace the model's file, and wait until it is served."""
    saved(mixed_model(seed), folder, "mixed")
    process._process.send_signal(signal.SIGHUP)
    wait_for(lambda: version(process) == expected)


def infer(process: Process, sequence: int, *, start: bool = False) -> dict[str, Any]:
    tensors = [
        {"name": "sensor", "datatype": "FP32", "shape": [1, 3], "data": SAMPLE["sensor"]},
        {"name": "word", "datatype": "INT64", "shape": [1], "data": [SAMPLE["word"]]},
    ]
    body = {"inputs": tensors, "parameters": {"sequence_id": sequence, "sequence_start": start}}
    request = urllib.request.Request(f"{process.address}/v2/models/mixed/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.loads(response.read())  # type: ignore[no-any-return]


def answer_of(reply: dict[str, Any]) -> bytes:
    return b"".join(np.array(output["data"], "<f4").tobytes() for output in reply["outputs"])


class LiveClient:
    """A client that sends samples, some ahead of their answers, until it is told to stop."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.hellos = [hello(self.connection)]
        self.runs: list[list[bytes]] = [[]]
        """The answers behind each hello."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        waiting = 0
        while waiting or not self._is_over.is_set():
            while waiting < 5 and not self._is_over.is_set():
                self.connection.send(BYTES)
                waiting += 1
            reply = self.connection.recv(timeout=20)
            if isinstance(reply, bytes):
                self.runs[-1].append(reply)
                waiting -= 1
            else:
                self.hellos.append(json.loads(reply)["hello"])
                self.runs.append([])

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()


@contextmanager
def live_clients(process: Process) -> Iterator[list[LiveClient]]:
    with ExitStack() as stack:
        connections = [stack.enter_context(process.connect(f"session=s{i}")) for i in range(4)]
        clients = [LiveClient(connection) for connection in connections]
        for client in clients:
            stack.callback(client.stop)
        yield clients


@pytest.mark.slow
def test_sessions_finish_on_the_model_that_they_have(tmp_path: Path) -> None:
    with serving(saved(mixed_model(1), tmp_path, "mixed")) as process:
        infer(process, 7, start=True)
        with live_clients(process) as clients:
            wait_for(lambda: all(len(client.runs[0]) > 100 for client in clients))
            replace(process, tmp_path, 2, "2")
            counts = [len(client.runs[0]) for client in clients]
            wait_for(lambda: all(len(c.runs[0]) > n + 100 for c, n in zip(clients, counts, strict=True)))
            with process.connect("session=new") as new:
                found = hello(new)
                assert (found["version"], found["fingerprint"]) == ("2", mixed_model(2).fingerprint.hex())
                assert asked(new, BYTES) == answers_of(2, 1)[0]
            old = infer(process, 7)
            assert (old["model_version"], answer_of(old), "parameters" in old) == ("1", answers_of(1, 2)[1], False)
            assert metric(process, "grurt_replaced_models") == 1
            for client in clients:
                client.stop()
        for client in clients:
            assert client.runs == [answers_of(1, len(client.runs[0]))]
        with process.connect("session=s0") as again:
            found = hello(again)
            assert (found["version"], found["steps"]) == ("1", len(clients[0].runs[0]))
        with process.connect("session=s0&reset=1") as again:
            assert hello(again)["version"] == "2"
            assert asked(again, BYTES) == answers_of(2, 1)[0]
        assert infer(process, 7, start=True)["model_version"] == "2"
        for name in ("s1", "s2", "s3"):
            with process.connect(f"session={name}") as again:
                hello(again)
                again.send('{"command": "end"}')
                with pytest.raises(ConnectionClosed):
                    again.recv(timeout=20)
        wait_for(lambda: metric(process, "grurt_replaced_models") == 0)
        assert metric(process, "grurt_model_changes_total") == 1
        assert metric(process, "grurt_sessions_renewed_total") == 0
        (listed,) = process.get("/api/sessions")["models"]
        assert (listed["version"], listed["fingerprint"]) == (2, mixed_model(2).fingerprint.hex())
        status, text = process.status("/v2/models/mixed/versions/1")
        assert (status, "is not found: expected 2" in text) == (404, True)


@pytest.mark.slow
def test_sessions_begin_anew_and_are_told(tmp_path: Path) -> None:
    with serving(saved(mixed_model(1), tmp_path, "mixed"), "--on-model-change", "reset") as process:
        infer(process, 7, start=True)
        with process.connect("session=away") as away:
            hello(away)
            asked(away, BYTES)
        with live_clients(process) as clients:
            for seed in (2, 3):
                counts = [len(client.runs[-1]) for client in clients]
                wait_for(lambda: all(len(c.runs[-1]) > n + 100 for c, n in zip(clients, counts, strict=True)))  # noqa: B023
                replace(process, tmp_path, seed, str(seed))
                wait_for(lambda: all(len(client.hellos) == seed for client in clients))  # noqa: B023
        for client in clients:
            assert [found["version"] for found in client.hellos] == ["1", "2", "3"]
            assert [found.get("renewed") for found in client.hellos] == [None, True, True]
            for seed, run in enumerate(client.runs, 1):
                assert run == answers_of(seed, len(run))
        for renewed, expected in ((True, answers_of(3, 1)[0]), (None, answers_of(3, 2)[1])):
            reply = infer(process, 7)
            assert (reply["model_version"], answer_of(reply)) == ("3", expected)
            assert reply.get("parameters", {}).get("renewed") is renewed
            with process.connect("session=away") as away:
                assert hello(away).get("renewed") is renewed
                assert asked(away, BYTES) == expected
        wait_for(lambda: metric(process, "grurt_replaced_models") == 0)
        assert metric(process, "grurt_sessions_renewed_total") == 12


@pytest.mark.slow
def test_a_file_that_cannot_be_served_leaves_the_old_model(tmp_path: Path) -> None:
    path = saved(mixed_model(1), tmp_path, "mixed")
    process = Process(path, "--watch-models")
    with process.connect("session=ann") as connection:
        hello(connection)
        path.write_bytes(path.read_bytes()[:-9])
        wait_for(lambda: metric(process, "grurt_model_change_failures_total") == 1)
        assert asked(connection, BYTES) == answers_of(1, 1)[0]
        path.unlink()
        process._process.send_signal(signal.SIGHUP)
        wait_for(lambda: metric(process, "grurt_model_change_failures_total") == 2)
        saved(mixed_model(2), tmp_path, "mixed")  # without a signal
        wait_for(lambda: version(process) == "2")
        assert asked(connection, BYTES) == answers_of(1, 2)[1]
    code, errors = process.end()
    assert code == 0
    lines = errors.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("note: mixed: the file cannot be served, and version 1 goes on: ") for line in lines)


@pytest.mark.slow
def test_what_the_store_has_goes_on_with_its_own_model_or_begins_anew(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'states.db'}"
    path = saved(mixed_model(1), tmp_path, "mixed")
    with serving(path, "--state", state) as process, process.connect("session=ann") as connection:
        hello(connection)
        assert asked(connection, BYTES) == answers_of(1, 1)[0]
    with serving(path, "--state", state) as process:
        replace(process, tmp_path, 2, "2")
        with process.connect("session=ann") as connection:  # the store has it alone, and the old model is there
            assert hello(connection)["version"] == "1"
            assert asked(connection, BYTES) == answers_of(1, 2)[1]
    with serving(path, "--state", state, "--on-model-change", "reset") as process:
        for renewed in (True, None):
            with process.connect("session=ann") as connection:
                found = hello(connection)
                assert (found.get("renewed"), found["steps"]) == (renewed, 0 if renewed else 1)
                asked(connection, BYTES)


@pytest.mark.slow
def test_a_client_that_replays_is_told_that_its_session_is_lost(tmp_path: Path) -> None:
    path = saved(mixed_model(1), tmp_path, "mixed")
    with serving(path, "--on-model-change", "reset") as process:
        with SyncClient(process.address, "ann") as client:
            client.step(SAMPLE)
            replace(process, tmp_path, 2, "2")
            with pytest.raises(SessionLostError, match="the service has another model now: begin another session"):
                client.run({"sensor": [SAMPLE["sensor"]] * 5000, "word": [3] * 5000})
        with SyncClient(process.address, "ann", reset=True) as client:
            np.testing.assert_array_equal(client.step(SAMPLE)["answer"], mixed_model(2).stream().step(SAMPLE)["answer"])


def resident(process: Process) -> int:
    """Return the bytes of memory that a process has of its own."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) << 10


def large_model(seed: int) -> grurt.Model:
    rng = np.random.default_rng(seed)
    layer = grurt.GRU(name="gru", input_size=4, hidden_size=1200, bias=False)
    weights = {f"gru.{name}": rng.normal(size=size).astype("f4") / 100 for name, size in layer.weight_shapes().items()}
    return grurt.Model(layers=[layer], weights=weights)


@pytest.mark.slow
def test_the_memory_of_models_that_were_replaced_is_given_back(tmp_path: Path) -> None:
    with serving(saved(large_model(0), tmp_path, "large")) as process:
        sizes = []
        for number in range(1, 6):
            with process.connect() as connection:
                hello(connection)
                asked(connection, [0.0] * 4)
                saved(large_model(number), tmp_path, "large")
                process._process.send_signal(signal.SIGHUP)
                wait_for(lambda: process.get("/v2/models/large")["versions"] == [str(number + 1)])  # noqa: B023
            wait_for(lambda: metric(process, "grurt_replaced_models") == 0)
            sizes.append(resident(process))
    one = 2 * sum(array.nbytes for array in large_model(0).weights.values())  # as they are, and as kernels have them
    assert sizes[-1] - sizes[1] < 2 * one, sizes  # the system's allocator keeps one


def in_service(work: Callable[[Service], Any], **options: Any) -> None:
    """Do something with a service of the demo's model."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        await work(Service({"activity": load_model()}, Limits(), None, loop.call_soon, **options))

    asyncio.run(run())


class Renewed(Inbox):
    def renewed(self) -> None:
        self.told.append("renewed")


def test_a_model_that_nobody_is_on_is_given_up_at_once() -> None:
    async def work(service: Service) -> None:
        was_enabled = gc.isenabled()
        gc.disable()  # nothing may be in a circle: at the start, everything is taken from the collector
        try:
            old = weakref.ref(service.rooms["activity"].model)
            pool = weakref.ref(service.rooms["activity"].pool)
            session = await service.open(service.rooms["activity"], "ann", None)
            await service.replaced.replace(service.successor("activity", mixed_model()))
            service.replaced.give_up(0.0)
            assert service.all_rooms[1].model is old()
            service.end(session)
            del session
            service.replaced.give_up(float("inf"))
            assert len(service.all_rooms) == 1
            assert pool() is None
            assert old() is None
        finally:
            if was_enabled:
                gc.enable()

    in_service(work)


def test_what_waits_is_answered_by_the_model_for_which_it_was_sent_or_refused() -> None:
    async def work(service: Service) -> None:
        inbox = Renewed()
        room = service.rooms["activity"]
        session = await service.open(room, "ann", None)
        sample = bytes(24)
        room.turns.submit(session, (sample * 3, 3, inbox))
        await service.replaced.replace(service.successor("activity", mixed_model()))
        room.turns.submit(session, (sample, 1, inbox))
        room.turns.submit(session, (b"", 0, inbox))
        while len(inbox.replies) < 3:
            await asyncio.sleep(0)
        expected = load_model().stream().run(np.zeros((3, 6), "f4")).tobytes()
        refused = "the model was replaced while this waited, and the samples do not fit the new one"
        assert inbox.replies == [expected, refused, b""]
        assert session.room is service.rooms["activity"]
        session.room.turns.submit(session, (BYTES, 1, inbox))
        await asyncio.sleep(0.01)
        assert inbox.replies[-1] == answers_of(3, 1)[0]
        assert session.n_waiting == 0

    in_service(work, renews=True)


@pytest.mark.parametrize("takes_over", [False, True])
def test_who_comes_while_a_session_is_to_begin_anew_is_told(takes_over: bool) -> None:
    async def work(service: Service) -> None:
        first, second = Renewed(), Renewed()
        room = service.rooms["activity"]
        session = await service.open(room, "ann", first)
        room.turns.submit(session, (bytes(72), 3, first))
        await service.replaced.replace(service.successor("activity", mixed_model()))
        assert session.room is room, "its messages have not had their turn"
        if not takes_over:
            service.leave(session, first)
        assert await service.open(room, "ann", second, takeover=takes_over) is session
        assert session.room is service.rooms["activity"]
        assert session.is_renewed
        assert "renewed" not in first.told + second.told
        assert (session.n_waiting, len(session.waiting)) == (0, 0)
        service.replaced.give_up(float("inf"))
        assert service.all_rooms == [session.room]

    in_service(work, renews=True)


def test_what_fits_the_new_model_is_answered_by_it() -> None:
    other = load_model().quantize("float16")

    async def work(service: Service) -> None:
        inboxes = [Renewed() for _ in range(500)]
        room = service.rooms["activity"]
        rng = np.random.default_rng(3)
        begun = [await service.open(room, f"s{i}", inbox) for i, inbox in enumerate(inboxes)]
        samples = rng.normal(size=(500, 6)).astype("f4")
        shown: list[tuple[bytes, bytes]] = []
        service.watch(room, "s7", lambda _, sample, answer: shown.append((sample, answer)))
        replacing = asyncio.create_task(service.replaced.replace(service.successor("activity", other)))
        await asyncio.sleep(0)
        for session, sample, inbox in zip(begun, samples, inboxes, strict=True):
            session.room.turns.submit(session, (sample.tobytes(), 1, inbox))
        await replacing
        while not all(inbox.told and inbox.replies for inbox in inboxes):
            await asyncio.sleep(0)
        first = {i: load_model().stream().step(samples[i]).tobytes() for i in range(500)}
        after = {i: other.stream().step(samples[i]).tobytes() for i in range(500)}
        assert all(inbox.replies[0] in (first[i], after[i]) for i, inbox in enumerate(inboxes))
        assert shown == [(samples[7].tobytes(), inboxes[7].replies[0])]
        for session, sample, inbox in zip(begun, samples, inboxes, strict=True):
            session.room.turns.submit(session, (sample.tobytes(), 1, inbox))
            assert inbox.told == ["renewed"]
        while not all(len(inbox.replies) == 2 for inbox in inboxes):
            await asyncio.sleep(0)
        assert service.rooms["activity"].turns.counts.samples == 1000
        assert len(service) == len(service.rooms["activity"]) == 500
        service.replaced.give_up(float("inf"))
        assert service.all_rooms == [service.rooms["activity"]]

    in_service(work, renews=True)


def test_the_same_model_again_changes_nothing(tmp_path: Path) -> None:
    lines: list[str] = []

    async def work(service: Service) -> None:
        room = service.rooms["activity"]
        file = ModelFile(saved(load_model(), tmp_path, "activity"))
        reloader = Reloader(service, {"activity": file}, watches=True, told=lines.append, warned=lines.append)
        await reloader.reload("activity")
        assert service.rooms["activity"] is room
        assert not file.has_changed()
        saved(mixed_model(), tmp_path, "activity")
        assert [file.has_changed() for _ in range(3)] == [False, True, True]
        await reloader.reload("activity")
        assert service.rooms["activity"].version == 2
        assert not file.has_changed()

    in_service(work)
    assert lines == [f"activity: version 2 is served, {mixed_model().fingerprint.hex()}"]
