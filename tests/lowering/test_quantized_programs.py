"""Step programs with matrices in float16 and int8: against the same arithmetic in NumPy, and what may be quantized."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models
import msgspec
import numpy as np
import pytest
import step_programs

import grurt
from grurt import operators as op
from grurt import reference
from grurt.errors import ModelError, QuantizationError
from grurt.loading import read
from grurt.quantization import layer_losses, layers_to_keep
from grurt.quantization.sensitivity import Limit

TOLERANCE = 2e-6

Array = np.ndarray[Any, Any]


def program(operator: op.AnyOperator, shape: tuple[int, ...], **constants: tuple[int, ...]) -> grurt.Model:
    """Return a model of an operator that reads x and writes y; constants are random."""
    layer = grurt.Program(
        name="p", inputs=("x",), input_shapes=(shape,), constants=constants, operators=(operator,), results=("y",)
    )
    rng = np.random.default_rng(1)
    weights = {f"p.{name}": rng.normal(size=shape) / 2 for name, shape in constants.items()}
    return grurt.Model(layers=[layer], weights=weights, inputs=[grurt.Input("x", int(np.prod(shape)))])


def conv(kind: type[op.Conv] | type[op.ConvTranspose], x: tuple[int, ...], **fields: Any) -> grurt.Model:
    axes = len(x) - 2
    weight, groups = fields.pop("weight"), fields.get("groups", 1)
    numbers = {"strides": (1,) * axes, "dilations": (1,) * axes, "before": (0,) * axes, "after": (0,) * axes} | fields
    channels = weight[0] if kind is op.Conv else groups * weight[1]
    return program(kind(inputs=("x", "w", "b"), outputs=("y",), **numbers), x, w=weight, b=(channels,))


def rounded(x: Array, least: float = 1e-30) -> tuple[Array, Array]:
    """Return rows ``(..., size)`` as integers, and the scale of each, in the engine's float32 arithmetic."""
    bound = np.maximum(np.float32(least), np.abs(x.astype(np.float32)).max(axis=-1, keepdims=True))
    return np.rint(x.astype(np.float32) * (np.float32(127) / bound)).astype(np.int64), bound * np.float32(1 / 127)


def product(weights: dict[str, Array], name: str, x: Array, least: float = 1e-30) -> Array:
    """``x W'`` for ``W (outputs, inputs)`` of integers, and rows of x."""
    integers, scale = rounded(x, least)
    sums = integers @ weights[name].reshape(len(weights[name]), -1).astype(np.int64).T
    return sums * (weights[f"{name}_scale"].ravel() * scale).astype(np.float64)


def integers_of(model: grurt.Model) -> tuple[grurt.Model, dict[str, Array]]:
    small = model.quantize("int8")
    return small, {name.removeprefix("p."): array for name, array in small.weights.items()}


def inputs_of(model: grurt.Model, n_steps: int = 5) -> Array:
    return models.random_inputs(model.inputs, n_steps, np.random.default_rng(2))["x"]


