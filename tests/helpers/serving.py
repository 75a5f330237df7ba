"""Services for the tests: processes of `grurt serve`, and what stands in for their clients."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

import grurt
from grurt.errors import GrurtError
from grurt.runtime.engine import ready

MIXED_INPUTS = [grurt.Input("sensor", 3), grurt.TokenInput("word", 7)]


def mixed_model(seed: int = 3) -> grurt.Model:
    """Return a model of two inputs, features and a token, and two outputs."""
    layers = [
        grurt.Embedding(name="embedded", inputs=("word",), vocabulary_size=7, size=2),
        grurt.Concat(name="both", inputs=("sensor", "embedded")),
        grurt.GRU(name="gru", inputs=("both",), input_size=5, hidden_size=4, bias=False),
        grurt.Linear(name="head", inputs=("gru",), input_size=4, output_size=2),
    ]
    rng = np.random.default_rng(seed)
    weights = {
        f"{layer.name}.{name}": rng.normal(size=shape).astype(np.float32)
        for layer in layers
        for name, shape in layer.weight_shapes().items()
    }
    outputs = [grurt.Output("answer", "head"), grurt.Output("hidden", "gru")]
    return grurt.Model(layers=layers, weights=weights, inputs=MIXED_INPUTS, outputs=outputs)


class Loop:
    """Stands in for an event loop: runs what was called soon when a test says so."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, work: Callable[[], None]) -> None:
        self.due.append(work)

    def run(self) -> int:
        """Run until nothing is due, and return how many turns that took."""
        n_turns = 0
        while self.due:
            due, self.due = self.due, []
            for work in due:
                n_turns += 1
                work()
        return n_turns


class Inbox:
    """Receives replies, and holds sessions."""

    replays = False

    def __init__(self) -> None:
        self.replies: list[bytes | str] = []
        self.told: list[Any] = []

    def answer(self, answers: bytes) -> None:
        self.replies.append(answers)

    def refuse(self, error: GrurtError) -> None:
        self.replies.append(str(error))

    def ended(self, end: Any) -> None:
        self.told.append(end)

    def checkpoint(self, steps: int) -> None:
        self.told.append(("checkpoint", steps))

    def durable(self, steps: int) -> None:
        self.told.append(("durable", steps))

    def take_no_more(self) -> None:
        self.told.append("take no more")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


WAYS = ("--grpc-port", "--mqtt")


class Process:
    """A process of `grurt serve`, on a free port of the loopback address."""

    def __init__(self, *arguments: object, port: int = 0) -> None:
        ready()  # compiled kernels are kept for all processes
        command = [sys.executable, "-m", "grurt", "serve", "--port", str(port), *map(str, arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line:
            raise AssertionError(self.end(None))
        self.address = line.split()[-1]
        self.port = int(self.address.rpartition(":")[2])
        self.ways = [self._process.stdout.readline().decode().rstrip() for way in WAYS if way in command]
        """What the service says of the ways in beside that port."""
        self.pid = self._process.pid

    def connect(self, query: str = "", **options: Any) -> ClientConnection:
        """Open a WebSocket."""
        address = f"ws{self.address.removeprefix('http')}/ws?{query}"
        return connect(address, **{"compression": None, "open_timeout": 20} | options)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        """Return what is at a path: of JSON its value, else text."""
        request = urllib.request.Request(self.address + path, headers=headers or {})
        with urllib.request.urlopen(request, timeout=20) as response:
            content = response.read().decode()
            return json.loads(content) if "json" in response.headers["Content-Type"] else content

    def status(self, path: str) -> tuple[int, str]:
        """Return the status and the text of what is at a path."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, unless it is None, wait, and return the exit code and what stands on stderr."""
        if number is not None:
            self._process.send_signal(number)
        _, errors = self._process.communicate(timeout=60)
        return self._process.returncode, errors.decode()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None


@contextmanager
def serving(*arguments: object, port: int = 0) -> Iterator[Process]:
    """Run a service, which must end in silence."""
    process = Process(*arguments, port=port)
    try:
        yield process
    finally:
        if process.is_running:
            assert process.end() == (0, "")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for 30 seconds at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def hello(connection: ClientConnection) -> dict[str, Any]:
    """Return the hello of a connection."""
    return json.loads(connection.recv(timeout=20))["hello"]  # type: ignore[no-any-return]


def asked(connection: ClientConnection, message: Any) -> Any:
    """Send a message, bytes or what becomes JSON, and return the reply, likewise."""
    connection.send(message if isinstance(message, bytes) else json.dumps(message))
    reply = connection.recv(timeout=20)
    return reply if isinstance(reply, bytes) else json.loads(reply)


def saved(model: grurt.Model, folder: Path, name: str) -> Path:
    """Write a model to a file of that name."""
    path = folder / f"{name}.grurt"
    model.save(path)
    return path


def curl(*arguments: str) -> tuple[int, Any]:
    """Return the status and the JSON that curl gets."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", *arguments]
    *lines, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return int(status), json.loads("\n".join(lines) or "null")
