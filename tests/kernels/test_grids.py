"""Grids: several positions at each timestep, scanned over time or inside it, as dual-path models do."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest
from bits import assert_same_bits, named, run_in_blocks, stepped
from oracle import assert_agrees, seeded

import grurt
from grurt.network import functions
from grurt.network.layers import AnyLayer

HIDDEN = (1, 5, 16, 33)


def grid_model(*layers: AnyLayer, positions: int, size: int, rng: np.random.Generator) -> grurt.Model:
    """Return a model of layers between an Unflatten and a Flatten."""
    split = grurt.Unflatten(name="grid", positions=positions, inputs=("x",))
    return models.layer_model(
        split, *layers, grurt.Flatten(name="flat"), rng=rng, inputs=[grurt.Input("x", positions * size)]
    )


def dual_path_model(positions: int, size: int, hidden_size: int, rng: np.random.Generator) -> grurt.Model:
    """Return a bidirectional GRU over the positions, then one over time, each with a projection and a residual."""
    intra: dict[str, Any] = {"input_size": size, "hidden_size": hidden_size, "scan": "positions", "inputs": ("grid",)}
    return grid_model(
        grurt.GRU(name="up", initial_state="learned", **intra),
        grurt.GRU(name="down", direction="reverse", **intra),
        grurt.Concat(name="both", inputs=("up", "down")),
        grurt.Linear(name="intra_fc", input_size=2 * hidden_size, output_size=size),
        grurt.LayerNorm(name="intra_norm", size=size, epsilon=1e-3),
        grurt.Add(name="intra", inputs=("grid", "intra_norm")),
        grurt.GRU(name="inter_gru", input_size=size, hidden_size=hidden_size, initial_state="learned"),
        grurt.Linear(name="inter_fc", input_size=hidden_size, output_size=size),
        grurt.Mul(name="inter", inputs=("intra", "inter_fc")),
        positions=positions,
        size=size,
        rng=rng,
    )


@pytest.mark.parametrize("hidden_size", HIDDEN)
@pytest.mark.parametrize(("positions", "size"), [(1, 3), (2, 16), (3, 5), (6, 17), (9, 1)])
@pytest.mark.parametrize("scan", ["time", "positions"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_gru_on_a_grid(hidden_size: int, positions: int, size: int, scan: Any, direction: Any) -> None:
    rng = seeded(hidden_size, positions, size, scan)
    for linear_before_reset in (True, False):
        gru = grurt.GRU(
            name="gru",
            input_size=size,
            hidden_size=hidden_size,
            scan=scan,
            direction=direction,
            initial_state="learned",
            linear_before_reset=linear_before_reset,
        )
        assert_agrees(grid_model(gru, positions=positions, size=size, rng=rng), rng, n_steps=7)


@pytest.mark.parametrize(("positions", "size"), [(3, 5), (4, 16)])
def test_layers_apply_to_every_position(positions: int, size: int) -> None:
    rng = seeded(positions, size)
    layers: tuple[AnyLayer, ...] = (
        grurt.Linear(name="fc", input_size=size, output_size=7),
        grurt.LayerNorm(name="norm", size=7, epsilon=1e-3),
        grurt.BatchNorm(name="batch_norm", size=7),
        grurt.PRelu(name="prelu", size=7),
        grurt.Slice(name="slice", start=2, stop=6),
        grurt.Activation(name="softmax", function=functions.Softmax()),
        grurt.Activation(name="tanh", function=functions.Tanh()),
        grurt.Concat(name="cat", inputs=("tanh", "fc", "slice")),
        grurt.Add(name="add", inputs=("cat", "cat", "cat")),
    )
    for i in range(len(layers)):
        assert_agrees(grid_model(*layers[: i + 1], positions=positions, size=size, rng=rng), rng, n_steps=5)


@pytest.mark.parametrize("scan", ["time", "positions"])
@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_masks_on_a_grid(scan: Any, linear_before_reset: bool) -> None:
    rng = seeded(scan)
    gru = grurt.GRU(
        name="gru",
        inputs=("relu", "mask"),
        input_size=1,
        hidden_size=5,
        masked=True,
        scan=scan,
        linear_before_reset=linear_before_reset,
    )
    layers: list[AnyLayer] = [
        grurt.Activation(name="relu", function=functions.Relu()),
        grurt.FeatureMask(name="mask"),
        gru,
    ]
    assert_agrees(grid_model(*layers, positions=6, size=1, rng=rng), rng, n_steps=9)


@pytest.mark.parametrize("last", [grurt.LastStep(name="one"), grurt.FirstStep(name="one")])
def test_one_grid_of_a_sequence(last: AnyLayer) -> None:
    rng = np.random.default_rng(3)
    layers: tuple[AnyLayer, ...] = (
        grurt.GRU(name="gru", input_size=5, hidden_size=4),
        last,
        grurt.Linear(name="fc", input_size=4, output_size=3),
        grurt.Add(name="twice", inputs=("fc", "fc")),
    )
    assert_agrees(grid_model(*layers, positions=3, size=5, rng=rng), rng, n_steps=70)


@pytest.mark.parametrize(("positions", "size", "hidden_size"), [(1, 6, 5), (3, 5, 7), (7, 16, 16), (10, 3, 20)])
def test_steps_blocks_runs_and_pools_are_the_same_bits(positions: int, size: int, hidden_size: int) -> None:
    rng = seeded(positions, size)
    model = dual_path_model(positions, size, hidden_size, rng)
    assert model.unstreamable_reason is None
    xs = rng.normal(size=(6, 75, positions * size)).astype(np.float32)
    pool = model.pool(6)
    pooled = pool.run(range(6), xs)
    whole = model.run(xs)
    for row in range(6):
        stream = model.stream()
        expected = stepped(stream, {"x": xs[row]})
        blocks = run_in_blocks(model.stream(), {"x": xs[row]}, [3, 5, 31])
        assert_same_bits(blocks, expected)
        assert_same_bits(named(model, pooled[row]), expected)
        assert_same_bits(named(model, whole[row]), expected)
        assert_same_bits(pool.state(row), stream.state)
    assert_agrees(model, rng)


def test_states_of_a_grid_are_set_and_restored() -> None:
    rng = np.random.default_rng(4)
    model = dual_path_model(3, 4, 5, rng)
    assert dict(model.state_shapes) == {"inter_gru": (3, 5)}
    xs = rng.normal(size=(8, 12)).astype(np.float32)
    stream = model.stream()
    np.testing.assert_array_equal(stream.state["inter_gru"], np.tile(model.weights["inter_gru.initial_state"], (3, 1)))
    stream.run(xs[:4])
    restored, by_state = model.stream(), model.stream()
    restored.restore(stream.snapshot())
    by_state.state = stream.state
    expected = stream.run(xs[4:])
    np.testing.assert_array_equal(restored.run(xs[4:]), expected)
    np.testing.assert_array_equal(by_state.run(xs[4:]), expected)
    with pytest.raises(grurt.InputShapeError, match=r"'inter_gru': expected shape \(3, 5\), got \(5,\)"):
        stream.state = {"inter_gru": np.zeros(5)}


def test_a_dual_path_model_is_that_of_torch() -> None:
    """GRUs with batch_first, folded over frequency and over time with reshapes, as such models are written."""
    torch = pytest.importorskip("torch")
    positions, size, hidden = 6, 4, 8
    torch.manual_seed(0)
    intra = torch.nn.GRU(size, hidden, batch_first=True, bidirectional=True)
    inter = torch.nn.GRU(2 * hidden, hidden, batch_first=True)
    x = torch.randn(3, 10, positions, size)
    with torch.no_grad():
        y = intra(x.reshape(30, positions, size))[0].reshape(3, 10, positions, 2 * hidden)
        folded = y.transpose(1, 2).reshape(3 * positions, 10, 2 * hidden)
        expected = inter(folded)[0].reshape(3, positions, 10, hidden).transpose(1, 2).numpy()
    options: dict[str, Any] = {"input_size": size, "hidden_size": hidden, "scan": "positions", "inputs": ("grid",)}
    layers: tuple[AnyLayer, ...] = (
        grurt.Unflatten(name="grid", inputs=("x",), positions=positions),
        grurt.GRU(name="up", **options),
        grurt.GRU(name="down", direction="reverse", **options),
        grurt.Concat(name="both", inputs=("up", "down")),
        grurt.GRU(name="inter", input_size=2 * hidden, hidden_size=hidden),
        grurt.Flatten(name="y"),
    )
    weights = {
        f"{name}.{ours}": _zrn(module.state_dict()[f"{theirs}{suffix}"].numpy())
        for name, module, suffix in (("up", intra, ""), ("down", intra, "_reverse"), ("inter", inter, ""))
        for ours, theirs in zip(
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
            ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
            strict=True,
        )
    }
    model = grurt.Model(layers=layers, weights=weights, inputs=[grurt.Input("x", positions * size)])
    found = model.run(x.reshape(3, 10, -1).numpy())
    np.testing.assert_allclose(found, expected.reshape(3, 10, -1), rtol=0, atol=2e-6)


def _zrn(rows: Any) -> Any:
    r, z, n = np.split(rows, 3)
    return np.concatenate([z, r, n])