def windows(x: Array, taps: tuple[int, int], strides: tuple[int, int]) -> Iterator[tuple[int, int, Array]]:
    """Yield the places of a convolution of ``(channels, height, width)``, and what each reads."""
    for i in range((x.shape[1] - taps[0]) // strides[0] + 1):
        for k in range((x.shape[2] - taps[1]) // strides[1] + 1):
            rows = slice(i * strides[0], i * strides[0] + taps[0])
            yield i, k, x[:, rows, k * strides[1] : k * strides[1] + taps[1]]


@pytest.mark.parametrize("channels", [(1, 1), (3, 5), (16, 48), (7, 70)])
def test_convolutions_round_all_that_a_place_reads_together(channels: tuple[int, int]) -> None:
    inputs, outputs = channels
    shape, taps, strides = (1, inputs, 6, 9), (3, 2), (1, 2)
    small, weights = integers_of(conv(op.Conv, shape, weight=(outputs, inputs, *taps), strides=strides))
    xs = inputs_of(small)
    expected = np.zeros((len(xs), outputs, 4, 4))
    for t, x in enumerate(xs):
        for i, k, window in windows(x.reshape(shape[1:]), taps, strides):
            expected[t, :, i, k] = product(weights, "w", window.ravel()) + weights["b"]
    np.testing.assert_allclose(small.run(xs), expected.reshape(len(xs), -1), rtol=0, atol=2 * TOLERANCE)


@pytest.mark.parametrize("b", [(7, 5), (3, 7, 5)])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_products_with_a_matrix_round_each_row(b: tuple[int, ...], rows: int) -> None:
    multiply = op.MatMul(inputs=("x", "b"), outputs=("y",))
    small, weights = integers_of(program(multiply, (3, rows, 7), b=b))
    assert small.weights["p.b_scale"].shape == (*b[:-2], 1, 5)
    xs = inputs_of(small)
    matrices, scales = (np.broadcast_to(weights[name], (3, size, 5)) for name, size in (("b", 7), ("b_scale", 1)))
    of_each = [{"b": matrix.T, "b_scale": scale} for matrix, scale in zip(matrices, scales, strict=True)]
    expected = [
        [product(one, "b", x) for one, x in zip(of_each, xs[t].reshape(3, rows, 7), strict=True)] for t in range(5)
    ]
    np.testing.assert_allclose(small.run(xs), np.reshape(expected, (5, -1)), rtol=0, atol=TOLERANCE)


def test_products_of_a_matrix_round_each_column() -> None:
    multiply = op.MatMul(inputs=("a", "x"), outputs=("y",))
    small, weights = integers_of(program(multiply, (2, 7, 4), a=(2, 3, 7)))
    assert small.weights["p.a_scale"].shape == (2, 3, 1)
    xs = inputs_of(small)
    for x, y in zip(xs.reshape(-1, 2, 7, 4), small.run(xs).reshape(-1, 2, 3, 4), strict=True):
        for n in range(2):
            expected = product({name: array[n] for name, array in weights.items()}, "a", x[n].T).T
            np.testing.assert_allclose(y[n], expected, rtol=0, atol=TOLERANCE)


def sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(x / 2)


@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize(("batch", "hidden_size"), [(1, 20), (1, 3), (5, 20), (6, 3)])
def test_a_gru_rounds_its_input_and_its_state(batch: int, hidden_size: int, linear_before_reset: bool) -> None:
    rows = 3 * hidden_size
    gru = op.GRU(
        inputs=("x", "w", "r", "b", "h"),
        outputs=("y", ""),
        hidden_size=hidden_size,
        linear_before_reset=linear_before_reset,
    )
    constants = {"w": (1, rows, 9), "r": (1, rows, hidden_size), "b": (1, 2 * rows), "h": (1, batch, hidden_size)}
    small, weights = integers_of(program(gru, (1, batch, 9), **constants))
    own = {name: array[0] for name, array in weights.items()}
    xs = inputs_of(small)
    for x, found in zip(xs.reshape(-1, batch, 9), small.run(xs).reshape(-1, batch, hidden_size), strict=True):
        h = own["h"].astype(np.float32)
        z, r, n = np.split(product(own, "w", x) + own["b"][:rows], 3, axis=-1)
        q_z, q_r, q_n = np.split(product(own, "r", h, least=1.0) + own["b"][rows:], 3, axis=-1)
        z, r = sigmoid(z + q_z), sigmoid(r + q_r)
        if linear_before_reset:
            n = np.tanh(n + r * q_n)
        else:
            reset = np.split(product(own, "r", r * h, least=1.0) + own["b"][rows:], 3, axis=-1)[2]
            n = np.tanh(n + reset)
        np.testing.assert_allclose(found, (1 - z) * n + z * h, rtol=0, atol=2 * TOLERANCE)


@pytest.mark.parametrize("kind", [op.LSTM, op.RNN])
@pytest.mark.parametrize(("batch", "hidden_size"), [(1, 20), (1, 3), (5, 20), (6, 3)])
def test_other_recurrent_operators_round_input_and_state(
    kind: type[op.LSTM] | type[op.RNN], batch: int, hidden_size: int
) -> None:
    rows, state = kind.gates * hidden_size, (1, batch, hidden_size)
    given = ("h", "c")[: kind.n_outputs - 1]
    outputs = ("y", *[""] * len(given))
    recurrent = kind(inputs=("x", "w", "r", "b", *given), outputs=outputs, hidden_size=hidden_size)
    constants = {"w": (1, rows, 9), "r": (1, rows, hidden_size), "b": (1, 2 * rows), **dict.fromkeys(given, state)}
    small, weights = integers_of(program(recurrent, (1, batch, 9), **constants))
    own = {name: array[0] for name, array in weights.items()}
    xs = inputs_of(small)
    for x, found in zip(xs.reshape(-1, batch, 9), small.run(xs).reshape(-1, batch, hidden_size), strict=True):
        sums = product(own, "w", x) + product(own, "r", own["h"], least=1.0) + own["b"][:rows] + own["b"][rows:]
        if kind is op.RNN:
            expected = np.tanh(sums)
        else:
            i, o, f, c = np.split(sums, 4, axis=-1)
            expected = sigmoid(o) * np.tanh(sigmoid(f) * own["c"] + sigmoid(i) * np.tanh(c))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2 * TOLERANCE)


MATRICES: dict[str, grurt.Model] = {
    "grouped conv": conv(op.Conv, (1, 6, 8), weight=(10, 3, 3), groups=2),
    "many groups": conv(op.Conv, (1, 40, 3), weight=(40, 2, 1), groups=20),
    "conv_transpose": conv(op.ConvTranspose, (1, 5, 4, 3), weight=(5, 6, 3, 3), strides=(2, 1), before=(1, 1)),
    "grouped conv_transpose": conv(op.ConvTranspose, (1, 6, 9), weight=(6, 4, 2), strides=(3,), groups=2),
}


@pytest.mark.parametrize("model", MATRICES.values(), ids=MATRICES)
def test_other_products_are_near_those_of_the_numbers_that_integers_stand_for(model: grurt.Model) -> None:
    small, xs = model.quantize("int8"), inputs_of(model)
    expected = reference.step_outputs(small, {"x": xs})["y"]
    # A feature is off by half a 127th of the largest, and each weight is below 2.5.
    weight = np.abs(small.weights["p.w"] * small.weights["p.w_scale"].astype(np.float64))
    bound = weight.sum(axis=tuple(range(1, weight.ndim))).max() * np.abs(xs).max() / 254
    assert 0 < np.abs(small.run(xs) - expected).max() < bound
    assert np.abs(small.run(xs) - model.run(xs)).max() < 2 * bound


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_float16_is_a_float32_program_of_the_rounded_weights(seed: int) -> None:
    """Same bits: only the weights are rounded, the arithmetic is float32."""
    model = step_programs.random_step_program(seed, n_operators=15, kinds=step_programs.OF_MATRICES)
    half = model.quantize("float16")
    weights = {name: array.astype(np.float32) for name, array in half.weights.items()}
    single = grurt.Model(inputs=model.inputs, layers=model.layers, outputs=model.outputs, weights=weights)
    inputs = models.random_inputs(model.inputs, 5, np.random.default_rng(seed))
    expected, found = ({**each.run({n: x[np.newaxis] for n, x in inputs.items()})} for each in (single, half))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], strict=True)


