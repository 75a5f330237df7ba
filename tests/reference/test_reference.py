"""The float64 oracle itself, against PyTorch and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import models
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

import grurt
from grurt import reference
from grurt.network import functions

Array = np.ndarray[Any, Any]

TORCH_FUNCTIONS: dict[functions.AnyFunction, torch.nn.Module] = {
    functions.Relu(): torch.nn.ReLU(),
    functions.LeakyRelu(0.2): torch.nn.LeakyReLU(0.2),
    functions.ThresholdedRelu(0.4): torch.nn.Threshold(0.4, 0.0),
    functions.Elu(1.3): torch.nn.ELU(1.3),
    functions.Gelu(): torch.nn.GELU(),
    functions.Gelu("tanh"): torch.nn.GELU("tanh"),
    functions.Sigmoid(): torch.nn.Sigmoid(),
    functions.HardSigmoid(1 / 6, 0.5): torch.nn.Hardsigmoid(),
    functions.Tanh(): torch.nn.Tanh(),
    functions.Softsign(): torch.nn.Softsign(),
    functions.Softplus(): torch.nn.Softplus(threshold=1000),
    functions.Clip(-0.5, 0.8): torch.nn.Hardtanh(-0.5, 0.8),
    functions.Softmax(): torch.nn.Softmax(-1),
    functions.LogSoftmax(): torch.nn.LogSoftmax(-1),
}

ONNX_FUNCTIONS: dict[functions.ElementwiseFunction, tuple[str, list[float], list[float]]] = {
    functions.Sigmoid(): ("Sigmoid", [], []),
    functions.Tanh(): ("Tanh", [], []),
    functions.Relu(): ("Relu", [], []),
    functions.Softsign(): ("Softsign", [], []),
    functions.Softplus(): ("Softplus", [], []),
    functions.HardSigmoid(0.2, 0.5): ("HardSigmoid", [0.2], [0.5]),
    functions.LeakyRelu(0.2): ("LeakyRelu", [0.2], []),
    functions.ThresholdedRelu(0.4): ("ThresholdedRelu", [0.4], []),
    functions.Elu(1.3): ("Elu", [1.3], []),
    functions.ScaledTanh(1.7, 0.6): ("ScaledTanh", [1.7], [0.6]),
    functions.Affine(0.7, -0.2): ("Affine", [0.7], [-0.2]),
}

TORCH_MATHEMATICS: dict[functions.AnyFunction, Callable[[torch.Tensor], torch.Tensor]] = {
    functions.Exp(): torch.exp,
    functions.Log(): torch.log,
    functions.Sqrt(): torch.sqrt,
    functions.Reciprocal(): torch.reciprocal,
    functions.Pow(1.5): lambda x: torch.pow(x, 1.5),
    functions.Pow(-2.0): lambda x: torch.pow(x, -2.0),
    functions.Abs(): torch.abs,
    functions.Sign(): torch.sign,
    functions.Round(): torch.round,
    functions.Floor(): torch.floor,
    functions.Ceil(): torch.ceil,
    functions.Sin(): torch.sin,
    functions.Cos(): torch.cos,
    functions.Erf(): torch.erf,
}

TORCH_OPERATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "sub": torch.sub,
    "div": torch.div,
    "pow": torch.pow,
    "min": torch.minimum,
    "max": torch.maximum,
    "less": torch.lt,
    "less_or_equal": torch.le,
    "equal": torch.eq,
}

TORCH_REDUCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": lambda x: x.sum(-1, keepdim=True),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "prod": lambda x: x.prod(-1, keepdim=True),
    "max": lambda x: x.amax(-1, keepdim=True),
    "min": lambda x: x.amin(-1, keepdim=True),
    "l1": lambda x: x.norm(1, dim=-1, keepdim=True),
    "l2": lambda x: x.norm(dim=-1, keepdim=True),
    "log_sum_exp": lambda x: x.logsumexp(-1, keepdim=True),
    "argmax": lambda x: x.argmax(-1, keepdim=True),
    "argmin": lambda x: x.argmin(-1, keepdim=True),
}


def torch_answer(module: torch.nn.Module, model: grurt.Model, layer: str, xs: Array) -> Array:
    """Give the module the layer's weights, and return what it answers in float64."""
    names = {"mean": "running_mean", "variance": "running_var"}
    state = {
        names.get(name, name): torch.tensor(model.weights[f"{layer}.{name}"])
        for name in model.layers[0].weight_shapes()
    }
    module.load_state_dict(state, strict=False)
    with torch.no_grad():
        return module.eval().double()(torch.tensor(xs, dtype=torch.float64)).numpy()


