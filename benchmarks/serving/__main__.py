"""Measures `grurt serve` beside the echo of its own stack: ``python -m benchmarks.serving``.

A server runs on one core, and on another one a load generator in C, which takes a fraction of it. Servers take turns
within each process, and are started anew for the next one. What is compared is the time of the processor that a server
takes for a message: on a core that it has for itself, that is the inverse of its rate; on a busy machine the rate says
more of the neighbours.
"""

import json
import os
import resource
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import grurt
from benchmarks import environment, results
from benchmarks.network import random_network

SUITE = "serving"
SIZES = ((64, 128), (64, 256))
N_CONNECTIONS = (100, 1000)
PACED_RATE = 10.0
N_PACED = 100
N_REQUESTS = 64
N_IDLE = 10_000
_ANSWER_BYTES = 4 * 4


@dataclass(frozen=True)
class Server:
    """A server that runs: where, as which process, and what is sent to it."""

    name: str
    port: int
    pid: int
    what: str
    has_hello: bool

    def cpu_seconds(self) -> float:
        """Return the time of the processor that it has taken."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) * 1e-9

    def resident_bytes(self) -> int:
        """Return the memory that it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(name: str, command: list[object], core: int, *, what: str, has_hello: bool) -> Iterator[Server]:
    """Run a server on a core; the last word of its first line ends with its port."""
    pinned = ["taskset", "-c", str(core), sys.executable, "-m", *map(str, command)]
    process = subprocess.Popen(pinned, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().split()[-1].rpartition(":")[2])
        yield Server(name, port, process.pid, what, has_hello)
    finally:
        process.terminate()
        process.communicate()


def build_load(folder: Path) -> Path:
    """Compile the load generator."""
    program = folder / "load"
    source = Path(__file__).parent / "load.c"
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-O2", "-o", program, source, "-lm"], check=True)
    return program


