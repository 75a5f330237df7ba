"""GRUs whose state is multiplied by a factor before each timestep, as reset masks do where an episode begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from bits import assert_same_bits, stepped
from oracle import assert_agrees, seeded

import grurt
from grurt.container.writing import encode
from grurt.errors import ModelError
from grurt.network.layers import AnyLayer

SIZES = (1, 5, 16, 33)


def scaled_model(hidden_size: int, rng: np.random.Generator, *, wide: bool = False, **options: Any) -> grurt.Model:
    """Return two GRUs, one upon the other, with one factor for both: of size 1, or one for each unit."""
    options = {"scaled_state": True, "hidden_size": hidden_size, "initial_state": "learned"} | options
    masks = ("mask",) if options.get("masked") else ()
    layers: list[AnyLayer] = [
        grurt.GRU(name="a", inputs=("x", *masks, "factor"), input_size=6, **options),
        grurt.GRU(name="b", inputs=("a", *masks, "factor"), input_size=hidden_size, **options),
    ]
    inputs = [grurt.Input("x", 6), grurt.Input("factor", hidden_size if wide else 1)]
    inputs += [grurt.Input("mask", 1)] if masks else []
    outputs = [grurt.Output(name, name) for name in ("a", "b")]
    return models.layer_model(*layers, rng=rng, inputs=inputs, outputs=outputs)


@pytest.mark.parametrize("hidden_size", SIZES)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_the_state_is_multiplied_before_each_timestep(hidden_size: int, wide: bool, linear_before_reset: bool) -> None:
    rng = seeded(hidden_size, wide, linear_before_reset)
    model = scaled_model(hidden_size, rng, wide=wide, linear_before_reset=linear_before_reset)
    assert_agrees(model, rng, n_steps=12)


@pytest.mark.parametrize("options", [{"direction": "reverse"}, {"masked": True}, {"clip": 0.5}], ids=str)
def test_with_other_options(options: dict[str, Any]) -> None:
    rng = seeded(str(options))
    assert_agrees(scaled_model(17, rng, **options), rng, n_steps=12)


def test_a_factor_of_0_is_a_reset_and_1_is_none() -> None:
    rng = np.random.default_rng(1)
    options = {"initial_state": "zeros", "scaled_state": True, "input_size": 6, "hidden_size": 5}
    gru = grurt.GRU(name="gru", inputs=("x", "factor"), **options)
    model = models.layer_model(gru, rng=rng, inputs=[grurt.Input("x", 6), grurt.Input("factor", 1)])
    plain = grurt.Model(layers=[grurt.GRU(name="gru", input_size=6, hidden_size=5)], weights=model.weights)
    xs = rng.normal(size=(9, 6)).astype(np.float32)
    factor = np.ones((9, 1), np.float32)
    factor[4] = 0
    stream, expected = model.stream(), plain.stream()
    for x, number in zip(xs, factor, strict=True):
        if number == 0:
            expected.reset()
        np.testing.assert_array_equal(stream.step({"x": x, "factor": number}), expected.step(x))
        assert_same_bits(stream.state, expected.state)


@pytest.mark.parametrize("options", [{}, {"linear_before_reset": False}, {"masked": True}], ids=str)
@pytest.mark.parametrize("weight_format", ["float32", "int8"])
def test_streams_blocks_and_pools_give_the_same_bits(weight_format: str, options: dict[str, Any]) -> None:
    rng = seeded(weight_format, str(options))
    model = scaled_model(17, rng, **options)
    if weight_format != "float32":
        model = model.quantize(weight_format)
    xs = {port.name: rng.normal(size=(7, 90, port.size)).astype(np.float32) for port in model.inputs}
    xs["factor"] = (rng.uniform(size=(7, 90, 1)) > 0.2).astype(np.float32)
    pool = model.pool(7)
    found = pool.run(range(7), xs)
    whole = model.run(xs)
    for row in range(7):
        stream = model.stream()
        own = {name: array[row] for name, array in xs.items()}
        expected = stepped(stream, own)
        assert_same_bits({name: array[row] for name, array in found.items()}, expected)
        assert_same_bits(model.stream().run(own), expected)
        assert_same_bits(pool.state(row), stream.state)
        np.testing.assert_array_equal(whole["b"][row], expected["b"])


def test_a_grid_has_a_factor_for_each_position() -> None:
    rng = np.random.default_rng(5)
    layers: list[AnyLayer] = [
        grurt.Unflatten(name="grid", inputs=("x",), positions=3),
        grurt.Unflatten(name="factors", inputs=("factor",), positions=3),
        grurt.GRU(name="gru", inputs=("grid", "factors"), input_size=4, hidden_size=18, scaled_state=True),
        grurt.Flatten(name="flat"),
    ]
    model = models.layer_model(*layers, rng=rng, inputs=[grurt.Input("x", 12), grurt.Input("factor", 3)])
    assert_agrees(model, rng, n_steps=9)


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(6)
    with pytest.raises(ModelError, match="layer 'a': expected a factor of the state of size 1 or 5, got 4"):
        models.layer_model(
            grurt.GRU(name="a", inputs=("x", "factor"), input_size=6, hidden_size=5, scaled_state=True),
            rng=rng,
            inputs=[grurt.Input("x", 6), grurt.Input("factor", 4)],
        )
    with pytest.raises(ModelError, match="scaled_state is for a GRU that scans the time, got scan='positions'"):
        models.layer_model(
            grurt.GRU(name="a", inputs=("x", "f"), input_size=6, hidden_size=5, scaled_state=True, scan="positions"),
            rng=rng,
            inputs=[grurt.Input("x", 6), grurt.Input("f", 1)],
        )


def test_files_without_a_factor_are_those_of_older_releases(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    plain = encode(models.gru_model(3, 4, rng))
    assert b"scaled_state" not in plain
    assert b'\\"version\\":1' in plain
    scaled = scaled_model(4, rng)
    assert b'\\"version\\":2' in encode(scaled)
    scaled.save(tmp_path / "scaled.grurt")
    assert grurt.load(tmp_path / "scaled.grurt").layers == scaled.layers
