"""Masks: timesteps that a GRU skips, as Keras skips them."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest
from bits import assert_same_bits, stepped
from oracle import assert_agrees, seeded

import grurt
from grurt.network.layers import AnyLayer

SIZES = (1, 5, 16, 33)
TOKENS = grurt.TokenInput("tokens", 4)


def masked_gru(name: str, inputs: tuple[str, ...], hidden_size: int, **options: Any) -> grurt.GRU:
    options = {"input_size": 6, "initial_state": "learned"} | options
    return grurt.GRU(name=name, inputs=inputs, hidden_size=hidden_size, masked=True, **options)


def token_model(hidden_size: int, rng: np.random.Generator, **options: Any) -> grurt.Model:
    """Return two stacked GRUs that skip the timesteps of token 0, and their last state."""
    layers: list[AnyLayer] = [
        grurt.Embedding(name="embedding", inputs=("tokens",), vocabulary_size=4, size=6),
        grurt.TokenMask(name="mask", inputs=("tokens",)),
        masked_gru("a", ("embedding", "mask"), hidden_size, **options),
        masked_gru("b", ("a", "mask"), hidden_size, input_size=hidden_size, **options),
        grurt.LastStep(name="last"),
    ]
    outputs = [grurt.Output(name, name) for name in ("mask", "a", "b", "last")]
    return models.layer_model(*layers, rng=rng, inputs=[TOKENS], outputs=outputs)


@pytest.mark.parametrize("hidden_size", SIZES)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_tokens_are_skipped(hidden_size: int, direction: str, linear_before_reset: bool) -> None:
    rng = seeded(hidden_size, direction)
    model = token_model(hidden_size, rng, direction=direction, linear_before_reset=linear_before_reset)
    assert_agrees(model, rng, n_steps=12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask_value", [0.0, -1.5])
def test_a_feature_mask_is_0_where_all_features_are_the_value(size: int, mask_value: float) -> None:
    layer = grurt.FeatureMask(name="mask", mask_value=mask_value)
    model = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", size)])
    xs = np.full((2 + size, size), mask_value, np.float32)
    xs[1] += 1
    xs[2:] += np.eye(size, dtype=np.float32)
    np.testing.assert_array_equal(model.run(xs), [[0]] + [[1]] * (1 + size))


def test_a_masked_timestep_keeps_the_state_and_repeats_it() -> None:
    rng = np.random.default_rng(1)
    layers = [grurt.FeatureMask(name="mask", inputs=("x",)), masked_gru("gru", ("x", "mask"), 5)]
    model = models.layer_model(*layers, rng=rng, inputs=[grurt.Input("x", 6)])
    xs = rng.normal(size=(7, 6)).astype(np.float32)
    xs[[0, 3, 4]] = 0
    ys = model.stream().run(xs)
    np.testing.assert_array_equal(ys[0], model.weights["gru.initial_state"])
    np.testing.assert_array_equal(ys[3:5], np.stack([ys[2], ys[2]]))
    np.testing.assert_array_equal(ys[-1], model.stream().run(xs[[1, 2, 5, 6]])[-1])


def test_outputs_of_masked_timesteps_can_be_zeroed() -> None:
    """Keras zero_output_for_mask: a product with the mask, once it is repeated for each feature."""
    rng = np.random.default_rng(2)
    layers: list[AnyLayer] = [
        grurt.FeatureMask(name="mask", inputs=("x",)),
        masked_gru("gru", ("x", "mask"), 5),
        grurt.Linear(name="repeat", inputs=("mask",), input_size=1, output_size=5, bias=False),
        grurt.Mul(name="zeroed", inputs=("gru", "repeat")),
    ]
    outputs = [grurt.Output("y", "zeroed"), grurt.Output("plain", "gru")]
    weights = models.random_weights(layers, rng) | {"repeat.weight": np.ones((5, 1), np.float32)}
    model = grurt.Model(layers=layers, weights=weights, inputs=[grurt.Input("x", 6)], outputs=outputs)
    xs = rng.normal(size=(7, 6)).astype(np.float32)
    xs[[2, 5]] = 0
    answers = model.stream().run(xs)
    np.testing.assert_array_equal(answers["y"], np.where(np.isin(np.arange(7), [2, 5])[:, None], 0, answers["plain"]))


@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_streams_blocks_and_pools_skip_alike(linear_before_reset: bool) -> None:
    rng = np.random.default_rng(3)
    model = token_model(17, rng, linear_before_reset=linear_before_reset)
    tokens = rng.integers(0, 4, (7, 90))
    tokens[:, :3] = 0
    pool = model.pool(7)
    found = pool.run(range(7), tokens)
    whole = model.run(tokens)
    for row in range(7):
        stream = model.stream()
        expected = stepped(stream, {"tokens": tokens[row]})
        assert_same_bits({name: array[row] for name, array in found.items()}, expected)
        assert_same_bits(model.stream().run(tokens[row]), expected)
        assert_same_bits(pool.state(row), stream.state)
        np.testing.assert_array_equal(whole["b"][row], expected["b"])


def test_a_nan_at_a_masked_timestep_does_no_harm() -> None:
    rng = np.random.default_rng(4)
    inputs = [grurt.Input("x", 6), grurt.Input("mask", 1)]
    model = models.layer_model(masked_gru("gru", ("x", "mask"), 5), rng=rng, inputs=inputs)
    pool = model.pool(5, nonfinite="propagate")
    xs = rng.normal(size=(5, 6)).astype(np.float32)
    xs[2] = np.nan
    mask = np.float32([[1], [1], [0], [1], [1]])
    assert np.isfinite(pool.step(range(5), {"x": xs, "mask": mask})).all()
