"""Kernels of float16 and int8 weights, against the same arithmetic in NumPy: equal integers, then float64.

Recurrent layers are compared timestep by timestep, each from the state that the engine has reached: a state that
differs in its last bit may be rounded to another integer.
"""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import ModelError

TOLERANCE = 2e-6
SIZES = [(1, 1), (3, 5), (4, 16), (7, 17), (16, 31), (33, 64), (50, 100)]

Array = np.ndarray[Any, Any]


def quantized_features(x: Array, least: float) -> tuple[Array, np.float32]:
    """Return the integers of a vector and its scale, in the engine's float32 arithmetic."""
    bound = np.maximum(np.float32(least), np.abs(x).max(initial=0).astype(np.float32))
    integers = np.rint(x.astype(np.float32) * (np.float32(127.0) / bound)).astype(np.int64)
    assert np.abs(integers).max(initial=0) <= 127
    return integers, bound * np.float32(1 / 127)


def product(weights: dict[str, Array], name: str, x: Array, least: float = 1e-30) -> Array:
    """``W x`` for a matrix of any format."""
    matrix = weights[name].reshape(len(weights[name]), -1)
    if matrix.dtype != np.int8:
        return matrix.astype(np.float64) @ x.astype(np.float64)
    integers, scale = quantized_features(x, least)
    return (matrix.astype(np.int64) @ integers) * (weights[f"{name}_scale"] * scale).astype(np.float64)


def sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(x / 2)


def gru_timestep(layer: grurt.GRU, weights: dict[str, Array], x: Array, h: Array) -> Array:
    z, r, n = np.split(product(weights, "weight_ih", x) + weights["bias_ih"], 3)
    q_z, q_r, q_n = np.split(product(weights, "weight_hh", h, least=1.0) + weights["bias_hh"], 3)
    z, r = sigmoid(z + q_z), sigmoid(r + q_r)
    if layer.linear_before_reset:
        n = np.tanh(n + r * q_n)
    else:
        n = np.tanh(n + np.split(product(weights, "weight_hh", r * h, least=1.0) + weights["bias_hh"], 3)[2])
    return (1 - z) * n + z * h


def only_layer(model: grurt.Model) -> tuple[Any, dict[str, Array]]:
    (layer,) = model.layers
    return layer, {name: model.weights[f"{layer.name}.{name}"] for name in layer.weight_shapes()}


