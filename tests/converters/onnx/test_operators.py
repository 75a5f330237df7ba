"""Operators one by one, in graphs made by hand, compared with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx_graphs
import pytest
from onnx import TensorProto
from onnx_graphs import HIDDEN, INPUT, after_gru, converted_and_checked, gru_weights, kinds, node, proto, random

import grurt
from grurt.errors import UnsupportedError

LINEAR = {"M": random(HIDDEN, 4), "c": random(4)}


def checked_gru(opset: int = 18, *, directions: int = 1, shapes: bool = True, **attributes: object) -> grurt.Model:
    """Convert a GRU node with a state input, its Y transposed so that directions are features."""
    merge = [
        node("Transpose", ["Y"], ["T"], perm=[0, 2, 1, 3]),
        node("Reshape", ["T", "shape"], ["y"]),
    ]
    weights = {**gru_weights(directions), "shape": np.array([0, 0, -1])}
    nodes = [node("GRU", ["x", "W", "R", "B", "", "h"], ["Y", "Y_h"], hidden_size=HIDDEN, **attributes), *merge]
    inputs = {"x": ("t", "b", INPUT), "h": (directions, "b", HIDDEN)}
    return converted_and_checked(proto(nodes, inputs, ["y", "Y_h"], weights, opset=opset))


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 14, 18, 22])
@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_gru_of_every_version(opset: int, linear_before_reset: int) -> None:
    (layer,) = checked_gru(opset, linear_before_reset=linear_before_reset).layers
    assert isinstance(layer, grurt.GRU)
    assert layer.linear_before_reset == bool(linear_before_reset)


def test_gru_reverse() -> None:
    model = checked_gru(direction="reverse")
    assert model.unstreamable_reason is not None
    assert model.signature.outputs[1].states == ("gru",)  # type: ignore[union-attr]


def test_gru_bidirectional_is_two_layers() -> None:
    model = checked_gru(direction="bidirectional", directions=2)
    assert [layer.name for layer in model.layers] == ["gru.forward", "gru.reverse", "gru.concat"]
    assert model.signature.inputs[1].states == ("gru.forward", "gru.reverse")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("names", "alpha", "beta"),
    [
        (["Sigmoid", "Relu"], [], []),
        (["HardSigmoid", "Tanh"], [], []),
        (["HardSigmoid", "LeakyRelu"], [0.3, 0.2], [0.4]),
        (["Sigmoid", "LeakyRelu"], [0.2], []),
        (["Sigmoid", "Elu"], [0.7], []),
        (["Affine", "Softsign"], [0.5], [0.1]),
        (["Sigmoid", "ScaledTanh"], [0.8], [0.9]),
        (["Sigmoid", "Softplus"], [], []),
        (["Sigmoid", "ThresholdedRelu"], [0.1], []),
        (["sigmoid", "tanh"], [], []),
    ],
)
def test_gru_activations(names: list[str], alpha: list[float], beta: list[float]) -> None:
    options: dict[str, object] = {"activations": names}
    options |= {"activation_alpha": alpha} if alpha else {}
    options |= {"activation_beta": beta} if beta else {}
    checked_gru(**options)


def test_alphas_go_only_to_activations_that_take_them() -> None:
    model = checked_gru(activations=["Sigmoid", "LeakyRelu", "HardSigmoid", "Elu"], activation_alpha=[0.3, 0.25, 0.6],
                      activation_beta=[0.4], direction="bidirectional", directions=2)  # fmt: skip
    first, second = model.layers[:2]
    assert isinstance(first, grurt.GRU)
    assert isinstance(second, grurt.GRU)
    assert first.candidate_activation == grurt.LeakyRelu(pytest.approx(0.3))
    assert second.gate_activation == grurt.HardSigmoid(pytest.approx(0.25), pytest.approx(0.4))
    assert second.candidate_activation == grurt.Elu(pytest.approx(0.6))


def test_gru_clip() -> None:
    (layer,) = checked_gru(clip=0.25).layers
    assert isinstance(layer, grurt.GRU)
    assert layer.clip == 0.25


def test_gru_batch_first_layout() -> None:
    nodes = [
        node("GRU", ["x", "W", "R", "B", "", "h"], ["Y", "Y_h"], hidden_size=HIDDEN, layout=1),
        node("Squeeze", ["Y", "two"], ["y"]),
    ]
    model = onnx_graphs.convert(
        proto(
            nodes,
            {"x": ("b", "t", INPUT), "h": ("b", 1, HIDDEN)},
            ["y", "Y_h"],
            {**gru_weights(), "two": np.array([2])},
        )
    )
    time_first = checked_gru()
    x, h = random(2, 6, INPUT), random(2, 1, HIDDEN)
    found, expected = model.run({"x": x, "h": h}), time_first.run({"x": x.swapaxes(0, 1), "h": h.swapaxes(0, 1)})
    assert isinstance(found, dict)
    assert isinstance(expected, dict)
    np.testing.assert_array_equal(found["y"], expected["y"].swapaxes(0, 1))
    np.testing.assert_array_equal(found["Y_h"], expected["Y_h"].swapaxes(0, 1))


@pytest.mark.parametrize("layout", [0, 1])
def test_a_node_alone_with_both_directions(layout: int) -> None:
    """Y and Y_h as the operator writes them; onnxruntime knows layout 0 only: layout 1 is compared with that."""
    weights = gru_weights(2)
    shapes = {"x": ("t", "b", INPUT), "h": (2, "b", HIDDEN)}
    if layout:
        shapes = {"x": ("b", "t", INPUT), "h": ("b", 2, HIDDEN)}
    names = ["x", "W", "R", "B", "", "h"]
    both = node("GRU", names, ["Y", "Y_h"], hidden_size=HIDDEN, direction="bidirectional", layout=layout)
    graph = proto([both], shapes, ["Y", "Y_h"], weights)
    x, h = random(6, 2, INPUT), random(2, 2, HIDDEN)
    time_first = node("GRU", names, ["Y", "Y_h"], hidden_size=HIDDEN, direction="bidirectional")
    given = {"x": ("t", "b", INPUT), "h": (2, "b", HIDDEN)}
    expected = run(converted_and_checked(proto([time_first], given, ["Y", "Y_h"], weights)), x=x, h=h)
    assert expected["Y"].shape == (6, 2, 2, HIDDEN)
    if layout:
        found = run(onnx_graphs.convert(graph), x=x.swapaxes(0, 1), h=h.swapaxes(0, 1))
        np.testing.assert_array_equal(found["Y"], expected["Y"].transpose(2, 0, 1, 3))
        np.testing.assert_array_equal(found["Y_h"], expected["Y_h"].swapaxes(0, 1))


def run(model: grurt.Model, **inputs: onnx_graphs.Array) -> dict[str, onnx_graphs.Array]:
    found = model.run(inputs)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_lengths_as_an_input(direction: str, linear_before_reset: int) -> None:
    directions = 2 if direction == "bidirectional" else 1
    attributes = {"hidden_size": HIDDEN, "direction": direction, "linear_before_reset": linear_before_reset}
    nodes = [node("GRU", ["x", "W", "R", "B", "lens", "h"], ["Y", "Y_h"], **attributes)]
    inputs = {"x": ("t", "b", INPUT), "lens": ("b",), "h": (directions, "b", HIDDEN)}
    graph = proto(nodes, inputs, ["Y", "Y_h"], gru_weights(directions), dtypes={"lens": TensorProto.INT32})
    model = converted_and_checked(graph)
    assert model.signature.inputs[1] == grurt.LengthsPort(name="lens", dtype="int32", axes=("batch",))
    x, h = random(6, 3, INPUT), random(directions, 3, HIDDEN)
    found = run(model, x=x, lens=np.array([2, 6, 1], np.int32), h=h)
    assert not found["Y"][2:, :, 0].any()
    for row, length in enumerate([2, 6, 1]):
        alone = run(model, x=x[:length, row : row + 1], lens=np.array([length], np.int32), h=h[:, row : row + 1])
        np.testing.assert_array_equal(found["Y"][:length, :, row], alone["Y"][:, :, 0])
        np.testing.assert_array_equal(found["Y_h"][:, row], alone["Y_h"][:, 0])


@pytest.mark.parametrize(("lengths", "kept"), [([4, 2], (4, 2)), ([3, 3], (3, 3)), ([4, 4], ())])
def test_lengths_as_constants(lengths: list[int], kept: tuple[int, ...]) -> None:
    nodes = [
        node("GRU", ["x", "W", "R", "B", "lens"], ["Y", "Y_h"], hidden_size=HIDDEN),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("MatMul", ["s", "M"], ["m"]),
        node("Add", ["m", "c"], ["y"]),
    ]
    weights = {**gru_weights(), **LINEAR, "lens": np.array(lengths, np.int32), "one": np.array([1])}
    model = converted_and_checked(proto(nodes, {"x": (4, 2, INPUT)}, ["y", "Y_h"], weights))
    assert model.signature.lengths == kept


def checked_with_initial_state(state: onnx_graphs.Array) -> grurt.Model:
    nodes = [
        node("GRU", ["x", "W", "R", "B", "", "h0"], ["Y"], hidden_size=HIDDEN),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    weights = {**gru_weights(), "h0": state, "one": np.array([1])}
    return converted_and_checked(proto(nodes, {"x": ("t", 2, INPUT)}, ["y"], weights))


def test_constant_initial_state_is_learned() -> None:
    model = checked_with_initial_state(np.repeat(random(1, 1, HIDDEN), 2, axis=1))
    np.testing.assert_array_equal(model.weights["gru.initial_state"], random(1, 1, HIDDEN)[0, 0])


def test_initial_state_of_zeros_is_none() -> None:
    assert "gru.initial_state" not in checked_with_initial_state(np.zeros((1, 2, HIDDEN), np.float32)).weights


def test_initial_state_that_differs_over_the_batch_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="initial state differs between the sequences of the batch"):
        checked_with_initial_state(random(1, 2, HIDDEN))


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("bias", ["", "c", "row", "scalar"])
def test_gemm(trans_b: int, alpha: float, beta: float, bias: str) -> None:
    weights = {
        "M": random(4, HIDDEN) if trans_b else random(HIDDEN, 4),
        **{"": {}, "c": {"c": random(4)}, "row": {"row": random(1, 4)}, "scalar": {"scalar": random()}}[bias],
    }
    inputs = ["h", "M", bias] if bias else ["h", "M"]
    model = converted_and_checked(
        after_gru([node("Gemm", inputs, ["y"], transB=trans_b, alpha=alpha, beta=beta)], weights)
    )
    assert kinds(model) == ["gru", "last_step", "linear"]


@pytest.mark.parametrize("order", [["m", "c"], ["c", "m"]])
def test_matmul_and_add_are_one_linear_layer(order: list[str]) -> None:
    model = converted_and_checked(after_gru([node("MatMul", ["s", "M"], ["m"]), node("Add", order, ["y"])], LINEAR))
    assert kinds(model) == ["gru", "linear"]


def test_a_bias_is_not_fused_where_the_product_is_read_again() -> None:
    nodes = [node("MatMul", ["s", "M"], ["m"]), node("Add", ["m", "c"], ["a"]), node("Mul", ["a", "m"], ["y"])]
    assert kinds(converted_and_checked(after_gru(nodes, LINEAR))) == ["gru", "linear", "batch_norm", "mul"]


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (HIDDEN,), (1, 1, HIDDEN)])
@pytest.mark.parametrize("first", [False, True])
def test_arithmetic_with_constants(op: str, shape: tuple[int, ...], first: bool) -> None:
    constant = random(*shape, seed=7) + np.float32(1.5)
    nodes = [node("Exp", ["s"], ["e"]), node(op, ["c", "e"] if first else ["e", "c"], ["y"])]
    converted_and_checked(after_gru(nodes, {"c": constant}))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Sum"])
def test_arithmetic_of_values(op: str) -> None:
    converted_and_checked(after_gru([node("Tanh", ["s"], ["a"]), node(op, ["s", "a"], ["y"])]))


@pytest.mark.parametrize(
    ("op", "attributes", "kind"),
    [
        ("Relu", {}, "activation"),
        ("LeakyRelu", {"alpha": 0.2}, "activation"),
        ("LeakyRelu", {}, "activation"),
        ("Elu", {"alpha": 0.7}, "activation"),
        ("ThresholdedRelu", {"alpha": 0.1}, "activation"),
        ("HardSigmoid", {}, "activation"),
        ("HardSigmoid", {"alpha": 0.25, "beta": 0.4}, "activation"),
        ("Sigmoid", {}, "activation"),
        ("Tanh", {}, "activation"),
        ("Softplus", {}, "activation"),
        ("Softsign", {}, "activation"),
        ("Neg", {}, "activation"),
        ("Softmax", {"axis": -1}, "activation"),
        ("LogSoftmax", {"axis": 2}, "activation"),
    ],
)
def test_activations(op: str, attributes: dict[str, object], kind: str) -> None:
    assert kinds(converted_and_checked(after_gru([node(op, ["s"], ["y"], **attributes)]))) == ["gru", kind]


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    model = converted_and_checked(after_gru([node("Gelu", ["s"], ["y"], approximate=approximate)], opset=20))
    assert model.layers[1].function == grurt.Gelu(approximate=approximate)  # type: ignore[arg-type, union-attr]


def test_softmax_before_opset_13_worked_on_all_axes_from_one() -> None:
    nodes = [node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=HIDDEN), node("Squeeze", ["Y"], ["s"], axes=[1])]
    weights, inputs = gru_weights(), {"x": ("t", "b", INPUT)}
    converted_and_checked(proto([*nodes, node("Softmax", ["s"], ["y"], axis=2)], inputs, ["y"], weights, opset=11))
    with pytest.raises(UnsupportedError, match="its axis 1 of 3 is not that of the features"):
        onnx_graphs.convert(proto([*nodes, node("Softmax", ["s"], ["y"])], inputs, ["y"], weights, opset=11))


@pytest.mark.parametrize("bounds", [("low", "high"), ("low", ""), ("", "high")])
def test_clip_with_bounds_as_inputs(bounds: tuple[str, str]) -> None:
    weights = {"low": np.array(-0.1, np.float32), "high": np.array(0.2, np.float32)}
    used = {name: weights[name] for name in bounds if name}
    converted_and_checked(after_gru([node("Clip", ["s", *bounds], ["y"])], used))


def test_clip_with_bounds_as_attributes() -> None:
    nodes = [
        node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=HIDDEN),
        node("Squeeze", ["Y"], ["s"], axes=[1]),
        node("Clip", ["s"], ["y"], min=-0.1, max=0.2),
    ]
    converted_and_checked(proto(nodes, {"x": ("t", "b", INPUT)}, ["y"], gru_weights(), opset=10))


@pytest.mark.parametrize(("slope", "kind"), [((1,), "activation"), ((HIDDEN,), "prelu"), ((1, 1, HIDDEN), "prelu")])
def test_prelu(slope: tuple[int, ...], kind: str) -> None:
    assert kinds(converted_and_checked(after_gru([node("PRelu", ["s", "a"], ["y"])], {"a": random(*slope)}))) == [
        "gru",
        kind,
    ]


@pytest.mark.parametrize("inputs", [["s", "g"], ["s", "g", "b"]])
def test_layer_normalization(inputs: list[str]) -> None:
    weights = {"g": random(HIDDEN, seed=4), "b": random(HIDDEN, seed=5)}
    used = {name: weights[name] for name in inputs if name in weights}
    converted_and_checked(after_gru([node("LayerNormalization", inputs, ["y"], epsilon=1e-3, axis=-1)], used))


def test_batch_normalization_of_last_states() -> None:
    weights = {name: random(HIDDEN, seed=index) for index, name in enumerate(["g", "b", "m"])}
    weights["v"] = np.abs(random(HIDDEN, seed=9))
    converted_and_checked(
        after_gru([node("BatchNormalization", ["h", "g", "b", "m", "v"], ["y"], epsilon=1e-3)], weights)
    )


@pytest.mark.parametrize(("dilation", "group"), [(1, 1), (2, 1), (1, 2)])
def test_causal_convolution(dilation: int, group: int) -> None:
    nodes = [
        node("Conv", ["x", "K", "k"], ["c"], pads=[2 * dilation, 0], dilations=[dilation], group=group),
        node("Transpose", ["c"], ["tbf"], perm=[2, 0, 1]),
        node("GRU", ["tbf", "W", "R", "B"], ["Y"], hidden_size=HIDDEN),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    weights = {**gru_weights(size=6), "K": random(6, 4 // group, 3), "k": random(6), "one": np.array([1])}
    model = converted_and_checked(proto(nodes, {"x": ("b", 4, "t")}, ["y"], weights))
    assert kinds(model) == ["conv1d", "gru"]
    assert model.signature.inputs[0].axes == ("batch", "feature", "time")


@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.INT32])
def test_embedding(dtype: int) -> None:
    nodes = [
        node("Gather", ["E", "x"], ["e"]),
        node("GRU", ["e", "W", "R", "B"], ["Y"], hidden_size=HIDDEN),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    weights = {**gru_weights(), "E": random(11, INPUT), "one": np.array([1])}
    model = converted_and_checked(proto(nodes, {"x": ("t", "b")}, ["y"], weights, dtypes={"x": dtype}))
    assert model.inputs == (grurt.TokenInput("x", 11),)


def test_gru_cell_spelled_out() -> None:
    """Operands stand in another order than PyTorch's exporters write them, and biases are added apart."""
    nodes = [
        node("MatMul", ["x", "Wi"], ["xi"]),
        node("Add", ["bi", "xi"], ["i"]),
        node("MatMul", ["h", "Wh"], ["g"]),
        node("Split", ["i", "sizes"], ["ir", "iz", "in"], axis=-1),
        node("Split", ["g", "sizes"], ["hr", "hz", "hn"], axis=1),
        node("Add", ["ir", "hr"], ["ar"]),
        node("Sigmoid", ["ar"], ["r"]),
        node("Add", ["hz", "iz"], ["az"]),
        node("Sigmoid", ["az"], ["z"]),
        node("Mul", ["r", "hn"], ["rn"]),
        node("Add", ["rn", "in"], ["an"]),
        node("Tanh", ["an"], ["n"]),
        node("Sub", ["h", "n"], ["d"]),
        node("Mul", ["z", "d"], ["zd"]),
        node("Add", ["n", "zd"], ["y"]),
    ]
    weights = {
        "Wi": random(INPUT, 3 * HIDDEN),
        "Wh": random(HIDDEN, 3 * HIDDEN),
        "bi": random(3 * HIDDEN),
        "sizes": np.array([HIDDEN] * 3),
    }
    model = converted_and_checked(proto(nodes, {"x": ("b", INPUT), "h": ("b", HIDDEN)}, ["y"], weights))
    assert kinds(model) == ["gru"]
    assert model.signature.outputs[0].states == ("gru",)  # type: ignore[union-attr]