def answer(model: grurt.Model, xs: Array) -> Array:
    return reference.run(model, {"x": xs})[0]["y"]


@pytest.mark.parametrize("function", TORCH_MATHEMATICS, ids=str)
def test_mathematics_is_that_of_torch(function: functions.AnyFunction) -> None:
    xs = np.concatenate([np.linspace(-9, 9, 181), [0.0, -0.5, 0.5, 1.5, 2.5, -50.0, 50.0]]).reshape(-1, 4)
    expected = TORCH_MATHEMATICS[function](torch.tensor(xs)).numpy()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(reference.function(function, xs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", TORCH_OPERATIONS)
def test_operations_are_those_of_torch(operation: Any) -> None:
    a, b = np.random.default_rng(26).normal(0, 2, (2, 9, 5)).round(1)
    layer = grurt.Binary(name="y", inputs=("a", "b"), operation=operation)
    model = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("a", 5), grurt.Input("b", 5)])
    with np.errstate(all="ignore"):
        found = reference.run(model, {"a": a, "b": b})[0]["y"]
    np.testing.assert_allclose(found, TORCH_OPERATIONS[operation](torch.tensor(a), torch.tensor(b)).numpy(), rtol=1e-12)


@pytest.mark.parametrize("operation", TORCH_REDUCTIONS)
def test_reductions_are_those_of_torch(operation: Any) -> None:
    xs = np.random.default_rng(27).normal(0, 2, (9, 5)).round()
    model = grurt.Model(layers=[grurt.Reduce(name="y", operation=operation)], weights={}, inputs=[grurt.Input("x", 5)])
    expected = TORCH_REDUCTIONS[operation](torch.tensor(xs)).numpy()
    np.testing.assert_allclose(answer(model, xs), expected, rtol=1e-12)


