"""OpenVINO on one thread, in float32: left to itself it computes in bfloat16 on CPUs that can."""

import itertools

import numpy as np
import openvino

from benchmarks.contenders.base import Contender, Prepared, Workload
from benchmarks.contenders.onnx_graph import sequence_model, timestep_model
from benchmarks.network import Floats, Network

CONFIG = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,
}


def _compile(model: bytes) -> openvino.CompiledModel:
    core = openvino.Core()
    return core.compile_model(core.read_model(model), "CPU", CONFIG)


def _bind(compiled: openvino.CompiledModel, inputs: dict[str, Floats], output: Floats) -> openvino.InferRequest:
    """Return a request whose tensors are these arrays: nothing is copied on the way in or out."""
    request = compiled.create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    request.set_output_tensor(0, openvino.Tensor(output, shared_memory=True))
    return request


def bound(network: Network, x: Floats) -> Prepared:
    """Bind requests beforehand: two, because the arrays for the state change places."""
    batch = x.size // network.input_size
    compiled = _compile(timestep_model(network, batch))
    even, odd = np.zeros((2, 1, batch, network.hidden_size), np.float32)
    turns = [
        (_bind(compiled, {"x": x.reshape(1, batch, -1), "h": before}, after), after)
        for before, after in ((even, odd), (odd, even))
    ]
    names = {"turns": itertools.cycle(turns), "request": None, "after": None}
    return Prepared("request, after = next(turns); request.infer(share_outputs=True)", "after", names, x)


def bound_sequence(network: Network, x: Floats) -> Prepared:
    """Bind a request beforehand."""
    y = np.empty((len(x), 1, 1, network.hidden_size), np.float32)
    request = _bind(_compile(sequence_model(network, len(x))), {"x": x.reshape(len(x), 1, -1)}, y)
    return Prepared("request.infer(share_outputs=True)", "y", {"request": request, "y": y}, x)


CONTENDERS = (
    Contender("OpenVINO bound, f32", Workload.STEP, bound),
    Contender("OpenVINO bound, f32", Workload.SEQUENCE, bound_sequence),
    Contender("OpenVINO bound, f32", Workload.STREAMS, bound),
)
