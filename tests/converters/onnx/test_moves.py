"""ONNX operators that split, join, reverse and repeat, and reductions: what becomes of them, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx_graphs import (
    HIDDEN,
    INPUT,
    Array,
    after_gru,
    convert,
    converted_and_checked,
    gru_weights,
    kinds,
    node,
    proto,
    random,
)

import grurt
from grurt.errors import ConversionError, GrurtError, UnsupportedError

WEIGHTS = {
    "M": random(HIDDEN, 6),
    "parts": np.array([0, 0, 2, 3]),
    "merge": np.array([0, 0, -1]),
    "tail": np.array([-1]),
    "far": np.array([-(2**63) + 1]),
    "back": np.array([-1]),
    "first": np.array([0]),
    "end": np.array([2]),
    "cube": np.array(3, np.float32),
    "wide": np.array([4, 1, 1, 1]),
}

BRANCH = helper.make_graph(
    [node("Identity", ["s"], ["t"])], "branch", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)]
)


def checked_graph(*nodes: NodeProto, **options: object) -> grurt.Model:
    """Convert a GRU with nodes behind it, and compare."""
    read = {name for one in nodes for name in one.input}
    used: dict[str, Array] = {name: array for name, array in WEIGHTS.items() if name in read}
    return converted_and_checked(after_gru(nodes, used, **options))


def test_features_split_in_the_output() -> None:
    model = checked_graph(node("MatMul", ["s", "M"], ["m"]), node("Reshape", ["m", "parts"], ["y"]))
    assert kinds(model) == ["gru", "linear"]
    (port,) = model.signature.outputs
    assert port.axes == ("time", "batch", "position", "feature")
    assert port.positions == 2


def test_features_split_and_merged_again() -> None:
    split = [node("MatMul", ["s", "M"], ["m"]), node("Reshape", ["m", "parts"], ["p"])]
    model = checked_graph(*split, node("Reshape", ["p", "merge"], ["y"]))
    assert kinds(model) == ["gru", "linear"]


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_of_features(op: str, keepdims: int) -> None:
    axes = {"axes": [-1]} if op == "ReduceMean" else {}
    inputs = ["s"] if op == "ReduceMean" else ["s", "tail"]
    model = checked_graph(node(op, inputs, ["y"], keepdims=keepdims, **axes), opset=17)
    assert kinds(model) == ["gru", "linear"]
    assert len(model.signature.outputs[0].axes) == 2 + keepdims


@pytest.mark.parametrize("op", ["Abs", "HardSwish", "Mish", "Selu", "Celu"])
def test_functions_of_several_layers(op: str) -> None:
    checked_graph(node(op, ["s"], ["y"], **({"alpha": 0.3} if op == "Celu" else {})))


def test_powers() -> None:
    assert kinds(checked_graph(node("Pow", ["s", "cube"], ["y"]))) == ["gru", "mul"]


def test_an_equation_with_the_matrix_transposed() -> None:
    matrix = {"T": random(4, HIDDEN)}
    model = converted_and_checked(after_gru([node("Einsum", ["s", "T"], ["y"], equation="tbi, oi -> tbo")], matrix))
    assert kinds(model) == ["gru", "linear"]


def test_a_reversed_sequence() -> None:
    nodes = [
        node("Slice", ["x", "back", "far", "first", "back"], ["r"]),
        node("GRU", ["r", "W", "R", "B"], ["Y"], hidden_size=HIDDEN, direction="reverse"),
        node("Slice", ["Y", "back", "far", "first", "back"], ["y"]),
    ]
    weights = {**gru_weights(), **{name: WEIGHTS[name] for name in ("back", "far", "first")}}
    model = converted_and_checked(proto(nodes, {"x": ("t", "b", INPUT)}, ["y"], weights))
    (layer,) = model.layers
    assert isinstance(layer, grurt.GRU)
    assert layer.direction == "forward"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("ReduceMean", ["s"], ["y"])], "it computes across all axes; one axis can be reduced, of features"),
        ([node("ReduceProd", ["s", "first"], ["y"])], "it computes across timesteps or sequences"),
        ([node("Einsum", ["s", "M"], ["y"], equation="tbi,bo->tbo")], "its equation is .*; supported is a product"),
        ([node("Einsum", ["s", "s"], ["y"], equation="tbi,sbi->ts")], "its equation is .*; supported is a product"),
        (
            [
                node("MatMul", ["h", "M"], ["m"]),
                node("Unsqueeze", ["m", "end"], ["u"]),
                node("Mul", ["s", "u"], ["y"]),
            ],
            "it repeats a value of shape .* along the feature axis of 'gru'; only a single feature can be repeated",
        ),
        (
            [node("QuantizeLinear", ["s", "cube"], ["q"]), node("DequantizeLinear", ["q", "cube"], ["y"])],
            "the model was quantized, and grurt reads models of floating-point weights; convert the model from before",
        ),
        (
            [node("If", ["h"], ["y"], then_branch=BRANCH, else_branch=BRANCH)],
            "a branch that depends on the inputs is not supported; export without data-dependent control flow",
        ),
        (
            [node("Det", ["s"], ["y"])],
            (
                "the operator is not supported; supported are GRU, linear, embedding, normalization and causal "
                "convolution layers, and element-wise functions$"
            ),
        ),
    ],
)
def test_refused(nodes: Sequence[NodeProto], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        checked_graph(*nodes)


def test_sizes_that_differ() -> None:
    inputs = {"z": (3, 2, HIDDEN)}
    with pytest.raises(UnsupportedError, match=r"of size 3 meets .* of size 4; values that are combined must have the"):
        convert(after_gru([node("Add", ["z", "s"], ["y"])], shape=(4, 2, INPUT), inputs=inputs))


def test_two_sequences_of_different_lengths() -> None:
    nodes = [
        node("Relu", ["z"], ["r"]),
        node("Gather", ["r", "last"], ["g"], axis=0),
        node("Add", ["g", "h"], ["y"]),
    ]
    graph = after_gru(nodes, {"last": np.array(-1)}, shape=(4, 2, INPUT), inputs={"z": (3, 2, HIDDEN)})
    with pytest.raises(
        UnsupportedError, match=r"input 'z': it has 3 timesteps and 'x' has 4; .* export with sequences of one length"
    ):
        convert(graph)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Celu", ["s"], ["y"], alpha=0.0)], "its alpha is 0: the file is damaged"),
        ([node("Einsum", ["s", "M"], ["y"], equation="bi,io->bo")], "its equation does not fit"),
    ],
)
def test_damaged(nodes: Sequence[NodeProto], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        checked_graph(*nodes)


def lengths(*nodes: NodeProto, **weights: Array) -> None:
    inputs = {"x": ("t", "b", INPUT), "lens": ("b",)}
    convert(proto(nodes, inputs, ["Y"], {**gru_weights(), **weights}, dtypes={"lens": TensorProto.INT32}))


def test_padded_sequences_that_were_reversed() -> None:
    nodes = [
        node("Slice", ["x", "back", "far", "first", "back"], ["r"]),
        node("GRU", ["r", "W", "R", "B", "lens"], ["Y"], hidden_size=HIDDEN),
    ]
    with pytest.raises(UnsupportedError, match="it reads padded sequences that were reversed; use a bidirectional GRU"):
        lengths(*nodes, **{name: WEIGHTS[name] for name in ("back", "far", "first")})


def test_the_lengths_themselves_reversed() -> None:
    nodes = [
        node("Shape", ["lens"], ["n"]),
        node("TopK", ["lens", "n"], ["sorted", "order"]),
        node("Slice", ["sorted", "back", "far", "first", "back"], ["r"]),
        node("GRU", ["x", "W", "R", "B", "r"], ["Y"], hidden_size=HIDDEN),
    ]
    with pytest.raises(GrurtError, match="it reverses axis 0 of input 'lens', sorted; only timesteps can be reversed"):
        lengths(*nodes, **{name: WEIGHTS[name] for name in ("back", "far", "first")})