@pytest.mark.parametrize("function", TORCH_FUNCTIONS, ids=str)
def test_functions_are_those_of_torch(function: functions.AnyFunction) -> None:
    xs = np.concatenate([np.linspace(-9, 9, 181), [0.0, -50.0, 50.0]]).reshape(-1, 4)
    with torch.no_grad():
        expected = TORCH_FUNCTIONS[function](torch.tensor(xs)).numpy()
    np.testing.assert_allclose(reference.function(function, xs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", ONNX_FUNCTIONS, ids=str)
@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_gru_activations_and_clip_are_those_of_onnx(
    function: functions.ElementwiseFunction, linear_before_reset: int
) -> None:
    gru = {"linear_before_reset": bool(linear_before_reset), "candidate_activation": function, "clip": 0.7}
    check_gru_against_onnx("forward", **gru)


@pytest.mark.parametrize("options", [{"clip": 0.3}, {"bias": False}, {"initial_state": "zeros"}, {}], ids=str)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("linear_before_reset", [False, True])
def test_gru_variants_are_those_of_onnx(direction: str, linear_before_reset: bool, options: dict[str, Any]) -> None:
    check_gru_against_onnx(direction, linear_before_reset=linear_before_reset, **options)


def check_gru_against_onnx(direction: str, **options: Any) -> None:
    rng = np.random.default_rng(5)
    model = models.gru_model(3, 5, rng, direction=direction, **options)
    gru = model.layers[0]
    assert isinstance(gru, grurt.GRU)
    xs = rng.normal(size=(11, 3)).astype(np.float32)
    expected_ys, expected_h = onnx_gru(gru, model.weights, xs)
    outputs, states = reference.run(model, {"x": xs})
    np.testing.assert_allclose(outputs["y"], expected_ys, rtol=0, atol=1e-6)
    np.testing.assert_allclose(states["gru0"], expected_h, rtol=0, atol=1e-6)


def onnx_gru(gru: grurt.GRU, weights: Any, xs: Array) -> tuple[Array, Array]:
    """Run one ONNX GRU node in onnxruntime; return Y ``(n_steps, hidden)`` and Y_h ``(hidden,)``."""
    tensors = {"W": weights["gru0.weight_ih"], "R": weights["gru0.weight_hh"]}
    if gru.bias:
        tensors["B"] = np.concatenate([weights["gru0.bias_ih"], weights["gru0.bias_hh"]])
    if gru.initial_state == "learned":
        tensors["h"] = weights["gru0.initial_state"][None]
    names = [name if name in tensors else "" for name in ("W", "R", "B", "", "h")]
    (f, f_alpha, f_beta), (g, g_alpha, g_beta) = (
        ONNX_FUNCTIONS[gru.gate_activation],
        ONNX_FUNCTIONS[gru.candidate_activation],
    )
    attributes: dict[str, Any] = {"clip": gru.clip, "activation_alpha": f_alpha + g_alpha or None}
    attributes["activation_beta"] = f_beta + g_beta or None
    node = helper.make_node(
        "GRU",
        ["X", *names],
        ["Y", "Y_h"],
        hidden_size=gru.hidden_size,
        direction=gru.direction,
        linear_before_reset=int(gru.linear_before_reset),
        activations=[f, g],
        **attributes,
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "gru",
        [value("X", onnx.TensorProto.FLOAT, [None, 1, gru.input_size])],
        [value("Y", onnx.TensorProto.FLOAT, None), value("Y_h", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array[None], name) for name, array in tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ys, h = session.run(None, {"X": xs[:, None]})
    return ys[:, 0, 0], h[0, 0]


@pytest.mark.parametrize("n_layers", [1, 3])
def test_gru_is_that_of_torch(n_layers: int) -> None:
    rng = np.random.default_rng(6)
    model = models.gru_model(4, 7, rng, n_layers=n_layers)
    xs = rng.normal(size=(9, 4))
    module = torch.nn.GRU(4, 7, n_layers).double()
    for i in range(n_layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            z, r, n = np.split(model.weights[f"gru{i}.{name}"], 3)
            getattr(module, f"{name}_l{i}").data = torch.tensor(np.concatenate([r, z, n]), dtype=torch.float64)
    start = np.stack([model.weights[f"gru{i}.initial_state"] for i in range(n_layers)])
    with torch.no_grad():
        ys, h = module(torch.tensor(xs), torch.tensor(start, dtype=torch.float64))
    outputs, states = reference.run(model, {"x": xs})
    np.testing.assert_allclose(outputs["y"], ys.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.stack(list(states.values())), h.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_that_of_torch(bias: bool) -> None:
    rng = np.random.default_rng(7)
    model = models.layer_model(grurt.Linear(name="fc", input_size=5, output_size=3, bias=bias), rng=rng)
    xs = rng.normal(size=(6, 5))
    expected = torch_answer(torch.nn.Linear(5, 3, bias), model, "fc", xs)
    np.testing.assert_allclose(answer(model, xs), expected, rtol=0, atol=1e-12)


def test_layer_norm_is_that_of_torch() -> None:
    rng = np.random.default_rng(8)
    model = models.layer_model(grurt.LayerNorm(name="norm", size=6, epsilon=1e-3), rng=rng)
    xs = rng.normal(size=(6, 6)) + 3
    expected = torch_answer(torch.nn.LayerNorm(6, eps=1e-3), model, "norm", xs)
    np.testing.assert_allclose(answer(model, xs), expected, rtol=0, atol=1e-12)
    plain = models.layer_model(grurt.LayerNorm(name="norm", size=6, weight=False, bias=False), rng=rng)
    expected = torch_answer(torch.nn.LayerNorm(6, elementwise_affine=False), plain, "norm", xs)
    np.testing.assert_allclose(answer(plain, xs), expected, rtol=0, atol=1e-12)


def test_rms_norm_is_that_of_torch() -> None:
    rng = np.random.default_rng(28)
    model = models.layer_model(grurt.RMSNorm(name="norm", size=6, epsilon=1e-3), rng=rng)
    xs = rng.normal(size=(6, 6)) + 3
    expected = torch_answer(torch.nn.RMSNorm(6, eps=1e-3), model, "norm", xs)
    np.testing.assert_allclose(answer(model, xs), expected, rtol=0, atol=1e-12)
    plain = models.layer_model(grurt.RMSNorm(name="norm", size=6, weight=False), rng=rng)
    expected = torch_answer(torch.nn.RMSNorm(6, eps=1e-5, elementwise_affine=False), plain, "norm", xs)
    np.testing.assert_allclose(answer(plain, xs), expected, rtol=0, atol=1e-12)


def test_batch_norm_is_that_of_torch() -> None:
    rng = np.random.default_rng(9)
    model = models.layer_model(grurt.BatchNorm(name="norm", size=6, epsilon=1e-3), rng=rng)
    xs = rng.normal(size=(5, 6))
    expected = torch_answer(torch.nn.BatchNorm1d(6, eps=1e-3), model, "norm", xs)
    np.testing.assert_allclose(answer(model, xs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "dilation", "groups"), [(1, 1, 1), (3, 1, 1), (3, 2, 2), (2, 4, 4)])
def test_conv1d_is_that_of_torch_padded_on_the_left(kernel_size: int, dilation: int, groups: int) -> None:
    rng = np.random.default_rng(10)
    conv = grurt.Conv1d(
        name="conv", input_size=4, output_size=8, kernel_size=kernel_size, dilation=dilation, groups=groups
    )
    model = models.layer_model(conv, rng=rng)
    xs = rng.normal(size=(10, 4))
    padded = np.concatenate([np.zeros(((kernel_size - 1) * dilation, 4)), xs]).T
    module = torch.nn.Conv1d(4, 8, kernel_size, dilation=dilation, groups=groups)
    expected = torch_answer(module, model, "conv", padded).T
    np.testing.assert_allclose(answer(model, xs), expected, rtol=0, atol=1e-12)


def test_prelu_and_embedding_are_those_of_torch() -> None:
    rng = np.random.default_rng(11)
    model = models.layer_model(grurt.PRelu(name="prelu", size=4), rng=rng)
    xs = rng.normal(size=(6, 4))
    np.testing.assert_allclose(answer(model, xs), torch_answer(torch.nn.PReLU(4), model, "prelu", xs), atol=1e-12)
    model = models.layer_model(grurt.Embedding(name="embed", vocabulary_size=7, size=3), rng=rng)
    tokens = np.array([6, 0, 3])
    np.testing.assert_array_equal(answer(model, tokens), model.weights["embed.weight"][[6, 0, 3]])


def test_add_mul_concat_and_the_ends_of_a_sequence() -> None:
    rng = np.random.default_rng(12)
    layers = [
        grurt.Add(name="add", inputs=("a", "b", "a")),
        grurt.Mul(name="mul", inputs=("a", "b", "add")),
        grurt.Concat(name="concat", inputs=("mul", "b")),
        grurt.LastStep(name="last"),
        grurt.FirstStep(name="first", inputs=("concat",)),
    ]
    outputs = tuple(grurt.Output(layer.name, layer.name) for layer in layers)
    ports = (grurt.Input("a", 3), grurt.Input("b", 3))
    model = grurt.Model(layers=layers, weights={}, inputs=ports, outputs=outputs)
    a, b = rng.normal(size=(2, 4, 3))
    found, states = reference.run(model, {"a": a, "b": b})
    np.testing.assert_allclose(found["add"], 2 * a + b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["mul"], a * b * (2 * a + b), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found["concat"], np.concatenate([found["mul"], b], axis=1))
    np.testing.assert_array_equal(found["last"], found["concat"][-1])
    np.testing.assert_array_equal(found["first"], found["concat"][0])
    assert states == {}


def test_given_states_continue_a_sequence() -> None:
    rng = np.random.default_rng(13)
    model = models.random_model(rng, n_layers=12)
    inputs = models.random_inputs(model.inputs, 10, rng)
    whole, final = reference.run(model, inputs)
    first, states = reference.run(model, {name: xs[:4] for name, xs in inputs.items()})
    second, states = reference.run(model, {name: xs[4:] for name, xs in inputs.items()}, states)
    np.testing.assert_allclose(np.concatenate([first["out"], second["out"]]), whole["out"], rtol=0, atol=1e-12)
    for name in final:
        np.testing.assert_allclose(states[name], final[name], rtol=0, atol=1e-12)


def test_step_outputs_are_the_answers_so_far() -> None:
    rng = np.random.default_rng(14)
    model = models.gru_model(3, 5, rng, last_step=True, output_size=2)
    xs = rng.normal(size=(6, 3))
    so_far = reference.step_outputs(model, {"x": xs})["y"]
    for t in range(6):
        np.testing.assert_allclose(so_far[t], answer(model, xs[: t + 1]), rtol=0, atol=1e-12)


def small_model() -> grurt.Model:
    layers = [
        grurt.Embedding(name="embedding", inputs=("tokens",), vocabulary_size=4, size=3),
        grurt.Add(name="sum", inputs=("x", "embedding")),
        grurt.GRU(name="gru", input_size=3, hidden_size=2),
        grurt.Slice(name="slice", inputs=("x",), start=0, stop=3),
    ]
    inputs = [grurt.Input("x", 3), grurt.TokenInput("tokens", 4)]
    outputs = [grurt.Output("y", "gru"), grurt.Output("same", "slice")]
    return models.layer_model(*layers, rng=np.random.default_rng(71), inputs=inputs, outputs=outputs)


X, TOKENS = np.ones((2, 3)), np.array([0, 3])
SHAPE = grurt.InputShapeError


@pytest.mark.parametrize(
    ("inputs", "states", "error", "message"),
    [
        ({"x": X}, {}, SHAPE, r"^reference: expected the inputs \['x', 'tokens'\], got \['x'\]"),
        ({"x": X, "tokens": TOKENS, "y": X}, {}, SHAPE, r"got \['x', 'tokens', 'y'\]"),
        ({"x": X[0], "tokens": TOKENS}, {}, SHAPE, r"shape \(n_steps, 3\) with one timestep at least"),
        ({"x": X, "tokens": [0, -1]}, {}, grurt.InputValueError, r"expected token ids in \[0, 4\), got -1 to 0"),
        ({"x": X, "tokens": [0, 4]}, {}, grurt.InputValueError, r"expected token ids in \[0, 4\), got 0 to 4"),
        ({"x": X, "tokens": [0.0, 0.7]}, {}, grurt.InputTypeError, "expected token ids as integers, got float64"),
        ({"x": X, "tokens": [0]}, {}, SHAPE, r"'sum': expected inputs of one number of timesteps, got"),
        (
            {"x": X, "tokens": TOKENS},
            {"h": [0]},
            grurt.InputShapeError,
            r"^reference: expected states of \['gru'\], got 'h'",
        ),
        (
            {"x": X, "tokens": TOKENS},
            {"gru": [0]},
            grurt.InputShapeError,
            r"reference: state 'gru': expected shape \(2,\), got",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    inputs: dict[str, Any], states: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        reference.run(small_model(), inputs, states)


def test_outputs_are_the_callers_own() -> None:
    x = X.copy()
    outputs, _ = reference.run(small_model(), {"x": x, "tokens": TOKENS})
    outputs["same"][:] = 7
    np.testing.assert_array_equal(x, X)


def test_what_cannot_stream_has_no_answers_step_by_step() -> None:
    model = models.layer_model(
        grurt.FirstStep(name="first"), inputs=[grurt.Input("x", 3)], rng=np.random.default_rng(72)
    )
    with pytest.raises(
        grurt.StreamingError, match=r"^reference: the model cannot stream: layer 'first' .*; use reference\.run$"
    ):
        reference.step_outputs(model, {"x": X})