@pytest.mark.parametrize("weight_format", ["float16", "int8"])
@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize(("input_size", "hidden_size"), SIZES)
def test_gru(input_size: int, hidden_size: int, linear_before_reset: bool, weight_format: Any) -> None:
    rng = np.random.default_rng([input_size, hidden_size])
    model = models.gru_model(input_size, hidden_size, rng, linear_before_reset=linear_before_reset)
    model = model.quantize(weight_format)
    layer, weights = only_layer(model)
    stream = model.stream()
    for x in rng.normal(0, 2, (30, input_size)).astype(np.float32):
        expected = gru_timestep(layer, weights, x, stream.state[layer.name])
        np.testing.assert_allclose(stream.step(x), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("weight_format", ["float16", "int8"])
@pytest.mark.parametrize(("input_size", "output_size"), SIZES)
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_linear(input_size: int, output_size: int, rows: int, weight_format: Any) -> None:
    rng = np.random.default_rng([input_size, output_size])
    layer = grurt.Linear(name="linear", input_size=input_size, output_size=output_size)
    model = models.layer_model(layer, rng=rng).quantize(weight_format)
    _, weights = only_layer(model)
    xs = rng.normal(0, 2, (rows, input_size)).astype(np.float32)
    expected = [product(weights, "weight", x) + weights["bias"] for x in xs]
    np.testing.assert_allclose(model.run(xs), expected, rtol=0, atol=2 * TOLERANCE)


@pytest.mark.parametrize("weight_format", ["float16", "int8"])
@pytest.mark.parametrize(("groups", "dilation", "kernel_size"), [(1, 1, 3), (2, 2, 3), (3, 1, 1), (1, 3, 4)])
def test_conv1d(groups: int, dilation: int, kernel_size: int, weight_format: Any) -> None:
    """The features of all taps of a group are quantized together."""
    rng = np.random.default_rng(groups)
    layer = grurt.Conv1d(
        name="conv", input_size=12, output_size=18, kernel_size=kernel_size, dilation=dilation, groups=groups
    )
    model = models.layer_model(layer, rng=rng).quantize(weight_format)
    _, weights = only_layer(model)
    xs = rng.normal(0, 2, (20, 12)).astype(np.float32)
    history = np.zeros(((kernel_size - 1) * dilation, 12), np.float32)
    padded = np.concatenate([history, xs])
    expected = np.zeros((20, 18))
    for t in range(20):
        taps = padded[t : t + len(history) + 1 : dilation]
        for group in range(groups):
            mine = slice(group * 18 // groups, (group + 1) * 18 // groups)
            features = taps[:, group * 12 // groups : (group + 1) * 12 // groups]
            part = {name: array[mine] for name, array in weights.items()}
            expected[t, mine] = product(part, "weight", features.T.ravel()) + part["bias"]
    np.testing.assert_allclose(model.run(xs), expected, rtol=0, atol=2 * TOLERANCE)


@pytest.mark.parametrize("weight_format", ["float16", "int8"])
@pytest.mark.parametrize(("vocabulary_size", "size"), [(1, 1), (17, 5), (40, 33)])
def test_embedding(vocabulary_size: int, size: int, weight_format: Any) -> None:
    rng = np.random.default_rng(size)
    layer = grurt.Embedding(name="embedding", vocabulary_size=vocabulary_size, size=size)
    model = models.layer_model(layer, rng=rng).quantize(weight_format)
    _, weights = only_layer(model)
    tokens = rng.integers(0, vocabulary_size, 30)
    expected = weights["weight"].astype(np.float32) * weights.get("weight_scale", np.ones(vocabulary_size))[:, None]
    np.testing.assert_array_equal(model.run(tokens), expected.astype(np.float32)[tokens])


@pytest.mark.parametrize("inputs", [3, 300, 20_000, 1 << 17])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_neither_saturate_nor_wrap(inputs: int, sign: int) -> None:
    layer = grurt.Linear(name="linear", input_size=inputs, output_size=20, bias=False, weight_format="int8")
    weights = {
        "linear.weight": np.full((20, inputs), 127 * sign, np.int8),
        "linear.weight_scale": np.full(20, 2.0**-20, np.float32),
    }
    model = grurt.Model(layers=[layer], weights=weights)
    found = model.run(np.full((5, inputs), 127.0, np.float32))
    np.testing.assert_allclose(found, 127 * 127 * inputs * sign * 2.0**-20, rtol=1e-6)


def test_more_inputs_than_a_sum_can_hold_are_refused() -> None:
    layer = grurt.Linear(name="linear", input_size=(1 << 17) + 1, output_size=1, weight_format="int8")
    with pytest.raises(ModelError, match="layer 'linear': int8 weights may have 131072 inputs, got 131073"):
        grurt.Model(layers=[layer], weights={})


def test_a_depthwise_convolution_stays_float32() -> None:
    sizes: Any = {"input_size": 4, "output_size": 4, "kernel_size": 3, "groups": 4}
    layer = grurt.Conv1d(name="conv", weight_format="int8", **sizes)
    with pytest.raises(ModelError, match="layer 'conv': a depthwise Conv1d keeps float32 weights, got int8"):
        grurt.Model(layers=[layer], weights={})


@pytest.mark.parametrize("value", [1.5, -40.0, 1e20])
@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_a_state_beyond_one_is_scaled_not_cut_off(value: float, linear_before_reset: bool) -> None:
    rng = np.random.default_rng(5)
    model = models.gru_model(4, 24, rng, linear_before_reset=linear_before_reset).quantize("int8")
    layer, weights = only_layer(model)
    stream = model.stream()
    h = rng.uniform(-1, 1, 24).astype(np.float32)
    h[3] = value
    stream.state = {layer.name: h}
    x = rng.normal(size=4).astype(np.float32)
    expected = gru_timestep(layer, weights, x, h)
    np.testing.assert_allclose(stream.step(x), expected, rtol=1e-6, atol=TOLERANCE)


def test_a_state_that_grows_without_bound() -> None:
    """With relu as the candidate's activation a state leaves [-1, 1]: int8 stays near float32."""
    rng = np.random.default_rng(6)
    model = models.gru_model(4, 24, rng, candidate_activation=grurt.Relu())
    xs = 3 * rng.normal(size=(50, 4)).astype(np.float32)
    expected = model.run(xs)
    assert isinstance(expected, np.ndarray)
    assert expected.max() > 3
    found = model.quantize("int8").run(xs)
    assert np.abs(found - expected).max() < 0.05 * expected.max()


def test_nan_and_infinity_come_out_as_nan() -> None:
    model = models.gru_model(4, 24, np.random.default_rng(7)).quantize("int8")
    for value in (np.nan, np.inf, -np.inf):
        x = np.array([0.5, value, 0, 0], np.float32)
        assert np.isnan(model.stream(nonfinite="propagate").step(x)).all()


def test_float16_weights_are_a_float32_model_of_the_rounded_weights() -> None:
    """Same bits: only the weights are rounded, the arithmetic is float32."""
    for seed in range(10):
        model = models.random_model(np.random.default_rng(seed), n_layers=8)
        if not any(models.can_be_quantized(layer) for layer in model.layers):
            continue
        half = model.quantize("float16")
        weights = {name: array.astype(np.float32) for name, array in half.weights.items()}
        single = grurt.Model(inputs=model.inputs, layers=model.layers, outputs=model.outputs, weights=weights)
        inputs = models.random_inputs(model.inputs, 9, np.random.default_rng(seed))
        expected, found = single.stream().run(inputs), half.stream().run(inputs)
        if isinstance(expected, dict):
            assert isinstance(found, dict)
            expected, found = np.concatenate([*expected.values()], axis=1), np.concatenate([*found.values()], axis=1)
        np.testing.assert_array_equal(found, expected, strict=True)


def test_every_float16_is_converted_exactly() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = bits.view(np.float16)
    finite = values[np.isfinite(values)]
    table = finite[: len(finite) // 16 * 16].reshape(-1, 16)
    layer = grurt.Embedding(name="table", vocabulary_size=len(table), size=16, weight_format="float16")
    model = grurt.Model(layers=[layer], weights={"table.weight": table})
    np.testing.assert_array_equal(model.run(np.arange(len(table))), table.astype(np.float32))


def test_grids_and_masks_agree_with_the_float_model() -> None:
    """The same layers in float64, within what int8 loses on well-behaved weights."""
    rng = np.random.default_rng(8)
    layers = [
        grurt.Unflatten(name="grid", positions=5),
        grurt.GRU(name="across", input_size=6, hidden_size=20, scan="positions"),
        grurt.GRU(name="along", input_size=20, hidden_size=18, linear_before_reset=False),
        grurt.Flatten(name="flat"),
    ]
    model = models.layer_model(*layers, rng=rng, inputs=[grurt.Input("x", 30)])
    xs = models.random_inputs(model.inputs, 12, rng)
    expected, _ = reference.run(model, xs)
    found = model.quantize("int8").run(xs["x"])
    assert np.abs(found - expected["y"]).max() < 0.05