def test_scales_that_are_powers_of_two_and_whole_features_lose_nothing() -> None:
    """Integers times integers: int8 answers what float32 does."""
    model = conv(op.Conv, (1, 3, 20), weight=(17, 3, 4), dilations=(2,))
    rng = np.random.default_rng(4)
    whole = rng.integers(-127, 128, (17, 3, 4))
    whole[:, 0, 0] = 127
    weights = {"p.w": whole / 64, "p.b": np.zeros(17)}
    xs = rng.integers(-127, 128, (6, 60)).astype(np.float32)
    xs.reshape(6, 3, 20)[:, 0] = 127
    exact = model.replaced(weights=weights)
    np.testing.assert_allclose(exact.quantize("int8").run(xs), exact.run(xs), rtol=1e-6, atol=1e-4)


def several() -> grurt.Model:
    """Return a program with a matrix of every kind, and constants that are none."""
    constants = {"conv": (4, 2, 3), "depth": (4, 1, 2), "mix": (4, 4), "added": (4, 4), "w": (1, 6, 4), "r": (1, 6, 2)}
    constants |= {"b": (1, 12), "h": (1, 5, 2)}
    axis: Any = {"strides": (1,), "dilations": (1,), "before": (0,), "after": (0,)}
    layer = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=((1, 2, 8),),
        constants=constants,
        operators=(
            op.Conv(inputs=("x", "conv"), outputs=("a",), **axis),
            op.Conv(inputs=("a", "depth"), outputs=("d",), groups=4, **axis),
            op.Transpose(inputs=("d",), outputs=("t",), perm=(0, 2, 1)),
            op.MatMul(inputs=("t", "mix"), outputs=("m",)),
            op.MatMul(inputs=("m", "added"), outputs=("n",)),
            op.Combine(inputs=("added", "added"), outputs=("twice",), operation="add"),
            op.GRU(inputs=("n", "w", "r", "b", "h"), outputs=("y", ""), hidden_size=2),
        ),
        results=("y", "twice"),
    )
    rng = np.random.default_rng(3)
    weights = {f"p.{name}": rng.normal(size=shape) for name, shape in constants.items()}
    return grurt.Model(layers=[layer], weights=weights, inputs=[grurt.Input("x", 16)])


