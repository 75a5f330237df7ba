"""GRUs with int4 weights: the same bits as the same integers in int8, whose arithmetic `test_narrow_weights` proves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import msgspec
import numpy as np
import pytest

import grurt
from grurt.errors import ModelError
from grurt.loading import read
from grurt.network.nibbles import pack_nibbles, packed_shape, unpack_nibbles
from grurt.quantization import loss
from grurt.quantization.rounding import to_int4
from grurt.summary import summarize

SIZES = [(1, 1), (3, 5), (4, 16), (7, 17), (8, 24), (16, 31), (33, 64), (50, 100)]

Array = np.ndarray[Any, Any]


def as_int8(model: grurt.Model) -> grurt.Model:
    """Return the model with the same integers, a byte each."""
    weights: dict[str, Array] = dict(model.weights)
    layers = []
    for layer in model.layers:
        if isinstance(layer, grurt.GRU) and layer.weight_format == "int4":
            for name, columns in (("weight_ih", layer.input_size), ("weight_hh", layer.hidden_size)):
                weights[f"{layer.name}.{name}"] = unpack_nibbles(weights[f"{layer.name}.{name}"], columns)
            layers.append(msgspec.structs.replace(layer, weight_format="int8"))
        else:
            layers.append(layer)
    return grurt.Model(inputs=model.inputs, layers=layers, outputs=model.outputs, weights=weights)


@pytest.mark.parametrize("columns", [1, 2, 7, 8])
def test_nibbles_are_packed_and_unpacked(columns: int) -> None:
    matrix = np.random.default_rng(columns).integers(-8, 8, (40, columns)).astype(np.int8)
    packed = pack_nibbles(matrix)
    assert packed.dtype == np.uint8
    assert packed.shape == packed_shape(matrix.shape) == (40, (columns + 1) // 2)
    assert np.array_equal(unpack_nibbles(packed, columns), matrix)


def test_the_first_of_two_nibbles_is_the_lower_one() -> None:
    assert pack_nibbles(np.int8([[1, -1], [-8, 7]])).tolist() == [[0xF1], [0x78]]


@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize(("input_size", "hidden_size"), SIZES)
def test_the_same_bits_as_int8(input_size: int, hidden_size: int, linear_before_reset: bool) -> None:
    rng = np.random.default_rng([input_size, hidden_size])
    model = models.gru_model(input_size, hidden_size, rng, n_layers=2, linear_before_reset=linear_before_reset)
    small = model.quantize("int4")
    xs = rng.normal(0, 2, (5, 9, input_size)).astype(np.float32)
    expected = as_int8(small).run(xs)
    assert np.array_equal(small.run(xs), expected)
    stream = small.stream()
    assert np.array_equal([stream.step(x) for x in xs[0]], expected[0])
    assert np.array_equal(small.pool(5).run(np.arange(5), xs), expected)


def test_grids_scans_and_masks() -> None:
    rng = np.random.default_rng(8)
    layers = [
        grurt.FeatureMask(name="used", inputs=("x",)),
        grurt.Unflatten(name="grid", inputs=("x",), positions=5),
        grurt.GRU(name="across", input_size=6, hidden_size=20, scan="positions", direction="reverse"),
        grurt.GRU(name="along", input_size=20, hidden_size=18, linear_before_reset=False),
        grurt.Flatten(name="flat"),
        grurt.GRU(name="last", inputs=("flat", "used"), input_size=90, hidden_size=7, masked=True),
    ]
    small = models.layer_model(*layers, rng=rng, inputs=[grurt.Input("x", 30)]).quantize("int4")
    xs = rng.normal(size=(6, 12, 30)).astype(np.float32)
    xs[:, 5] = 0
    assert np.array_equal(small.run(xs), as_int8(small).run(xs))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums(sign: int) -> None:
    """All weights the largest, all features the largest: -8 is no weight that is written, but one that can be read."""
    sizes: Any = {"input_size": 3000, "hidden_size": 33}
    layer = grurt.GRU(name="gru", weight_format="int4", **sizes)
    weights = models.random_weights([layer], np.random.default_rng(1))
    number = 7 if sign > 0 else -8
    for name, columns in (("gru.weight_ih", 3000), ("gru.weight_hh", 33)):
        weights[name] = pack_nibbles(np.full((99, columns), number, np.int8))
        weights[f"{name}_scale"] = np.full(99, 2.0**-18, np.float32)
    model = grurt.Model(layers=[layer], weights=weights)
    xs = np.full((5, 3000), 127.0, np.float32)
    assert np.array_equal(model.run(xs), as_int8(model).run(xs))


def test_gru_layers_become_int4_and_the_others_int8() -> None:
    model = models.gru_model(5, 19, np.random.default_rng(3), n_layers=2, output_size=4)
    small = model.quantize("int4", keep=["gru1"])
    assert [layer.weight_format for layer in small.layers] == ["int4", "float32", "int8"]  # type: ignore[union-attr]
    assert small.weights["gru0.weight_ih"].shape == (57, 3)
    assert small.weights["gru0.weight_hh"].dtype == np.uint8
    assert small.weights["gru0.weight_hh_scale"].shape == (57,)


def test_rounding_is_off_by_half_a_step() -> None:
    matrix = np.random.default_rng(5).standard_normal((6, 40)).astype(np.float32)
    rounded, scale = to_int4(matrix)
    assert (np.abs(rounded).max(axis=1) == 7).all()
    assert (np.abs(rounded * scale[:, np.newaxis] - matrix) <= 0.5001 * scale[:, np.newaxis]).all()


def test_calibration_cuts_rows_off_where_that_pays() -> None:
    """A weight that stands out and is multiplied with next to nothing does not coarsen the others."""
    rng = np.random.default_rng(6)
    matrix = rng.uniform(-1, 1, (8, 30)).astype(np.float32)
    matrix[:, 4] = 1.5
    x = rng.standard_normal((500, 30)) * np.where(np.arange(30) == 4, 1e-3, 1)
    errors = []
    for rounded, scale in (to_int4(matrix), to_int4(matrix, x.T @ x / len(x))):
        errors.append(np.square(x @ (rounded * scale[:, np.newaxis] - matrix).T).sum())
    assert errors[1] < 0.5 * errors[0]


def test_what_the_demo_loses() -> None:
    from grurt.demo import load_model, load_recordings

    model, samples = load_model(), load_recordings().samples
    small = model.quantize("int4", calibration=samples[::2])
    lost = loss(model, small, samples[1::2], steps=1).worst
    assert lost.decibels > 35
    assert lost.agreement is not None
    assert lost.agreement > 0.99


def test_a_file_holds_half_bytes(tmp_path: Path) -> None:
    model = models.gru_model(40, 96, np.random.default_rng(3))
    sizes = {}
    for weights in ("int8", "int4"):
        small = model.quantize(weights)  # type: ignore[arg-type]
        small.save(tmp_path / f"{weights}.grurt")
        sizes[weights] = (tmp_path / f"{weights}.grurt").stat().st_size
    loaded = read(tmp_path / "int4.grurt")
    assert loaded.fingerprint == small.fingerprint
    assert loaded.weights["gru0.weight_hh"].dtype == np.uint8
    assert sizes["int4"] < 0.6 * sizes["int8"]


def test_a_summary_counts_the_weights_and_not_the_bytes() -> None:
    model = models.gru_model(5, 19, np.random.default_rng(3))
    counted, small = summarize(model), summarize(model.quantize("int4"))
    assert (small.parameters, small.multiply_adds) == (counted.parameters, counted.multiply_adds)
    assert small.bytes < 0.4 * counted.bytes
    assert model.quantize("int4").parameter_count == model.parameter_count
    assert "weight_format=int4" in small.layers[0].note


def test_other_layers_and_arrays_are_refused() -> None:
    linear = grurt.Linear(name="mix", input_size=3, output_size=2, weight_format="int4")
    with pytest.raises(ModelError, match="layer 'mix': expected int8 or another format, got int4, which only GRU"):
        grurt.Model(layers=[linear], weights={})
    wide = grurt.GRU(name="gru", input_size=(1 << 17) + 1, hidden_size=2, weight_format="int4")
    with pytest.raises(ModelError, match="layer 'gru': int4 weights may have 131072 inputs, got 131073"):
        grurt.Model(layers=[wide], weights={})
    small = models.gru_model(5, 4, np.random.default_rng(3)).quantize("int4")
    wrong = {**small.weights, "gru0.weight_ih": np.zeros((12, 5), np.uint8)}
    with pytest.raises(ModelError, match=r"weight gru0\.weight_ih: expected shape \(12, 3\), got \(12, 5\)"):
        grurt.Model(layers=small.layers, weights=wrong)
    with pytest.raises(ModelError, match=r"weight gru0\.weight_ih: expected uint8, got int8"):
        grurt.Model(layers=small.layers, weights={**small.weights, "gru0.weight_ih": np.zeros((12, 3), np.int8)})
