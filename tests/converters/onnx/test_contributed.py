"""Operators that onnxruntime's optimizer writes, in files of their own and as it writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch_networks
import torch_topologies
from onnx import ModelProto, NodeProto, helper
from onnx_exports import check, exported
from onnx_graphs import HIDDEN, INPUT, TOLERANCE, after_gru, convert, converted_and_checked, node, random
from torch_networks import Network

import grurt
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import DesignReason, UnsupportedError

LEVELS = {
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
WEIGHTS = {
    "M": random(HIDDEN, HIDDEN, seed=1),
    "v": random(HIDDEN, seed=2),
    "w": random(HIDDEN, seed=3),
    "u": random(HIDDEN, seed=4),
    "K": random(HIDDEN, HIDDEN, 1, seed=5),
    "axis": np.array(1, np.int32),
    "first": np.array([1]),
}


def own(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> NodeProto:
    """Return a node of onnxruntime's domain; names are separated by spaces, and a dot is an input left out."""
    names = ["" if name == "." else name for name in inputs.split()]
    written = ["" if name == "." else name for name in outputs.split()]
    return node(op, names, written, domain="com.microsoft", **attributes)


def graph(*nodes: NodeProto, opset: int = 18) -> ModelProto:
    read = {name for each in nodes for name in each.input}
    model = after_gru(nodes, {name: array for name, array in WEIGHTS.items() if name in read}, opset=opset)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@pytest.mark.parametrize(
    "nodes",
    [
        [own("Gelu", "s")],
        [own("FastGelu", "s")],
        [own("FastGelu", "s v")],
        [own("BiasGelu", "s v")],
        [own("QuickGelu", "s")],
        [own("QuickGelu", "s", alpha=1.0)],
        [own("FusedMatMul", "s M", transB=1, alpha=0.5)],
        [own("FusedMatMul", "s M", transBatchA=0, transBatchB=0, transA=0, transB=0, alpha=2.0)],
        [own("FusedMatMul", "s M")],
        [own("FusedGemm", "h M v", activation="Tanh", transB=1)],
        [own("FusedGemm", "h M", activation="LeakyRelu", activation_alpha=0.2, alpha=0.5)],
        [own("FusedGemm", "h M", activation="Relu", activation_alpha=0.0)],
        [own("SkipLayerNormalization", "s s v w u", epsilon=1e-5)],
        [own("SkipLayerNormalization", "s s v w", epsilon=1e-3)],
        [own("SkipLayerNormalization", "s s v", "n . . t"), node("Add", ["n", "t"], ["y"])],
        [own("SkipSimplifiedLayerNormalization", "s s v", epsilon=1e-5)],
        [own("SkipSimplifiedLayerNormalization", "s s v w", "n . . t"), node("Add", ["n", "t"], ["y"])],
        [node("SimplifiedLayerNormalization", ["s", "v"], ["y"], axis=-1, epsilon=1e-5)],
        [own("ExpandDims", "s axis", "e"), node("Squeeze", ["e", "first"], ["y"])],
        [own("Trilu", "M", "t", upper=0), node("MatMul", ["s", "t"], ["y"])],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_operators(nodes: list[NodeProto]) -> None:
    converted_and_checked(graph(*nodes))


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [("Relu", []), ("Tanh", []), ("LeakyRelu", [0.3]), ("Clip", [-0.2, 0.1]), ("HardSigmoid", [0.3, 0.4])],
)
@pytest.mark.parametrize("inputs", ["c K", "c K v", "c K . c"])
def test_convolutions(activation: str, parameters: list[float], inputs: str) -> None:
    nodes = [
        node("Transpose", ["s"], ["c"], perm=[1, 2, 0]),
        own(
            "FusedConv", inputs, "f", activation=activation, **({"activation_params": parameters} if parameters else {})
        ),
        node("Transpose", ["f"], ["y"], perm=[2, 0, 1]),
    ]
    converted_and_checked(graph(*nodes))


def test_a_softmax_of_a_sum() -> None:
    """Only onnxruntime for GPUs runs it: compared with what it was made of."""
    fused = convert(graph(own("BiasSoftmax", "s v", axis=-1, is_inner_broadcast=1)))
    plain = convert(graph(node("Add", ["s", "v"], ["a"]), node("Softmax", ["a"], ["y"])))
    x = np.random.default_rng(0).standard_normal((7, 2, INPUT), np.float32)
    np.testing.assert_array_equal(fused.run({"x": x})["y"], plain.run({"x": x})["y"])


@pytest.mark.parametrize(
    ("made", "message", "reason"),
    [
        (own("MatMulNBits", "s M v"), "the model was quantized", DesignReason.QUANTIZED),
        (own("DynamicQuantizeMatMul", "s M v"), "the model was quantized", DesignReason.QUANTIZED),
        (own("QLinearAdd", "s M v"), "the model was quantized", DesignReason.QUANTIZED),
        (own("MultiHeadAttention", "s"), "it lets every timestep look at all others", DesignReason.WHOLE_SEQUENCE),
        (own("Inverse", "s"), "onnxruntime's own; convert the file from before", DesignReason.OTHER_FORMAT),
        (own("SkipLayerNormalization", "s s v", "y m"), "convert the file from before", DesignReason.OTHER_FORMAT),
        (
            node("Conv", ["s", "M"], ["y"], domain="com.microsoft.nchwc"),
            "it is an operator of onnxruntime's own; convert the file from before onnxruntime optimized it",
            DesignReason.OTHER_FORMAT,
        ),
    ],
)
def test_refused(made: NodeProto, message: str, reason: DesignReason) -> None:
    with pytest.raises(UnsupportedError, match=message) as error:
        convert(graph(made))
    assert error.value.reason is reason


def optimized(data: bytes, level: str, folder: Path) -> bytes:
    """Return a model as onnxruntime writes it at a level of its optimizer."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return (folder / "optimized.onnx").read_bytes()


def test_what_else_is_refused_of_optimized_files() -> None:
    model = graph(node("Det", ["s"], ["y"]))
    model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    with pytest.raises(UnsupportedError, match="functions; or convert the file from before onnxruntime optimized it"):
        convert(model)


NETWORKS = {**torch_networks.NETWORKS, **torch_topologies.NETWORKS}
CHANGED = [
    "gelu",
    "silu",
    "convolution",
    "layer_norms",
    "loop",
    "state_of_a_vector",
    "hand_made_cell",
    "hand_made_loop",
]


def check_optimized(network: Network, *, dynamo: bool, level: str, folder: Path) -> None:
    data = optimized(exported(network, dynamo=dynamo, opset=20 if dynamo else 17), level, folder)
    model = grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx"), reference=True))
    check(model, network, network.inputs)
    assert model.verify().max_error < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("level", ["basic", "extended"])
@pytest.mark.parametrize("name", CHANGED)
def test_optimized_files(name: str, level: str, tmp_path: Path) -> None:
    check_optimized(NETWORKS[name], dynamo=False, level=level, folder=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_optimized(name: str, dynamo: bool, level: str, tmp_path: Path) -> None:
    check_optimized(NETWORKS[name], dynamo=dynamo, level=level, folder=tmp_path)
