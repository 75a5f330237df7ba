"""tract, which uses one thread."""

import tempfile
from pathlib import Path

import numpy as np
import tract

from benchmarks.contenders.base import Contender, Prepared, Workload
from benchmarks.contenders.onnx_graph import sequence_model, timestep_model
from benchmarks.network import Floats, Network


def _load(model: bytes) -> tract.Runnable:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gru.onnx"
        path.write_bytes(model)
        return tract.onnx().load(path).into_model().into_runnable()


def run(network: Network, x: Floats) -> Prepared:
    """Call `State.run`; the caller hands the state over, as the tensor that the run before returned."""
    batch = x.size // network.input_size
    state = _load(timestep_model(network, batch)).spawn_state()
    h = tract.Tensor.from_numpy(np.zeros((1, batch, network.hidden_size), np.float32))
    names = {"run": state.run, "tensor": tract.Tensor.from_numpy, "x": x.reshape(1, batch, -1), "h": h}
    return Prepared("(h,) = run([tensor(x), h])", "h.to_numpy()", names, x)


def run_sequence(network: Network, x: Floats) -> Prepared:
    """Call `Runnable.run` of a whole sequence."""
    runnable = _load(sequence_model(network, len(x)))
    return Prepared(
        "(y,) = run([x])", "y.to_numpy()", {"run": runnable.run, "x": x.reshape(len(x), 1, -1), "y": None}, x
    )


CONTENDERS = (
    Contender("tract State.run", Workload.STEP, run),
    Contender("tract Runnable.run", Workload.SEQUENCE, run_sequence),
    Contender("tract State.run", Workload.STREAMS, run),
)
