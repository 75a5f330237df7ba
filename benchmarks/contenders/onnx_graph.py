"""The network as an ONNX model, for the engines that read ONNX."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.network import Network


def timestep_model(network: Network, batch: int) -> bytes:
    """Return an ONNX model of one timestep: ``x (1, batch, input)``, ``h (1, batch, hidden)`` to ``hn``, as h."""
    return _model(network, {"x": (1, batch, network.input_size), "h": (1, batch, network.hidden_size)}, "hn")


def sequence_model(network: Network, n_steps: int, batch: int = 1) -> bytes:
    """Return an ONNX model of whole sequences: ``x (n_steps, batch, input)`` to ``y (n_steps, 1, batch, hidden)``."""
    return _model(network, {"x": (n_steps, batch, network.input_size)}, "y")


def two_input_model(network: Network) -> bytes:
    """Return an ONNX model of one timestep, as above, whose input is two: ``left`` and ``right``."""
    half = network.input_size // 2
    sizes = {"left": half, "right": network.input_size - half, "h": network.hidden_size}
    join = helper.make_node("Concat", ["left", "right"], ["x"], axis=2)
    return _model(network, {name: (1, 1, size) for name, size in sizes.items()}, "hn", [join])


def _model(
    network: Network, inputs: dict[str, tuple[int, ...]], output: str, before: Sequence[onnx.NodeProto] = ()
) -> bytes:
    n_steps, batch, _ = next(iter(inputs.values()))
    shape = (1, batch, network.hidden_size) if output == "hn" else (n_steps, 1, batch, network.hidden_size)
    names = ["x", "w", "r", "b", *(["", "h"] if "h" in inputs else [])]
    outputs = ["", "hn"] if output == "hn" else ["y"]
    node = helper.make_node("GRU", names, outputs, hidden_size=network.hidden_size, linear_before_reset=1)
    weights = {"w": network.w, "r": network.r, "b": np.concatenate([network.b, network.c])}
    graph = helper.make_graph(
        [*before, node],
        "gru",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name, sizes in inputs.items()],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array[np.newaxis], name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())