def load(
    program: Path, server: Server, core: int, *, n_connections: int, message_bytes: int = 0, seconds: float,
    rate: float = 0.0, n_flooders: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Load a server, and return what was measured, with the server's time for a message in microseconds."""
    arguments = [
        "127.0.0.1", server.port, server.what, n_connections, message_bytes, _ANSWER_BYTES, seconds, rate, n_flooders,
        int(server.has_hello),
    ]  # fmt: skip
    before = server.cpu_seconds()
    printed = subprocess.run(
        ["taskset", "-c", str(core), program, *map(str, arguments)], capture_output=True, text=True, check=True
    ).stdout
    took = server.cpu_seconds() - before
    found: dict[str, Any] = json.loads(printed)
    messages = found["messages"] * seconds / found["seconds"]  # those before the measurement too, as the time has them
    return found | {"microseconds": 1e6 * took / messages, "rate": found["messages"] / found["seconds"]}


def model_file(folder: Path, sizes: tuple[int, int]) -> Path:
    """Write a network of a GRU and four outputs."""
    network = random_network(*sizes)
    gru = grurt.GRU(name="gru", input_size=sizes[0], hidden_size=sizes[1], bias=False)
    head = grurt.Linear(name="head", input_size=sizes[1], output_size=4)
    rng = np.random.default_rng(sizes[1])
    weights = {"head.weight": rng.normal(size=(4, sizes[1])) / sizes[1] ** 0.5, "head.bias": np.zeros(4)}
    weights |= {"gru.weight_ih": network.w, "gru.weight_hh": network.r}
    path = folder / f"gru{sizes[1]}.grurt"
    grurt.Model(layers=[gru, head], weights=weights).save(path)
    return path


def http_request(folder: Path, name: str, model: str, body: bytes, headers: str = "") -> Path:
    """Write a request as it goes over the wire."""
    path = folder / name
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    path.write_bytes(head.encode() + body)
    return path


def infer_bodies(size: int) -> dict[str, tuple[bytes, str]]:
    """Return requests of one sample: the body, and its own headers."""
    tensor: dict[str, Any] = {"name": "x", "shape": [1, size], "datatype": "FP32"}
    sample = np.linspace(-1, 1, size, dtype="<f4")
    sequence = {"sequence_id": 7, "sequence_start": True, "binary_data_output": True}
    plain = json.dumps({"inputs": [tensor | {"data": sample.tolist()}]}).encode()
    binary = tensor | {"parameters": {"binary_data_size": sample.nbytes}}
    head = json.dumps({"inputs": [binary], "parameters": {"binary_data_output": True}}).encode()
    begun = json.dumps({"inputs": [binary], "parameters": sequence}).encode()
    length = "Inference-Header-Content-Length: {}\r\n"
    return {
        "v2 infer, JSON": (plain, ""),
        "v2 infer, binary": (head + sample.tobytes(), length.format(len(head))),
        "v2 infer, binary, a sequence": (begun + sample.tobytes(), length.format(len(begun))),
    }


def measure_messages(folder: Path, program: Path, cores: tuple[int, int], seconds: float) -> Iterator[results.Record]:
    """Yield the time of a message over WebSocket, of the echo and of models."""
    with ExitStack() as stack:
        echo = ["benchmarks.serving.servers", "echo", _ANSWER_BYTES]
        servers = [stack.enter_context(started("picows echo", echo, cores[0], what="/", has_hello=False))]
        for sizes in SIZES:
            command = ["grurt", "serve", model_file(folder, sizes), "--port", 0]
            name = f"grurt serve, {sizes[0]} -> {sizes[1]}"
            servers.append(stack.enter_context(started(name, command, cores[0], what="/ws", has_hello=True)))
        for n_connections in N_CONNECTIONS:
            for server in servers:
                found = load(
                    program, server, cores[1], n_connections=n_connections, message_bytes=4 * 64, seconds=seconds
                )
                yield _record("messages", n_connections, server.name, found)


def measure_fairness(folder: Path, program: Path, cores: tuple[int, int], seconds: float) -> Iterator[results.Record]:
    """Yield the time to an answer of clients that send a thousand samples a second, alone and beside one who floods."""
    command = ["grurt", "serve", model_file(folder, SIZES[0]), "--port", 0]
    echo = ["benchmarks.serving.servers", "echo", _ANSWER_BYTES]
    with (
        started("picows echo", echo, cores[0], what="/", has_hello=False) as peer,
        started("grurt serve", command, cores[0], what="/ws", has_hello=True) as served,
    ):
        for n_flooders, how in ((0, "alone"), (1, "beside one that floods")):
            for server in (peer, served):
                found = load(
                    program, server, cores[1], n_connections=N_PACED, message_bytes=4 * 64, seconds=seconds,
                    rate=PACED_RATE, n_flooders=n_flooders,
                )  # fmt: skip
                yield _record("fairness", N_PACED, f"{server.name}, {how}", found)


def measure_requests(folder: Path, program: Path, cores: tuple[int, int], seconds: float) -> Iterator[results.Record]:
    """Yield the time of a request of HTTP, of an empty handler and of a model."""
    path = model_file(folder, SIZES[0])
    bodies = infer_bodies(SIZES[0][0])
    with ExitStack() as stack:
        empty = stack.enter_context(
            started("an empty handler", ["benchmarks.serving.servers", "empty"], cores[0], what="", has_hello=False)
        )
        served = stack.enter_context(
            started("", ["grurt", "serve", path, "--port", 0], cores[0], what="", has_hello=False)
        )
        for name, (body, headers) in [("an empty handler", next(iter(bodies.values()))), *bodies.items()]:
            request = http_request(folder, name.replace(" ", "-"), path.stem, body, headers)
            base = empty if name == empty.name else served
            server = Server(name, base.port, base.pid, f"@{request}", has_hello=False)
            found = load(program, server, cores[1], n_connections=N_REQUESTS, seconds=seconds)
            yield _record("requests", N_REQUESTS, name, found)


def measure_memory(folder: Path, core: int) -> Iterator[results.Record]:
    """Yield the memory of a service whose clients are connected, and idle."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    n_idle = min(N_IDLE, files - 100)
    command = ["grurt", "serve", model_file(folder, SIZES[0]), "--port", 0]
    with started("grurt serve", command, core, what="/ws", has_hello=True) as server, ExitStack() as stack:
        alone = server.resident_bytes()
        for number in range(n_idle):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            client.sendall(_HANDSHAKE.format(number).encode())
            while b'"stored"' not in client.recv(4096):
                pass
        held = server.resident_bytes()
    yield {"size": [n_idle, 3], "contender": "memory", "bytes": held, "bytes_each": (held - alone) / n_idle}


_HANDSHAKE = (
    "GET /ws?session=s{} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _record(kind: str, n_connections: int, name: str, found: dict[str, Any]) -> results.Record:
    kept = ("microseconds", "rate", "p50", "p99", "load_cores")
    number = {"messages": 0, "fairness": 1, "requests": 2}[kind]
    return {"size": [n_connections, number], "contender": name} | {key: found[key] for key in kept}


@click.command(help=__doc__)
@click.option(
    "--processes", default=5, show_default=True, help="Times that servers are started, over which medians are."
)
@click.option("--seconds", default=2.0, show_default=True, help="How long each is loaded.")
@click.option("--cores", default="0,1", show_default=True, help="Of the server, and of the load generator.")
@click.option("--output", type=click.Path(path_type=Path), default=results.FOLDER, help="Folder for the results.")
def main(processes: int, seconds: float, cores: str, output: Path) -> None:
    """Run all, into one result file."""
    server_core, load_core = map(int, cores.split(","))
    begin = time.perf_counter()
    measured: list[list[results.Record]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build_load(folder)
        for number in range(processes):
            both = (server_core, load_core)
            measured.append(
                [
                    *measure_messages(folder, program, both, seconds),
                    *measure_fairness(folder, program, both, seconds),
                    *measure_requests(folder, program, both, seconds),
                    *measure_memory(folder, server_core),
                ]
            )
            click.echo(f"{number + 1} of {processes}", err=True)
    about = {
        "suite": SUITE,
        "command": shlex.join(["python", "-m", "benchmarks.serving", *sys.argv[1:]]),
        "processes": processes,
        "settings": {"seconds": seconds, "cores": cores},
        "missing": [],
        "environment": environment.describe() | {"engines": _versions()},
        "took_seconds": round(time.perf_counter() - begin),
    }
    results.write(output / f"{SUITE}.json", about, results.merge(measured))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("grurt", "picows", "uvicorn", "httptools", "uvloop", "starlette", "orjson")
    return {name: version(name) for name in names}


if __name__ == "__main__":
    main()
