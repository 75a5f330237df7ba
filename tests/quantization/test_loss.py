"""What quantization loses, as it is measured: the figures themselves, layer by layer, limits, and what is kept."""

from __future__ import annotations

import math
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import QuantizationError
from grurt.quantization import Difference, Limit, Loss, layer_losses, layers_to_keep, loss
from grurt.quantization.loss import compare
from grurt.quantization.recordings import random_recordings, recordings

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def model() -> grurt.Model:
    return models.gru_model(4, 12, np.random.default_rng(8), n_layers=2, output_size=3)


@pytest.fixture(scope="module")
def fragile() -> grurt.Model:
    """Return a network of which one layer, the first, does not bear int8: a feature is far smaller than another."""
    rng = np.random.default_rng(9)
    layers = [
        grurt.Linear(name="units", input_size=3, output_size=8),
        grurt.GRU(name="gru", input_size=8, hidden_size=16),
        grurt.Linear(name="head", input_size=16, output_size=2),
    ]
    weights = models.random_weights(layers, rng)
    weights["units.weight"] /= np.float32([1e3, 1, 1e-3])
    return grurt.Model(layers=layers, weights=weights)


def fragile_data(n_steps: int = 100) -> Array:
    xs = np.random.default_rng(10).standard_normal((3, n_steps, 3)) * [1e3, 1, 1e-3]
    return xs.astype(np.float32)


def difference(decibels: float, largest: float) -> Difference:
    return Difference("y", decibels, largest, largest / 2, None)


def test_differences_of_known_arrays() -> None:
    expected = [np.float32([[3, 4], [1, 0]]), np.float32([[0, 2]])]
    found = [np.float32([[3, 4.5], [1, 1.5]]), np.float32([[0, 2]])]
    (y,) = compare(({"y": wanted}, {"y": got}) for wanted, got in zip(expected, found, strict=True))
    assert y.decibels == pytest.approx(10 * math.log10(30 / 2.5))
    assert (y.largest, y.mean) == (1.5, pytest.approx(2 / 6))
    assert y.agreement == pytest.approx(2 / 3)


def test_differences_without_error_signal_or_choice() -> None:
    one, zero = np.float32([[1.0]]), np.float32([[0.0]])
    (same,) = compare([({"y": one}, {"y": one})])
    assert (same.decibels, same.largest, same.agreement) == (math.inf, 0, None)
    (lost,) = compare([({"y": zero}, {"y": one})])
    assert lost.decibels == -math.inf
    (broken,) = compare([({"y": one}, {"y": one * np.float32("nan")})])
    assert broken.decibels == -math.inf
    assert not Limit().allows([broken])


def test_loss_of_a_model_with_itself_is_none(model: grurt.Model) -> None:
    found = loss(model, model, steps=50)
    assert found.worst == Difference("y", math.inf, 0, 0, 1)
    assert [(span.first, span.last) for span in found.spans] == [(1, 10), (11, 50)]


@pytest.mark.parametrize(("steps", "lasts"), [(1, [1]), (10, [10]), (11, [10, 11]), (1000, [10, 100, 1000])])
def test_spans_of_the_long_stream(model: grurt.Model, steps: int, lasts: list[int]) -> None:
    assert [span.last for span in loss(model, model.quantize("float16"), steps=steps).spans] == lasts


def test_loss_is_what_the_answers_differ_by(model: grurt.Model) -> None:
    small = model.quantize("int8")
    xs = np.random.default_rng(1).standard_normal((5, 40, 4)).astype(np.float32)
    found = loss(model, small, xs, steps=300)
    error = np.abs(small.run(xs).astype(np.float64) - model.run(xs))
    assert found.worst.largest == pytest.approx(error.max())
    assert found.worst.mean == pytest.approx(error.mean())
    assert found.data == "5 sequences given, 200 timesteps in all"
    joined = np.concatenate([*xs, *xs])[:300]
    late = np.abs(small.run(joined) - model.run(joined))[100:]
    assert found.spans[-1].outputs[0].largest == pytest.approx(late.max())


def test_random_recordings_are_the_same_every_time(model: grurt.Model) -> None:
    first, second = random_recordings(model), random_recordings(model)
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first.sequences, second.sequences, strict=True))
    assert (len(first.sequences), first.steps) == (8, 1600)
    assert loss(model, model, steps=1).data.startswith("8 random sequences of 200 timesteps: standard normal features")


def test_a_model_that_cannot_stream_has_no_spans() -> None:
    model = models.gru_model(3, 7, np.random.default_rng(2), direction="reverse")
    found = loss(model, model.quantize("int8"))
    assert found.spans == ()
    assert 25 < found.worst.decibels < 80


def test_an_answer_for_the_whole_sequence_is_followed_at_every_timestep() -> None:
    model = models.gru_model(3, 7, np.random.default_rng(2), last_step=True, output_size=2)
    found = loss(model, model.quantize("int8"), steps=100)
    assert len(found.spans) == 2
    assert found.worst.agreement is not None