def test_what_is_quantized_and_what_is_kept() -> None:
    model = several()
    (layer,) = model.layers
    parts = [(part.name, part.kind, part.matrices) for part in layer.parts()]
    assert parts == [
        ("p.conv", "conv", ("conv",)),
        ("p.mix", "mat_mul", ("mix",)),
        ("p.w", "gru", ("w", "r")),
    ]
    (small,) = model.quantize("int8", keep=["p.mix"]).layers
    assert (small.int8, small.float16) == (("conv", "w", "r"), ())
    (small,) = model.quantize("int4", keep=["p.r", "p.conv"]).layers
    assert (small.int8, small.float16) == (("mix",), ())
    (small,) = model.quantize("float16").layers
    assert (small.int8, small.float16) == ((), ("conv", "mix", "w", "r"))
    assert model.quantize("float16").weights["p.mix"].dtype == np.float16
    for keep in (["p"], ["p.conv", "p.mix", "p.w"]):
        with pytest.raises(QuantizationError, match="no layer is left to be quantized"):
            model.quantize("int8", keep=keep)
    with pytest.raises(
        QuantizationError, match=r"no layer 'p\.depth'.* layers are p, and their matrices p\.conv, p\.m"
    ):
        model.quantize("int8", keep=["p.depth"])
    with pytest.raises(QuantizationError, match="quantized already"):
        model.quantize("float16").quantize("int8")


