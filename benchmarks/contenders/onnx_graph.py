"""The network as an ONNX model, for the engines that read ONNX."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.network import Network


def timestep_model(network: Network, batch: int) -> bytes:
    """Return an ONNX model of one timestep: ``x (1, batch, input)``, ``h (1, batch, hidden)`` to ``hn``, as h."""
    return _model(network, {"x": (1, batch, network.input_size), "h": (1, batch, network.hidden_size)}, "hn")


def sequence_model(network: Network, n_steps: int) -> bytes:
    """Return an ONNX model of one whole sequence: ``x (n_steps, 1, input)`` to ``y (n_steps, 1, 1, hidden)``."""
    return _model(network, {"x": (n_steps, 1, network.input_size)}, "y")


def _model(network: Network, inputs: dict[str, tuple[int, ...]], output: str) -> bytes:
    n_steps, batch, _ = inputs["x"]
    shape = (1, batch, network.hidden_size) if output == "hn" else (n_steps, 1, batch, network.hidden_size)
    names = ["x", "w", "r", "b", *(["", "h"] if "h" in inputs else [])]
    outputs = ["", "hn"] if output == "hn" else ["y"]
    node = helper.make_node("GRU", names, outputs, hidden_size=network.hidden_size, linear_before_reset=1)
    weights = {"w": network.w, "r": network.r, "b": np.concatenate([network.b, network.c])}
    graph = helper.make_graph(
        [node],
        "gru",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name, sizes in inputs.items()],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array[np.newaxis], name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())