def test_stages_of_different_lengths() -> None:
    sizes = {"input_size": 2, "hidden_size": 6}
    layers = [
        grurt.GRU(name="encoder", inputs=("source",), **sizes),
        grurt.LastStep(name="summary"),
        grurt.GRU(name="decoder", inputs=("target", "summary"), initial_state="value", **sizes),
    ]
    rng = np.random.default_rng(3)
    model = models.layer_model(*layers, rng=rng, inputs=[grurt.Input("source", 2), grurt.Input("target", 2)])
    data = [{"source": rng.standard_normal((n, 2)), "target": rng.standard_normal((n + 3, 2))} for n in (4, 9)]
    found = loss(model, model.quantize("int8", calibration=data), data)
    assert 25 < found.worst.decibels < 80
    assert {layer.name for layer in layer_losses(model, "int8", data)} == {"encoder", "decoder"}


def test_joined_recordings_go_round(model: grurt.Model) -> None:
    data = recordings(model, [np.zeros((2, 4)), np.ones((1, 4))])
    assert data.joined(7, ["x"])["x"][:, 0].tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_every_layer_alone_the_costliest_first(fragile: grurt.Model) -> None:
    told: list[str] = []
    found = layer_losses(fragile, "int8", fragile_data(), progress=told.append)
    assert told == ["units", "gru", "head"]
    assert found[0].name == "units"
    assert found[0].decibels < 20 < 35 < found[1].decibels
    assert found[0].own.name == "units"
    assert [layer.kind for layer in found] == ["linear", *(layer.kind for layer in found[1:])]
    assert [layer.name for layer in layer_losses(fragile, "int8", fragile_data(), keep=["units", "head"])] == ["gru"]


def test_the_error_of_one_layer_alone_is_that_of_a_model_that_keeps_the_others(fragile: grurt.Model) -> None:
    data = fragile_data()
    (gru,) = (layer for layer in layer_losses(fragile, "int8", data) if layer.name == "gru")
    alone = fragile.quantize("int8", keep=["units", "head"])
    assert gru.outputs == loss(fragile, alone, data, steps=1).outputs


def test_just_the_costly_layer_is_kept(fragile: grurt.Model) -> None:
    data = fragile_data()
    assert layers_to_keep(fragile, "int8", Limit.parse("30dB"), data) == ("units",)
    assert layers_to_keep(fragile, "int8", Limit.parse("1dB"), data) == ()
    assert layers_to_keep(fragile, "int8", Limit.parse("30dB"), data, keep=["head"]) == ("head", "units")
    assert layers_to_keep(fragile, "int8", Limit.parse("30dB"), data, calibrate=True) == ()


def test_nothing_fits_a_limit_that_is_too_strict(fragile: grurt.Model) -> None:
    with pytest.raises(QuantizationError, match="limit: nothing can be quantized to int8 with a loss within 200 dB"):
        layers_to_keep(fragile, "int8", Limit.parse("200dB"), fragile_data())


def test_layers_that_need_not_be_kept_are_let_go(monkeypatch: pytest.MonkeyPatch, fragile: grurt.Model) -> None:
    """The costliest two layers alone are not always the fewest: here the second one of them suffices."""
    data = fragile_data()
    costs = layer_losses(fragile, "int8", data)
    shuffled = sorted(costs, key=lambda layer: layer.name != "head")
    assert shuffled[0].name == "head"
    kept = layers_to_keep(fragile, "int8", Limit.parse("30dB"), data, costs=shuffled)
    assert kept == ("units",)


@pytest.mark.parametrize(
    ("text", "decibels", "largest", "shown"),
    [
        ("30dB", 30, math.inf, "30 dB"),
        (" 42.5 db ", 42.5, math.inf, "42.5 dB"),
        ("0.01", -math.inf, 0.01, "0.01"),
        ("1e-3", -math.inf, 1e-3, "0.001"),
        (".5", -math.inf, 0.5, "0.5"),
    ],
)
def test_limits(text: str, decibels: float, largest: float, shown: str) -> None:
    limit = Limit.parse(text)
    assert limit == Limit(decibels, largest)
    assert str(limit) == shown


@pytest.mark.parametrize("text", ["", "much", "-3", "3 %", "dB", "nan", "inf"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(QuantizationError, match="expected decibels from signal to error such as 30dB"):
        Limit.parse(text)


def test_a_limit_holds_for_every_output() -> None:
    good, poor = difference(50, 0.01), difference(20, 0.5)
    assert Limit.parse("30dB").allows([good])
    assert not Limit.parse("30dB").allows([good, poor])
    assert Limit.parse("0.5").allows([good, poor])
    assert not Limit.parse("0.1").allows([good, poor])
    assert not Limit.parse("0.1").allows([difference(math.nan, math.nan)])
    assert Loss((good, poor), (), "").worst is poor
