"""One timestep of one GRU layer, called from Python: grurt beside onnxruntime.

Run ``python benchmarks/step_latency.py``. Both run the same ONNX file, on one thread, with the state carried from step
to step: onnxruntime's by the caller, through its inputs and outputs. Before anything is timed, their answers are
compared over many steps. The contenders take turns in short rounds, so that a busy machine is busy for all of them; the
figures are medians over rounds. Results are written as JSON; ``benchmarks/tables.py`` makes the README's table of them.
"""

import itertools
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numba
import numpy as np
import onnx
import onnxruntime

import grurt
from grurt.converters.onnx import convert_onnx

SIZES = ((1, 8), (4, 16), (8, 32), (16, 64), (64, 128), (128, 256), (256, 512), (512, 1024))
RESULTS = Path(__file__).parent / "results" / "step_latency.json"
ROUND_SECONDS = 0.02
COMPARED_STEPS = 100
TOLERANCE = 1e-5

Step = Callable[[], np.ndarray]


def gru_onnx(input_size: int, hidden_size: int, rng: np.random.Generator) -> bytes:
    """Return an ONNX model of one GRU layer, as PyTorch computes it, for one timestep: ``x, h -> y, hn``."""
    weights = {
        "W": rng.uniform(-1, 1, (1, 3 * hidden_size, input_size)) / np.sqrt(hidden_size),
        "R": rng.uniform(-1, 1, (1, 3 * hidden_size, hidden_size)) / np.sqrt(hidden_size),
        "B": rng.uniform(-1, 1, (1, 6 * hidden_size)) / np.sqrt(hidden_size),
    }
    node = onnx.helper.make_node(
        "GRU", ["x", "W", "R", "B", "", "h"], ["y", "hn"], hidden_size=hidden_size, linear_before_reset=1
    )
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "gru",
        [
            onnx.helper.make_tensor_value_info("x", float32, [1, 1, input_size]),
            onnx.helper.make_tensor_value_info("h", float32, [1, 1, hidden_size]),
        ],
        [
            onnx.helper.make_tensor_value_info("y", float32, [1, 1, 1, hidden_size]),
            onnx.helper.make_tensor_value_info("hn", float32, [1, 1, hidden_size]),
        ],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def grurt_step(path: Path, x: np.ndarray) -> Step:
    """`Stream.step` with a new output array, as most callers use it."""
    stream = convert_onnx(path).stream()
    return lambda: stream.step(x)


def grurt_step_out(path: Path, x: np.ndarray) -> Step:
    """`Stream.step` into an array of the caller's."""
    stream = convert_onnx(path).stream()
    out = stream.step(x)
    stream.reset()
    return lambda: stream.step(x, out)


def session(path: Path) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on one thread, with all graph optimisations, which are its default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def onnxruntime_run(path: Path, x: np.ndarray) -> Step:
    """`InferenceSession.run`, the state handed over by the caller."""
    run = session(path).run
    feed = {"x": x.reshape(1, 1, -1), "h": np.zeros((1, 1, hidden_size_of(path)), np.float32)}

    def step() -> np.ndarray:
        (feed["h"],) = run(["hn"], feed)
        return feed["h"].reshape(-1)

    return step


def onnxruntime_io_binding(path: Path, x: np.ndarray) -> Step:
    """`run_with_iobinding`, with two buffers for the state that change places from step to step."""
    inference = session(path)
    even, odd = np.zeros((2, 1, 1, hidden_size_of(path)), np.float32)
    turns = itertools.cycle(
        [
            (bind(inference, {"x": x.reshape(1, 1, -1), "h": before}, {"hn": after}), after.reshape(-1))
            for before, after in ((even, odd), (odd, even))
        ]
    )

    def step() -> np.ndarray:
        binding, answer = next(turns)
        inference.run_with_iobinding(binding)
        return answer

    return step


def bind(
    inference: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> onnxruntime.IOBinding:
    """Bind arrays as they are: nothing is copied on the way in or out."""
    binding = inference.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return binding


def hidden_size_of(path: Path) -> int:
    """Hidden size of a model that `gru_onnx` made."""
    return int(onnx.load(path).graph.output[1].type.tensor_type.shape.dim[2].dim_value)


CONTENDERS: dict[str, Callable[[Path, np.ndarray], Step]] = {
    "grurt step": grurt_step,
    "grurt step, out=": grurt_step_out,
    "onnxruntime run": onnxruntime_run,
    "onnxruntime io_binding": onnxruntime_io_binding,
}


def compare(steps: dict[str, Step]) -> float:
    """Return the largest difference between the contenders' answers, over the first steps from the same state."""
    answers = {name: [step().copy() for _ in range(COMPARED_STEPS)] for name, step in steps.items()}
    truth = answers["onnxruntime run"]
    return max(float(np.abs(np.subtract(answer, truth)).max()) for answer in answers.values())


def seconds_per_step(step: Step, calls: int) -> float:
    """Time a number of calls."""
    begin = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - begin) / calls


def measure(input_size: int, hidden_size: int, rounds: int) -> dict[str, Any]:
    """Compare the contenders at one size, time them in turn, and return medians in microseconds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=input_size).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gru.onnx"
        path.write_bytes(gru_onnx(input_size, hidden_size, rng))
        steps = {name: make(path, x) for name, make in CONTENDERS.items()}
    difference = compare(steps)
    if difference > TOLERANCE:
        sys.exit(f"input {input_size}, hidden {hidden_size}: the contenders disagree by {difference:.1e}")
    calls = {name: max(20, int(ROUND_SECONDS / seconds_per_step(step, 20))) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(1e6 * seconds_per_step(step, calls[name]))
    return {
        "input_size": input_size,
        "hidden_size": hidden_size,
        "largest_difference": difference,
        "microseconds": {name: round(statistics.median(samples), 4) for name, samples in times.items()},
    }


def environment() -> dict[str, str]:
    """Return what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "command": "python benchmarks/step_latency.py",
        "date": time.strftime("%Y-%m-%d"),
        "cpu": models[0] if models else platform.processor(),
        "python": platform.python_version(),
        "grurt": grurt.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


@click.command(help=__doc__)
@click.option("--rounds", default=31, show_default=True, help="Rounds of about 20 ms for each contender and size.")
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, help="Where to write the results.")
def main(rounds: int, output: Path) -> None:
    """Measure all sizes, show them as they come, and write the JSON."""
    rows = []
    for input_size, hidden_size in SIZES:
        row = measure(input_size, hidden_size, rounds)
        rows.append(row)
        shown = ", ".join(f"{name} {time:.2f} us" for name, time in row["microseconds"].items())
        click.echo(f"{input_size:4d},{hidden_size:5d}: {shown}", err=True)
    output.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=2) + "\n")
    click.echo(str(output))


if __name__ == "__main__":
    main()
