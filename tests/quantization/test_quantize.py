"""Quantized models: what they are made of, what they refuse, extreme weights and inputs, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commandline
import models
import numpy as np
import pytest

import grurt
from grurt.errors import QuantizationError, SnapshotError
from grurt.loading import read
from grurt.network import functions
from grurt.quantization.rounding import round_features, to_float16, to_int8
from grurt.summary import summarize

Array = np.ndarray[Any, Any]

FORMATS = ("int8", "float16")


@pytest.fixture
def model() -> grurt.Model:
    return models.gru_model(5, 19, np.random.default_rng(3), n_layers=2, output_size=4)


def samples(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decibels(expected: Array, found: Array) -> float:
    return 10 * np.log10(np.square(expected, dtype=np.float64).sum() / np.square(found - expected).sum())


def of_units() -> tuple[grurt.Model, Array]:
    """Return a GRU of a barometer, a thermometer, accelerations and a voltage, and what they measure."""
    rng = np.random.default_rng(11)
    mean, deviation = np.array([1013, 15, 0, 0, 0.2]), np.array([8, 7, 9.8, 0.5, 0.01])
    layers = [grurt.GRU(name="gru", input_size=5, hidden_size=20), grurt.Linear(name="y", input_size=20, output_size=2)]
    weights = models.random_weights(layers, rng)
    weights["gru.weight_ih"] /= deviation.astype(np.float32)
    weights["gru.bias_ih"] -= (weights["gru.weight_ih"] @ mean).astype(np.float32)
    xs = rng.standard_normal((6, 80, 5)) * deviation + mean
    return grurt.Model(layers=layers, weights=weights), xs.astype(np.float32)


def test_int8_rows_have_a_scale_each_and_are_off_by_half_of_it() -> None:
    matrix = samples((7, 33)) * np.float32(10) ** np.arange(-3, 4, dtype=np.float32)[:, np.newaxis]
    rounded, scale = to_int8(matrix)
    assert (np.abs(rounded).max(axis=1) == 127).all()
    assert (np.abs(rounded * scale[:, np.newaxis] - matrix) <= 0.5001 * scale[:, np.newaxis]).all()


def test_rows_of_zeros_and_of_denormals() -> None:
    matrix = np.zeros((3, 4), np.float32)
    matrix[1] = 1e-42
    rounded, scale = to_int8(matrix)
    assert (scale > 0).all()
    assert not rounded.any()
    together, _ = to_int8(matrix, np.eye(4))
    assert not together.any()


def test_one_huge_weight_takes_its_own_row_only() -> None:
    matrix = samples((4, 16))
    matrix[2, 5] = 3e38
    rounded, scale = to_int8(matrix)
    assert rounded[2, 5] == 127
    assert not np.delete(rounded[2], 5).any()
    assert np.isfinite(scale).all()
    assert (np.abs(np.delete(rounded, 2, axis=0)).max(axis=1) == 127).all()


def test_rounding_together_makes_products_better() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 8)) @ rng.standard_normal((8, 24)) + 0.1 * rng.standard_normal((400, 24))
    matrix = rng.standard_normal((12, 24)).astype(np.float32)
    expected = x @ matrix.T
    errors = []
    for moments in (None, x.T @ x / len(x)):
        rounded, scale = to_int8(matrix, moments)
        errors.append(np.square(x @ (rounded * scale[:, np.newaxis]).T - expected).sum())
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("moments", [np.zeros((6, 6)), np.diag([1e30, 1, 0, 0, 1e-30, 1]), np.ones((6, 6))])
def test_rounding_together_with_degenerate_moments(moments: Array) -> None:
    matrix = samples((5, 6))
    rounded, scale = to_int8(matrix, moments)
    assert (np.abs(rounded * scale[:, np.newaxis] - matrix) < 6 * scale[:, np.newaxis]).all()


def test_rounded_features_have_one_scale_for_a_timestep() -> None:
    x = np.array([[127.0, 0.4, -0.6], [0.0, 0.0, 0.0]])
    assert np.array_equal(round_features(x), [[127, 0, -1], [0, 0, 0]])


def test_float16_beyond_its_range_is_refused() -> None:
    assert to_float16("w", np.float32([65504]))[0] == 65504
    with pytest.raises(QuantizationError, match=r"weight w: 7e\+04 is beyond float16, whose largest number is 65504"):
        to_float16("w", np.float32([1, -70000]))


def test_what_is_quantized_and_what_is_kept(model: grurt.Model) -> None:
    small = model.quantize("int8", keep=["head"])
    assert [layer.weight_format for layer in small.layers] == ["int8", "int8", "float32"]
    assert small.weights["gru0.weight_hh"].dtype == np.int8
    assert np.array_equal(small.weights["gru0.bias_ih"], model.weights["gru0.bias_ih"])
    assert np.array_equal(small.weights["head.weight"], model.weights["head.weight"])


def test_refusals(model: grurt.Model) -> None:
    with pytest.raises(QuantizationError, match='weight_format: expected "int8", "int4" or "float16", got \'int2\''):
        model.quantize("int2")  # type: ignore[arg-type]
    with pytest.raises(QuantizationError, match="keep: the model has no layer 'gru7': its layers are gru0, gru1, head"):
        model.quantize("int8", keep=["gru7"])
    with pytest.raises(QuantizationError, match="no layer is left to be quantized"):
        model.quantize("int8", keep=["gru0", "gru1", "head"])
    with pytest.raises(QuantizationError, match="quantized already: quantize the float32 model"):
        model.quantize("int8").quantize("float16")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "calibration: expected at least one sequence, got none"),
        (
            np.zeros((4, 3), np.float32),
            r"calibration: input 'x': expected shape \(n_steps, 5\) or \(batch, n_steps, 5\), got \(4, 3\)",
        ),
        (np.zeros((2, 4, 3), np.float32), r"or \(batch, n_steps, 5\), got \(2, 4, 3\)"),
        (np.zeros((2, 2, 2, 5), np.float32), r"got \(2, 2, 2, 5\)"),
        (np.zeros(5, np.float32), r"got \(5,\)"),
        (np.zeros((0, 5), np.float32), r"input 'x': expected at least one timestep, got shape \(0, 5\)"),
        (np.full((4, 5), np.nan), "input 'x': expected finite numbers, got a NaN or an infinity"),
        (np.full((4, 5), "a"), "input 'x': expected real numbers"),
        ({"z": np.zeros((4, 5))}, r"calibration: expected the inputs \['x'\], got \['z'\]"),
    ],
)
def test_calibration_data_that_do_not_fit(model: grurt.Model, data: Any, message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        model.quantize("int8", calibration=data)


def test_calibration_data_of_several_inputs() -> None:
    model = models.random_model(np.random.default_rng(1))
    given = models.random_inputs(model.inputs, 50, np.random.default_rng(2))
    assert model.quantize("int8", calibration=given).layers
    vocabulary = model.inputs[1].vocabulary_size  # type: ignore[union-attr]
    with pytest.raises(QuantizationError, match=r"expected a mapping with the inputs \[.*\], got an array"):
        model.quantize("int8", calibration=given["features"])
    with pytest.raises(QuantizationError, match=rf"input 'tokens': expected tokens in \[0, {vocabulary}\)"):
        model.quantize("int8", calibration=given | {"tokens": np.full(50, vocabulary)})
    batch = {"features": given["features"][np.newaxis], "tokens": np.stack([given["tokens"]] * 2)}
    with pytest.raises(QuantizationError, match="as many sequences of every input, got 1 of 'features', 2 of 'tokens'"):
        model.quantize("int8", calibration=batch)


def test_calibration_of_float16_changes_nothing(model: grurt.Model) -> None:
    plain, calibrated = model.quantize("float16"), model.quantize("float16", calibration=samples((30, 5)))
    assert plain.fingerprint == calibrated.fingerprint


def test_inputs_of_different_units_are_rescaled() -> None:
    model, xs = of_units()
    expected = model.run(xs[3:])
    plain = model.quantize("int8")
    calibrated = model.quantize("int8", calibration=xs[:3])
    assert [layer.kind for layer in calibrated.layers] == ["batch_norm", "gru", "linear"]
    assert decibels(expected, plain.run(xs[3:])) < 15
    assert decibels(expected, calibrated.run(xs[3:])) > 35
    assert calibrated.state_shapes == model.state_shapes


def test_rescaling_needs_no_biases_and_leaves_the_network_what_it_is() -> None:
    from grurt.quantization.calibrate import collect, rescaled
    from grurt.quantization.recordings import recordings

    rng = np.random.default_rng(4)
    xs = (rng.standard_normal((100, 3)) * [1, 20, 0.1] + [50, 0, 1]).astype(np.float32)
    layers = [
        grurt.GRU(name="gru", input_size=3, hidden_size=8, bias=False),
        grurt.Linear(name="gru_range", inputs=("x",), input_size=3, output_size=8, bias=False),
        grurt.Add(name="both", inputs=("gru", "gru_range")),
    ]
    weights = models.random_weights(layers, rng)
    model = grurt.Model(layers=layers, weights=weights | {"gru.weight_ih": weights["gru.weight_ih"] * 0.1})
    data = recordings(model, xs)
    changed, found = rescaled(model, collect(model, data, {"gru", "gru_range"}))
    names = [layer.name for layer in changed.layers]
    assert names == ["gru_range_", "gru", "gru_range_range", "gru_range", "both"]
    assert np.abs(found["gru"].by_matrix["weight_ih"]).max() == pytest.approx(1, abs=1e-5)
    assert np.abs(changed.run(xs) - model.run(xs)).max() < 3e-5


def test_a_range_is_not_judged_from_a_few_samples() -> None:
    model, xs = of_units()
    assert [layer.kind for layer in model.quantize("int8", calibration=xs[0]).layers] == ["gru", "linear"]


def test_constant_features_survive_rescaling() -> None:
    model, xs = of_units()
    xs[..., 1] = 21.5
    calibrated = model.quantize("int8", calibration=xs)
    assert decibels(model.run(xs), calibrated.run(xs)) > 35


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("calibrate", [False, True])
def test_any_graph_stays_near_its_float32_model(seed: int, calibrate: bool) -> None:
    model = models.random_model(np.random.default_rng(seed), streams=seed % 2 == 0, max_size=23)
    data = models.random_inputs(model.inputs, 60, np.random.default_rng(seed + 100))
    for weights, least in (("float16", 45), ("int8", 15), ("int4", 0)):
        small = model.quantize(weights, calibration=data if calibrate else None)  # type: ignore[arg-type]
        batch = {name: xs[np.newaxis] for name, xs in data.items()}
        expected, found = model.run(batch), small.run(batch)
        joined = [np.concatenate([np.ravel(answers[name]) for name in expected]) for answers in (expected, found)]
        assert np.array_equal(*joined) or decibels(*joined) > least


@pytest.mark.parametrize("weights", FORMATS)
def test_states_beyond_one_are_restored_and_used(weights: Any) -> None:
    rng = np.random.default_rng(6)
    model = models.gru_model(3, 13, rng, candidate_activation=functions.Relu())
    small = model.quantize(weights)
    state = {"gru0": rng.uniform(5, 300, 13).astype(np.float32)}
    xs = samples((4, 3))
    answers = []
    for each in (model, small):
        stream = each.stream()
        stream.state = state
        restored = each.stream()
        restored.restore(stream.snapshot())
        answers.append(restored.run(xs))
        assert np.array_equal(answers[-1], stream.run(xs))
    assert decibels(*answers) > 25


@pytest.mark.parametrize("weights", [*FORMATS, "int4"])
def test_nonfinite_inputs(model: grurt.Model, weights: Any) -> None:
    small = model.quantize(weights)
    with pytest.raises(grurt.InputValueError, match="expected finite numbers, got nan"):
        small.stream().step(np.full(5, np.nan, np.float32))
    for bad in (np.nan, np.inf, -np.inf):
        stream = small.stream(nonfinite="propagate")
        assert np.isfinite(stream.step(np.ones(5, np.float32))).all()
        assert np.isnan(stream.step(np.float32([1, bad, 0, 0, 0]))).all() or weights == "float16"
        stream.reset()
        assert np.array_equal(stream.step(np.ones(5, np.float32)), small.stream().step(np.ones(5, np.float32)))


@pytest.mark.parametrize("weights", FORMATS)
def test_inputs_of_any_magnitude(model: grurt.Model, weights: Any) -> None:
    small = model.quantize(weights)
    for magnitude in (1e-38, 1e-20, 1.0, 1e6, 1e30):
        xs = samples((5, 5)) * np.float32(magnitude)
        assert decibels(model.run(xs), small.run(xs)) > 20


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize(("input_size", "hidden_size"), [(1, 1), (2, 15), (17, 33), (5, 50)])
def test_odd_sizes_give_the_same_bits_in_steps_blocks_and_pools(
    weights: Any, input_size: int, hidden_size: int
) -> None:
    rng = np.random.default_rng(hidden_size)
    small = models.gru_model(input_size, hidden_size, rng, output_size=3).quantize(weights)
    xs = samples((3, 9, input_size))
    whole = small.run(xs)
    stream = small.stream()
    assert np.array_equal(np.stack([stream.step(x) for x in xs[0]]), whole[0])
    assert np.array_equal(small.pool(3).run(np.arange(3), xs), whole)


@pytest.mark.parametrize("weights", FORMATS)
def test_a_file_holds_a_quantized_model(model: grurt.Model, weights: Any, tmp_path: Path) -> None:
    small = model.quantize(weights)
    small.save(tmp_path / "small.grurt")
    model.save(tmp_path / "model.grurt")
    loaded = read(tmp_path / "small.grurt")
    assert loaded.fingerprint == small.fingerprint != model.fingerprint
    assert loaded.weights["gru0.weight_hh"].dtype == weights
    assert np.array_equal(loaded.run(samples((9, 5))), small.run(samples((9, 5))))
    part = {"int8": 0.5, "float16": 0.7}[weights]
    assert (tmp_path / "small.grurt").stat().st_size < part * (tmp_path / "model.grurt").stat().st_size


def test_the_demo_verifies_after_quantization(tmp_path: Path) -> None:
    from grurt.demo import load_model

    small = load_model().quantize("int8")
    small.save(tmp_path / "small.grurt")
    verification = read(tmp_path / "small.grurt").verify()
    assert verification.ok
    assert verification.produced_by == "grurt, with int8 weights"
    assert verification.max_error == 0


def test_snapshots_of_the_float_model_are_refused(model: grurt.Model) -> None:
    stream = model.stream()
    stream.step(np.ones(5, np.float32))
    with pytest.raises(SnapshotError, match="another model"):
        model.quantize("int8").stream().restore(stream.snapshot())


def test_inspect_shows_formats_and_bytes(model: grurt.Model, tmp_path: Path) -> None:
    small = model.quantize("int8", keep=["head"])
    small.save(tmp_path / "small.grurt")
    notes = {layer.name: layer.note for layer in summarize(small).layers}
    assert ["int8" in notes[name] for name in ("gru0", "gru1", "head")] == [True, True, False]
    text = commandline.succeed("inspect", tmp_path / "small.grurt")
    assert "weight_format=int8" in text
    found = json.loads(commandline.succeed("inspect", tmp_path / "small.grurt", "--json"))
    assert found["bytes"] == sum(array.nbytes for array in small.weights.values())


def test_scales_are_positive() -> None:
    model = models.gru_model(3, 5, np.random.default_rng(0)).quantize("int8")
    weights = {**model.weights, "gru0.weight_ih_scale": np.zeros(15, np.float32)}
    with pytest.raises(grurt.ModelError, match=r"weight gru0\.weight_ih_scale: a scale must be positive"):
        model.replaced(weights=weights)


@pytest.mark.parametrize("weight_format", ["int8", "int4"])
def test_calibration_that_overflows_inside_of_the_model_is_refused(weight_format: Any) -> None:
    layers = [
        grurt.Activation(name="huge", inputs=("x",), function=grurt.Affine(scale=3.4e38)),
        grurt.Linear(name="linear", input_size=2, output_size=2, bias=False),
    ]
    model = grurt.Model(layers=layers, weights={"linear.weight": np.eye(2)}, inputs=[grurt.Input("x", 2)])
    with pytest.raises(QuantizationError, match="layer 'linear': expected finite numbers to multiply its weights with"):
        model.quantize(weight_format, calibration=np.full((3, 2), 10, np.float32))
    few = model.quantize(weight_format, calibration=np.full((3, 2), 0.1, np.float32))
    np.testing.assert_allclose(few.run(np.ones((1, 1, 2))), model.run(np.ones((1, 1, 2))), rtol=0.01)


@pytest.mark.parametrize("weight_format", ["int8", "int4"])
def test_calibration_with_numbers_near_the_largest(weight_format: Any) -> None:
    rng = np.random.default_rng(0)
    gru = grurt.GRU(name="gru", input_size=2, hidden_size=3, candidate_activation=grurt.ScaledTanh(alpha=1e35))
    model = models.layer_model(gru, grurt.Linear(name="linear", input_size=3, output_size=2), rng=rng)
    quantized = model.quantize(weight_format, calibration=rng.standard_normal((50, 2)).astype(np.float32))
    assert all(np.isfinite(array).all() for array in quantized.weights.values())
