"""From the start of a process to its first answer: how long, and how much memory.

Every contender is a program of its own: the least that a user would write. What it prints is compared with float64.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.network import Network, random_network, timestep
from benchmarks.proof import TOLERANCE, DisagreementError
from benchmarks.results import Record
from benchmarks.suites.base import Settings

_MEMORY = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""

_GRURT = """
import numpy, grurt
x = numpy.load({folder!r} + "/x.npy")
stream = grurt.load({folder!r} + "/model.grurt").stream()
print(stream.step(x).tolist(), flush=True)
"""

_ONNXRUNTIME = """
import numpy, onnxruntime
x = numpy.load({folder!r} + "/x.npy")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession({folder!r} + "/model.onnx", options, providers=["CPUExecutionProvider"])
h = numpy.zeros((1, 1, {hidden_size}), numpy.float32)
(answer,) = session.run(["hn"], {{"x": x.reshape(1, 1, -1), "h": h}})
print(answer.reshape(-1).tolist(), flush=True)
"""

_LITERT = """
import numpy
from ai_edge_litert.interpreter import Interpreter
x = numpy.load({folder!r} + "/x.npy")
interpreter = Interpreter({folder!r} + "/model.tflite", num_threads=1)
interpreter.allocate_tensors()
i, j = (detail["index"] for detail in interpreter.get_input_details())
(k,) = (detail["index"] for detail in interpreter.get_output_details())
interpreter.set_tensor(i, x.reshape(1, -1))
interpreter.set_tensor(j, numpy.zeros((1, {hidden_size}), numpy.float32))
interpreter.invoke()
print(interpreter.get_tensor(k).reshape(-1).tolist(), flush=True)
"""

_NUMPY = """
import numpy
print(numpy.load({folder!r} + "/x.npy").tolist(), flush=True)
"""


@dataclass(frozen=True)
class Start:
    """A program to start."""

    name: str
    imported: str
    program: str
    environment: Callable[[], dict[str, str]] = dict
    write: Callable[[Network, Path], None] = lambda network, folder: None
    computes: bool = True


def _library() -> dict[str, str]:
    """Return the environment of a process that uses kernels compiled ahead of time, built where there are none yet."""
    from grurt.errors import EngineError
    from grurt.kernels.places import directory_to_write
    from grurt.native import library
    from grurt.native.build import build_library

    directory = directory_to_write()
    if directory is None:
        raise EngineError("expected a directory where compiled kernels can be kept, got none that can be written")
    path = directory / "benchmark.so"
    with suppress(EngineError, OSError):
        library.load(path)
        return {"GRURT_ENGINE": "native", "GRURT_NATIVE": str(path)}
    build_library(path)
    return {"GRURT_ENGINE": "native", "GRURT_NATIVE": str(path)}


def _write_grurt(network: Network, folder: Path) -> None:
    from benchmarks.contenders.grurt import model_of

    model_of(network).save(folder / "model.grurt")


def _write_onnx(network: Network, folder: Path) -> None:
    from benchmarks.contenders.onnx_graph import timestep_model

    (folder / "model.onnx").write_bytes(timestep_model(network, 1))


def _write_tflite(network: Network, folder: Path) -> None:
    from benchmarks.contenders.tflite_graph import timestep_model

    (folder / "model.tflite").write_bytes(timestep_model(network, 1))


STARTS = (
    Start("grurt, compiled ahead of time", "grurt", _GRURT, _library, _write_grurt),
    Start("grurt, compiled by Numba, cached", "numba", _GRURT, lambda: {"GRURT_ENGINE": "jit"}, _write_grurt),
    Start("onnxruntime", "onnxruntime", _ONNXRUNTIME, write=_write_onnx),
    Start("LiteRT", "ai_edge_litert", _LITERT, write=_write_tflite),
    Start("*import numpy alone*", "numpy", _NUMPY, computes=False),
)


def names() -> list[str]:
    """Return the names of what is installed here."""
    return [start.name for start in STARTS if find_spec(start.imported)]


def measure(settings: Settings) -> list[Record]:
    """Measure milliseconds to the first answer, and megabytes at most in memory; all take turns."""
    chosen = [start for start in STARTS if start.name in (settings.only or names())]
    with tempfile.TemporaryDirectory() as folder:
        return [record for size in settings.sizes for record in _measure(size, chosen, Path(folder), settings.rounds)]


def _measure(size: tuple[int, int], starts: list[Start], folder: Path, rounds: int) -> list[Record]:
    network = random_network(*size)
    x = np.random.default_rng(0).standard_normal(network.input_size).astype(np.float32)
    np.save(folder / "x.npy", x)
    expected = timestep(network, x, np.zeros(network.hidden_size))
    environments = {}
    for start in starts:
        start.write(network, folder)
        environments[start.name] = start.environment()
    figures: dict[str, list[tuple[float, float]]] = {start.name: [] for start in starts}
    for turn in range(rounds + 1):
        for start in starts:
            program = start.program.format(folder=str(folder), hidden_size=network.hidden_size) + _MEMORY
            answer, *figure = _run(program, environments[start.name])
            if start.computes and not np.abs(answer - expected).max() < TOLERANCE:
                raise DisagreementError(f"{start.name} at {size}: the first answer differs from float64")
            if turn:  # the first start fills the caches
                figures[start.name].append((figure[0], figure[1]))
    return [
        {
            "size": size,
            "contender": name,
            "milliseconds": 1e3 * median(seconds for seconds, _ in found),
            "megabytes": median(memory for _, memory in found),
        }
        for name, found in figures.items()
    ]


def _run(program: str, environment: dict[str, str]) -> tuple[np.ndarray, float, float]:
    """Run a program, and return its answer, the seconds until that was there, and the most MB that it had in memory."""
    command = [sys.executable, "-c", program]
    # As after an installation: modules are compiled to bytecode.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = perf_counter()
    with subprocess.Popen(command, env=inherited | environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answer = process.stdout.readline()
        seconds = perf_counter() - begin
        memory = process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return np.array(json.loads(answer)), seconds, int(memory) * 1024 / 1e6