def test_matrices_that_are_shared_are_quantized_together() -> None:
    (layer,) = several().layers
    second = op.GRU(inputs=("m", "w", "r2", "b", "h"), outputs=("y2", ""), hidden_size=2)
    fields = {"operators": (*layer.operators, second), "constants": layer.constants | {"r2": (1, 6, 2)}}
    assert msgspec.structs.replace(layer, **fields).parts()[2].matrices == ("w", "r", "r2")
    other = op.MatMul(inputs=("n", "mix"), outputs=("n2",))
    turned = op.MatMul(inputs=("mix", "n3"), outputs=("n4",))
    again = msgspec.structs.replace(layer, operators=(*layer.operators, other))
    assert "mix" in again.parts()[1].matrices
    moved = op.Reshape(inputs=("n2",), outputs=("n3",), shape=(4, 5))
    summed_twice = msgspec.structs.replace(layer, operators=(*layer.operators, other, moved, turned))
    assert "mix" not in {name for part in summed_twice.parts() for name in part.matrices}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"int8": ("depth",)}, "only weight matrices of convolutions, .* can be in float16 or int8: depth cannot"),
        ({"float16": ("added", "conv")}, "float16 or int8: added cannot"),
        ({"int8": ("nothing",)}, "float16 or int8: nothing cannot"),
        ({"int8": ("w",)}, "expected one format for w, r, got (float32, int8|int8, float32)"),
        ({"int8": ("w",), "float16": ("r",)}, "expected one format for w, r, got"),
        ({"int8": ("mix", "mix")}, "a constant is named twice in float16 and int8"),
        ({"int8": ("mix",), "float16": ("mix",)}, "a constant is named twice in float16 and int8"),
        ({"int8": 3}, "int8: expected"),
    ],
)
def test_formats_that_are_refused(fields: dict[str, Any], message: str) -> None:
    model = several()
    (layer,) = model.layers
    with pytest.raises(ModelError, match=message):
        model.replaced(layers=[msgspec.structs.replace(layer, **fields)])


def test_more_inputs_than_a_sum_can_hold_are_refused() -> None:
    multiply = op.MatMul(inputs=("x", "b"), outputs=("y",))
    shape = (1, (1 << 17) + 1)
    layer = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=(shape,),
        constants={"b": (shape[1], 1)},
        operators=(multiply,),
        results=("y",),
        int8=("b",),
    )
    with pytest.raises(ModelError, match="layer 'p': int8 weights may have 131072 inputs, got 131073"):
        grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", shape[1])])


def test_an_infinite_matrix_is_not_quantized_and_no_file_has_one() -> None:
    multiply = op.MatMul(inputs=("x", "b"), outputs=("y",))
    model = program(multiply, (1, 2), b=(2, 2))
    masked = model.replaced(weights={"p.b": np.array([[np.inf, 1], [0, 1]])})
    for weights in ("float16", "int8"):
        with pytest.raises(QuantizationError, match=r"weight p\.b: expected finite numbers to be quantized"):
            masked.quantize(weights)
    small = model.quantize("int8")
    for scale, message in ((np.inf, "expected finite numbers"), (0, "a scale must be positive")):
        with pytest.raises(ModelError, match=message):
            small.replaced(weights={**small.weights, "p.b_scale": np.full((1, 2), scale)})


def test_files_hold_quantized_programs(tmp_path: Path) -> None:
    model = step_programs.random_step_program(3, n_operators=20, kinds=step_programs.OF_MATRICES)
    fingerprints = {model.fingerprint}
    for weights in ("float16", "int8"):
        small = model.quantize(weights)
        small.save(tmp_path / "small.grurt")
        again = read(tmp_path / "small.grurt")
        assert again.layers == small.layers
        assert again.fingerprint == small.fingerprint
        assert small.costs.weights < model.costs.weights
        fingerprints.add(small.fingerprint)
    assert len(fingerprints) == 3


def test_losses_matrix_by_matrix() -> None:
    model = several()
    found = layer_losses(model, "int8")
    assert {(each.name, each.kind) for each in found} == {("p.conv", "conv"), ("p.mix", "mat_mul"), ("p.w", "gru")}
    assert all(20 < each.decibels < 80 for each in found)
    costliest = found[0]
    limit = Limit(decibels=np.nextafter(costliest.decibels, np.inf))
    kept = layers_to_keep(model, "int8", limit)
    assert costliest.name in kept
    assert len(layer_losses(model, "int8", keep=kept)) == 3 - len(kept)


def test_calibration_leaves_programs_as_they_are() -> None:
    model = several()
    xs = np.random.default_rng(5).normal(size=(200, 16)).astype(np.float32)
    assert model.quantize("int8", calibration=xs).fingerprint == model.quantize("int8").fingerprint
