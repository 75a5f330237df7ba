"""Every layer and function of the engine against the float64 oracle, at every timestep of streams and sequences."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest
from oracle import assert_agrees, assert_close, seeded

import grurt
from grurt import reference
from grurt.network import functions
from grurt.network.layers import AnyLayer

SIZES = (1, 3, 8, 15, 16, 17, 31, 64, 100)


@pytest.mark.parametrize("hidden_size", SIZES)
@pytest.mark.parametrize("input_size", [1, 5, 16, 33])
@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_gru_of_any_size(input_size: int, hidden_size: int, linear_before_reset: bool) -> None:
    rng = seeded(input_size, hidden_size)
    assert_agrees(models.gru_model(input_size, hidden_size, rng, linear_before_reset=linear_before_reset), rng)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize("options", [{"bias": False}, {"initial_state": "zeros"}, {"clip": 0.4}], ids=str)
def test_gru_options(direction: str, linear_before_reset: bool, options: dict[str, Any]) -> None:
    rng = seeded(options)
    options = options | {"direction": direction, "linear_before_reset": linear_before_reset}
    for hidden_size in (3, 16, 31):
        assert_agrees(models.gru_model(6, hidden_size, rng, **options), rng)


@pytest.mark.parametrize("function", models.ELEMENTWISE_FUNCTIONS, ids=str)
@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize("clip", [None, 0.9])
def test_gru_with_any_function(
    function: functions.ElementwiseFunction, linear_before_reset: bool, clip: float | None
) -> None:
    rng = seeded(function)
    options = {"linear_before_reset": linear_before_reset, "clip": clip}
    assert_agrees(models.gru_model(4, 17, rng, candidate_activation=function, **options), rng)
    assert_agrees(models.gru_model(4, 17, rng, gate_activation=function, **options), rng, n_steps=3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("function", models.ALL_FUNCTIONS, ids=str)
def test_activation(function: functions.AnyFunction, size: int) -> None:
    rng = seeded(function, size)
    layer = grurt.Activation(name="f", function=function)
    assert_agrees(models.layer_model(layer, rng=rng, inputs=[grurt.Input("x", size)]), rng)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("function", models.MATHEMATICAL_FUNCTIONS, ids=str)
def test_mathematics_of_positive_numbers(function: functions.AnyFunction, size: int) -> None:
    layers = [
        grurt.Activation(name="size", function=functions.Abs()),
        grurt.Activation(name="positive", function=functions.Affine(1.0, 0.25)),
        grurt.Activation(name="f", function=function),
    ]
    rng = seeded(function, size)
    assert_agrees(models.layer_model(*layers, rng=rng, inputs=[grurt.Input("x", size)]), rng)


def two_inputs(size: int) -> list[grurt.Input]:
    return [grurt.Input("a", size), grurt.Input("b", size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", models.OPERATIONS)
def test_operations_on_two_values(operation: Any, size: int) -> None:
    rng = seeded(operation, size)
    a, b = (grurt.Activation(name=f"{x} positive", inputs=(x,), function=functions.Softplus()) for x in "ab")
    layer = grurt.Binary(name="y", inputs=(a.name, b.name), operation=operation)
    assert_agrees(models.layer_model(a, b, layer, rng=rng, inputs=two_inputs(size)), rng)


@pytest.mark.parametrize("operation", ["less", "less_or_equal", "equal"])
def test_comparisons_of_equal_numbers_and_nan(operation: Any) -> None:
    layer = grurt.Binary(name="y", inputs=("a", "b"), operation=operation)
    stream = grurt.Model(layers=[layer], weights={}, inputs=two_inputs(20)).stream(nonfinite="propagate")
    a = np.float32([0, -0.0, 1, 1, 2, np.inf, np.inf, -np.inf, np.nan, 1] * 2)
    b = np.float32([-0.0, 0, 1, 2, 1, np.inf, 1, -np.inf, 1, np.nan] * 2)
    expected = {"less": a < b, "less_or_equal": a <= b, "equal": a == b}[operation]
    np.testing.assert_array_equal(stream.step({"a": a, "b": b}), expected)


@pytest.mark.parametrize("operation", ["min", "max"])
def test_extremes_of_several_values_and_nan(operation: Any) -> None:
    inputs = [grurt.Input(name, 17) for name in "abcd"]
    layer = grurt.Binary(name="y", inputs=tuple("abcd"), operation=operation)
    stream = grurt.Model(layers=[layer], weights={}, inputs=inputs).stream(nonfinite="propagate")
    values = seeded(operation).normal(size=(4, 17)).astype(np.float32)
    values[1, 3] = values[0, 4] = values[3, 5] = np.nan
    values[2, 6], values[2, 7] = np.inf, -np.inf
    expected = (np.min if operation == "min" else np.max)(values, axis=0)
    np.testing.assert_array_equal(stream.step(dict(zip("abcd", values, strict=True))), expected)


@pytest.mark.parametrize("size", SIZES)
def test_where(size: int) -> None:
    rng = seeded("where", size)
    layers = [
        grurt.Activation(name="condition", inputs=("a",), function=functions.ThresholdedRelu(0.3)),
        grurt.Where(name="y", inputs=("condition", "a", "b")),
    ]
    assert_agrees(models.layer_model(*layers, rng=rng, inputs=two_inputs(size)), rng)


def test_where_takes_nan_for_true_and_hides_what_is_not_chosen() -> None:
    inputs = [grurt.Input(name, 4) for name in "cab"]
    model = grurt.Model(layers=[grurt.Where(name="y", inputs=tuple("cab"))], weights={}, inputs=inputs)
    answer = model.stream(nonfinite="propagate").step(
        {"c": [1, 0, np.nan, -0.0], "a": [1, np.nan, 3, np.inf], "b": [np.nan, 20, 30, 40]}
    )
    np.testing.assert_array_equal(answer, [1, 20, 3, 40])


@pytest.mark.parametrize("size", SIZES)
def test_constant(size: int) -> None:
    rng = seeded("constant", size)
    layer = grurt.Constant(name="y", size=size)
    assert_agrees(models.layer_model(layer, rng=rng, inputs=[grurt.Input("x", 3)]), rng)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", models.REDUCTIONS)
def test_reduce(operation: Any, size: int) -> None:
    rng = seeded(operation, size)
    layer = grurt.Reduce(name="y", operation=operation)
    assert_agrees(models.layer_model(layer, rng=rng, inputs=[grurt.Input("x", size)]), rng)


@pytest.mark.parametrize("operation", models.REDUCTIONS)
def test_reductions_of_what_is_not_finite(operation: Any) -> None:
    torch = pytest.importorskip("torch")
    model = grurt.Model(layers=[grurt.Reduce(name="y", operation=operation)], weights={}, inputs=[grurt.Input("x", 19)])
    xs = seeded(operation).normal(size=(6, 19)).astype(np.float32)
    xs[0, 18], xs[1, 0], xs[2, 17], xs[3, [2, 9]], xs[4, 5] = np.nan, np.nan, np.inf, -np.inf, 1e38
    xs[5] = -np.inf
    stream = model.stream(nonfinite="propagate")
    exact = torch.tensor(xs)
    truth = {
        "sum": exact.sum(-1),
        "mean": exact.mean(-1),
        "prod": exact.prod(-1),
        "max": exact.amax(-1),
        "min": exact.amin(-1),
        "l1": exact.norm(1, dim=-1),
        "l2": exact.norm(dim=-1),
        "log_sum_exp": exact.logsumexp(-1),
        "argmax": exact.argmax(-1),
        "argmin": exact.argmin(-1),
    }[operation]
    np.testing.assert_allclose(np.stack([stream.step(x) for x in xs]), truth.numpy()[:, None], rtol=2e-6)


@pytest.mark.parametrize("operation", ["argmax", "argmin"])
def test_of_several_extremes_the_first_is_named(operation: Any) -> None:
    layer = grurt.Reduce(name="y", operation=operation)
    stream = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 40)]).stream()
    xs = np.zeros(40, np.float32)
    assert stream.step(xs) == 0
    xs[[17, 35]] = 1 if operation == "argmax" else -1
    assert stream.step(xs) == 17


def test_logarithm_of_sums_of_large_exponentials() -> None:
    layer = grurt.Reduce(name="y", operation="log_sum_exp")
    stream = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 3)]).stream()
    np.testing.assert_allclose(stream.step([1000, 1000, -1000]), 1000 + np.log(2), rtol=1e-6)


@pytest.mark.parametrize("function", models.ALL_FUNCTIONS, ids=str)
def test_functions_far_from_zero(function: functions.AnyFunction) -> None:
    layer = grurt.Activation(name="f", function=function)
    stream = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 40)]).stream()
    for scale in (1e-30, 1e-3, 1.0, 5.0, 20.0, 85.0, 100.0, 1e4, 3e12):
        xs = np.linspace(-scale, scale, 40).astype(np.float32)
        if isinstance(function, functions.Gelu) and scale > 1e4:
            continue
        assert_close(stream.step(xs), reference.function(function, xs.astype(np.float64)))


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        (functions.Sigmoid(), 0, 1),
        (functions.HardSigmoid(0.2, 0.5), 0, 1),
        (functions.Tanh(), -1, 1),
        (functions.Softsign(), -1, 1),
    ],
    ids=str,
)
def test_bounded_functions_stay_in_bounds_for_every_float(
    function: functions.AnyFunction, low: float, high: float
) -> None:
    layer = grurt.Activation(name="f", function=function)
    size = 1 << 16
    stream = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", size)]).stream(nonfinite="propagate")
    rng = seeded(function)
    for _ in range(8):
        xs = rng.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)
        ys = stream.step(xs)
        assert isinstance(ys, np.ndarray)
        np.testing.assert_array_equal(np.isnan(ys), np.isnan(xs))
        assert low <= np.nanmin(ys) <= np.nanmax(ys) <= high


@pytest.mark.parametrize("function", models.ELEMENTWISE_FUNCTIONS, ids=str)
def test_nan_comes_out_as_nan_where_it_went_in(function: functions.ElementwiseFunction) -> None:
    layer = grurt.Activation(name="f", function=function)
    stream = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 40)]).stream(nonfinite="propagate")
    xs = np.linspace(-3, 3, 40).astype(np.float32)
    xs[[0, 21, 39]] = np.nan
    np.testing.assert_array_equal(np.isnan(stream.step(xs)), np.isnan(xs))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(size: int, bias: bool) -> None:
    rng = seeded(size)
    for input_size in (1, 7, 16, 50):
        layer = grurt.Linear(name="fc", input_size=input_size, output_size=size, bias=bias)
        assert_agrees(models.layer_model(layer, rng=rng), rng)


@pytest.mark.parametrize("size", SIZES)
def test_embedding(size: int) -> None:
    rng = seeded(size)
    assert_agrees(models.layer_model(grurt.Embedding(name="e", vocabulary_size=11, size=size), rng=rng), rng)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("weight", "bias"), [(True, True), (True, False), (False, True), (False, False)])
def test_layer_norm(size: int, weight: bool, bias: bool) -> None:
    rng = seeded(size)
    layer = grurt.LayerNorm(name="norm", size=size, epsilon=1e-3, weight=weight, bias=bias)
    assert_agrees(models.layer_model(layer, rng=rng), rng)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weight", [True, False])
def test_rms_norm(size: int, weight: bool) -> None:
    rng = seeded(size)
    assert_agrees(models.layer_model(grurt.RMSNorm(name="norm", size=size, epsilon=1e-3, weight=weight), rng=rng), rng)


@pytest.mark.parametrize("size", SIZES)
def test_batch_norm(size: int) -> None:
    rng = seeded(size)
    assert_agrees(models.layer_model(grurt.BatchNorm(name="norm", size=size), rng=rng), rng)


@pytest.mark.parametrize("size", SIZES)
def test_prelu(size: int) -> None:
    rng = seeded(size)
    assert_agrees(models.layer_model(grurt.PRelu(name="prelu", size=size), rng=rng), rng)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (2, 1), (3, 1), (5, 3), (2, 16)])
def test_conv1d(size: int, kernel_size: int, dilation: int) -> None:
    rng = seeded(size, kernel_size, dilation)
    layer = grurt.Conv1d(name="conv", input_size=6, output_size=size, kernel_size=kernel_size, dilation=dilation)
    assert_agrees(models.layer_model(layer, rng=rng), rng, n_steps=20)


@pytest.mark.parametrize(
    ("input_size", "output_size", "groups"), [(6, 4, 2), (16, 32, 16), (17, 17, 17), (48, 96, 3), (20, 40, 20)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_conv1d_in_groups(input_size: int, output_size: int, groups: int, bias: bool) -> None:
    rng = seeded(input_size, output_size)
    for kernel_size in (1, 3):
        layer = grurt.Conv1d(
            name="conv",
            input_size=input_size,
            output_size=output_size,
            kernel_size=kernel_size,
            dilation=2,
            groups=groups,
            bias=bias,
        )
        assert_agrees(models.layer_model(layer, rng=rng), rng, n_steps=12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [grurt.Add, grurt.Mul, grurt.Concat])
def test_layers_of_several_inputs(kind: Any, size: int) -> None:
    rng = seeded(size)
    inputs = [grurt.Input("a", size), grurt.Input("b", size), grurt.Input("c", size)]
    for names in (("a", "b"), ("c", "a", "b"), ("a", "a")):
        assert_agrees(models.layer_model(kind(name="y", inputs=names), rng=rng, inputs=inputs), rng)


@pytest.mark.parametrize("size", SIZES)
def test_concat_of_unequal_sizes(size: int) -> None:
    rng = seeded(size)
    inputs = [grurt.Input("a", size), grurt.Input("b", 5), grurt.Input("c", 17)]
    head = grurt.Linear(name="fc", input_size=size + 22 + size, output_size=3)
    concat = grurt.Concat(name="cat", inputs=("a", "b", "c", "a"))
    assert_agrees(models.layer_model(concat, head, rng=rng, inputs=inputs), rng)


@pytest.mark.parametrize("size", SIZES)
def test_slice(size: int) -> None:
    rng = seeded(size)
    for start, stop in {(0, size), (size // 2, size), (size // 3, size // 3 + 1)}:
        layer = grurt.Slice(name="y", start=start, stop=stop)
        assert_agrees(models.layer_model(layer, rng=rng, inputs=[grurt.Input("x", size)]), rng)


@pytest.mark.parametrize("hidden_size", SIZES)
@pytest.mark.parametrize("last_step", [True, False])
def test_stacked_grus_with_a_head(hidden_size: int, last_step: bool) -> None:
    rng = seeded(hidden_size)
    assert_agrees(models.gru_model(5, hidden_size, rng, n_layers=3, last_step=last_step, output_size=7), rng)


@pytest.mark.parametrize("hidden_size", SIZES)
def test_bidirectional_gru_with_the_final_states(hidden_size: int) -> None:
    rng = seeded(hidden_size)
    options = {"input_size": 5, "hidden_size": hidden_size, "initial_state": "learned", "inputs": ("x",)}
    layers: list[AnyLayer] = [
        grurt.GRU(name="forward", **options),
        grurt.GRU(name="backward", direction="reverse", **options),
        grurt.Concat(name="both", inputs=("forward", "backward")),
        grurt.LastStep(name="last", inputs=("forward",)),
        grurt.FirstStep(name="first", inputs=("backward",)),
        grurt.Concat(name="final", inputs=("last", "first")),
        grurt.Linear(name="fc", input_size=2 * hidden_size, output_size=4),
        grurt.Activation(name="y", function=grurt.Softmax()),
    ]
    outputs = [grurt.Output("sequence", "both"), grurt.Output("answer", "y")]
    assert_agrees(models.layer_model(*layers, rng=rng, inputs=[grurt.Input("x", 5)], outputs=outputs), rng)


@pytest.mark.parametrize("streams", [True, False])
def test_random_graphs(streams: bool) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert_agrees(models.random_model(rng, n_layers=6, streams=streams), rng, n_steps=5)


def test_a_long_sequence_stays_with_the_oracle() -> None:
    rng = np.random.default_rng(1)
    model = models.gru_model(6, 32, rng, n_layers=2, output_size=4)
    xs = rng.normal(size=(2000, 6)).astype(np.float32)
    assert_close(model.stream().run(xs), reference.run(model, {"x": xs})[0]["y"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", models.POOLINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_time_pooling(operation: Any, size: int, masked: bool) -> None:
    rng = seeded(operation, size, masked)
    for score_size in {1, size} if operation == "softmax" else {1}:
        names = ["x", *["scores"] * (operation == "softmax"), *["mask"] * masked]
        layers: list[AnyLayer] = [
            grurt.Activation(name="mask", inputs=("m",), function=functions.ThresholdedRelu(0.3)),
            grurt.TimePooling(
                name="pool", inputs=names, size=size, operation=operation, score_size=score_size, masked=masked
            ),
            grurt.Activation(name="y", function=functions.Tanh()),
        ]
        inputs = [grurt.Input("x", size), grurt.Input("scores", score_size), grurt.Input("m", 1)]
        assert_agrees(models.layer_model(*layers, rng=rng, inputs=inputs), rng)


@pytest.mark.parametrize(("size", "key_size", "heads"), [(1, 1, 1), (5, 7, 1), (16, 33, 1), (12, 20, 4), (15, 9, 3)])
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("answers", ["last", "each", "causal"])
@pytest.mark.parametrize("biased", [False, True])
def test_attention(size: int, key_size: int, heads: int, score: Any, answers: Any, biased: bool) -> None:
    rng = seeded(size, key_size, score, answers, biased)
    layers: list[AnyLayer] = [
        grurt.LastStep(name="last", inputs=("q",)),
        grurt.Attention(
            name="y",
            inputs=("last" if answers == "last" else "q", "k", "v", *["b"] * biased),
            size=size,
            key_size=key_size,
            score=score,
            answers="last" if answers == "last" else "each",
            causal=answers == "causal",
            heads=heads,
            scale=0.3 if score == "dot" else 1.0,
            biased=biased,
            max_steps=0 if answers == "each" else 40,
        ),
    ]
    inputs = [grurt.Input("q", key_size), grurt.Input("k", key_size), grurt.Input("v", size), grurt.Input("b", 1)]
    assert_agrees(models.layer_model(*layers, rng=rng, inputs=inputs), rng, n_steps=37)