def test_weights_of_half_precision_are_widened_and_noted() -> None:
    half = {name: array.astype(np.float16) for name, array in gru_weights().items()}
    nodes = [
        node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=HIDDEN),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    types = {"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16}
    model = onnx_graphs.convert(
        proto(nodes, {"x": ("t", "b", INPUT)}, ["y"], {**half, "one": np.array([1])}, dtypes=types)
    )
    assert model.source.notes == ("weights of float16 were converted to float32",)
    assert model.signature.outputs[0].dtype == "float16"
    np.testing.assert_array_equal(model.weights["gru.weight_ih"], half["W"][0].astype(np.float32))


def test_weights_computed_by_the_graph_are_folded() -> None:
    """Weight normalization, g * v / |v|, as the TorchScript exporter leaves it in the graph."""
    nodes = [
        node("ReduceL2", ["v", "one"], ["norm"], keepdims=1),
        node("Div", ["v", "norm"], ["unit"]),
        node("Mul", ["unit", "g"], ["M"]),
        node("Transpose", ["M"], ["Mt"], perm=[1, 0]),
        node("MatMul", ["s", "Mt"], ["y"]),
    ]
    weights = {"v": random(4, HIDDEN), "g": random(4, 1)}
    assert kinds(converted_and_checked(after_gru(nodes, weights))) == ["gru", "linear"]


@pytest.mark.parametrize(
    ("nodes", "weights", "axes"),
    [
        ([node("Identity", ["s"], ["y"])], {}, ("time", "batch", "feature")),
        ([node("Transpose", ["s"], ["y"], perm=[1, 2, 0])], {}, ("batch", "feature", "time")),
        ([node("Unsqueeze", ["s", "zero"], ["y"])], {}, ("one", "time", "batch", "feature")),
        ([node("Gather", ["s", "m"], ["y"], axis=0)], {"m": np.array(-1)}, ("batch", "feature")),
        ([node("Gather", ["s", "m"], ["y"], axis=0)], {"m": np.array([-1])}, ("one", "batch", "feature")),
        ([node("Relu", ["Y"], ["y"])], {}, ("time", "one", "batch", "feature")),
        ([node("Relu", ["Y_h"], ["y"])], {}, ("one", "batch", "feature")),
    ],
)
def test_axes_of_outputs(nodes: list[object], weights: dict[str, onnx_graphs.Array], axes: tuple[str, ...]) -> None:
    model = converted_and_checked(after_gru(nodes, weights))  # type: ignore[arg-type]
    assert model.signature.outputs[0].axes == axes


def test_a_features_axis_of_size_one_may_be_squeezed_away() -> None:
    nodes = [node("MatMul", ["s", "M"], ["m"]), node("Squeeze", ["m", "two"], ["y"])]
    model = converted_and_checked(after_gru(nodes, {"M": random(HIDDEN, 1), "two": np.array([2])}))
    assert model.signature.outputs[0].axes == ("time", "batch")
