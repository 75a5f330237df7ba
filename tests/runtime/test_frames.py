"""Frames: streams and pools take and give a timestep in the source's own shape and order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import grurt
from grurt.errors import InputShapeError, InputTypeError, InputValueError, QuantizationError
from grurt.network.signature import Axis, Signature, ValuePort
from grurt.quantization.loss import loss
from grurt.quantization.recordings import recordings
from grurt.summary import summarize

if TYPE_CHECKING:
    import torch

CHANNELS, WIDTH, HIDDEN = 3, 5, 4
N_STEPS = 7
CHANNELS_FIRST: tuple[Axis, ...] = ("batch", "feature", "time", "position")
CHANNELS_LAST: tuple[Axis, ...] = ("batch", "time", "position", "feature")
MERGED: tuple[Axis, ...] = ("batch_position", "time", "feature")


@pytest.fixture(scope="module")
def network() -> torch.nn.GRU:
    """Return a GRU that runs along time at every position of a grid."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.GRU(CHANNELS, HIDDEN, batch_first=True).requires_grad_(requires_grad=False)


def model_of(network: torch.nn.GRU, axes: tuple[Axis, ...], out_axes: tuple[Axis, ...] | None = None) -> grurt.Model:
    """Return the model of a source with a grid of these axes."""
    weights = {}
    for name, parameter in network.named_parameters():
        r, z, n = parameter.numpy().reshape(3, HIDDEN, -1)
        weights[f"gru.{name.removesuffix('_l0')}"] = np.concatenate([z, r, n]).reshape(parameter.shape)
    port: dict[str, Any] = {"dtype": "float32", "positions": WIDTH}
    return grurt.Model(
        inputs=[grurt.Input("x", CHANNELS * WIDTH)],
        layers=[
            grurt.Unflatten(name="grid", inputs=("x",), positions=WIDTH),
            grurt.GRU(name="gru", inputs=("grid",), input_size=CHANNELS, hidden_size=HIDDEN),
            grurt.Flatten(name="y", inputs=("gru",)),
        ],
        weights=weights,
        signature=Signature(
            (ValuePort(name="x", value="x", axes=axes, **port),),
            (ValuePort(name="y", value="y", axes=out_axes or axes, **port),),
        ),
    )


@pytest.fixture(scope="module")
def grids() -> np.ndarray:
    """Return a sequence of spectra ``(n_steps, channels, width)``."""
    return np.random.default_rng(0).standard_normal((N_STEPS, CHANNELS, WIDTH), np.float32)


def answers(network: torch.nn.GRU, grids: np.ndarray) -> np.ndarray:
    """Return what PyTorch answers to a sequence ``(n_steps, channels, width)``: ``(n_steps, hidden, width)``."""
    torch = pytest.importorskip("torch")
    found, _ = network(torch.tensor(grids.transpose(2, 0, 1).copy()))  # a batch of positions
    return np.asarray(found).transpose(1, 2, 0)


def test_a_step_takes_the_sources_shape_and_order(network: torch.nn.GRU, grids: np.ndarray) -> None:
    stream = model_of(network, CHANNELS_FIRST).stream()
    found = np.array([stream.step(grid) for grid in grids])
    assert found.shape == (N_STEPS, HIDDEN, WIDTH)
    np.testing.assert_allclose(found, answers(network, grids), atol=2e-6)


def test_every_way_in_gives_the_same_bits(network: torch.nn.GRU, grids: np.ndarray) -> None:
    model = model_of(network, CHANNELS_FIRST)
    expected = np.array([*map(model.stream().step, grids)])
    (whole,) = model.run({"x": grids.transpose(1, 0, 2)[np.newaxis]}).values()
    np.testing.assert_array_equal(whole[0].transpose(1, 0, 2), expected)
    for found in ways_in(model, grids):
        np.testing.assert_array_equal(found, expected)


def ways_in(model: grurt.Model, grids: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the answers to one sequence by every call that takes frames."""
    stream = model.stream()
    yield np.array([stream.step(grid.ravel()) for grid in grids])  # flat, in the source's order
    stream.reset()
    yield np.array([stream.step(grid[np.newaxis, :, np.newaxis]) for grid in grids])  # with the source's axes of size 1
    stream.reset()
    yield np.array([stream.step(grid, stream.output).copy() for grid in grids])
    stream.reset()
    yield np.array([stream.step({"x": grid.astype(np.float64)}) for grid in grids])
    stream.reset()
    yield np.array([_advance(stream, grid) for grid in grids])
    stream.reset()
    yield stream.run(grids)
    stream.reset()
    yield stream.run(grids.reshape(N_STEPS, -1), np.empty((N_STEPS, HIDDEN, WIDTH), np.float32))
    yield model.run(grids)
    yield model.run(grids.reshape(N_STEPS, -1))
    yield model.run(grids[np.newaxis])[0]
    yield from _ways_into_pools(model, grids)


def _advance(stream: grurt.Stream, grid: np.ndarray) -> np.ndarray:
    stream.input[:] = grid
    stream.advance()
    return stream.output.copy()


def _ways_into_pools(model: grurt.Model, grids: np.ndarray) -> Iterator[np.ndarray]:
    both, ids = np.stack([grids, -grids], 1), np.array([1, 0])
    for threads in (1, 2):
        pool = model.pool(2, threads=threads)
        yield np.array([pool.step(ids, pair)[0] for pair in both])
        pool = model.pool(2, threads=threads)
        yield np.array([pool.step([1, 0], pair.reshape(2, -1))[0] for pair in both])
        pool = model.pool(2, threads=threads)
        yield pool.run(ids, both.swapaxes(0, 1).copy())[0]
        pool = model.pool(2, threads=threads)
        yield pool.run(ids, both.swapaxes(0, 1).copy(), np.empty((2, N_STEPS, HIDDEN, WIDTH), np.float32))[0]
        pool = model.pool(2, threads=threads)
        yield pool.run(ids, both.swapaxes(0, 1).reshape(2, N_STEPS, -1))[0]


def test_a_grid_in_the_models_order(network: torch.nn.GRU, grids: np.ndarray) -> None:
    stream = model_of(network, CHANNELS_LAST).stream()
    found = np.array([stream.step(grid.T) for grid in grids])
    np.testing.assert_allclose(found.transpose(0, 2, 1), answers(network, grids), atol=2e-6)


def test_positions_in_the_batch(network: torch.nn.GRU, grids: np.ndarray) -> None:
    stream = model_of(network, MERGED, CHANNELS_FIRST).stream()
    found = np.array([stream.step(grid.T[:, np.newaxis]) for grid in grids])
    np.testing.assert_allclose(found, answers(network, grids), atol=2e-6)


def test_the_last_answer_of_a_sequence(network: torch.nn.GRU, grids: np.ndarray) -> None:
    model = model_of(network, CHANNELS_FIRST)
    out_axes: tuple[Axis, ...] = ("batch", "feature", "position")
    last = model.replaced(
        layers=[*model.layers, grurt.LastStep(name="last", inputs=("y",))],
        outputs=[grurt.Output("y", "last")],
        signature=Signature(
            model.signature.inputs,
            (ValuePort(name="y", value="y", axes=out_axes, dtype="float32", positions=WIDTH),),
        ),
    )
    expected = model.stream().run(grids)[-1]
    np.testing.assert_array_equal(last.run(grids), expected)
    np.testing.assert_array_equal(last.stream().run(grids)[-1], expected)
    (found,) = last.run({"x": np.stack([grids] * 5).transpose(0, 2, 1, 3)}).values()
    np.testing.assert_array_equal(found, np.stack([expected] * 5))


def test_a_grid_of_the_wrong_order_is_refused(network: torch.nn.GRU, grids: np.ndarray) -> None:
    model = model_of(network, CHANNELS_FIRST)
    stream, pool = model.stream(), model.pool(2)
    expected = stream.fork().step(grids[0])
    wrong = r"expected shape \({}3, 5\), got"
    for call, lead in (
        (lambda: stream.step(grids[0].T), ""),
        (lambda: stream.step(grids[0], np.empty((WIDTH, HIDDEN), np.float32)), None),
        (lambda: stream.run(grids.swapaxes(1, 2)), "n_steps, "),
        (lambda: model.run(grids.swapaxes(1, 2)), "n_steps, "),
        (lambda: pool.step([0, 1], np.zeros((2, WIDTH, CHANNELS), np.float32)), "2, "),
    ):
        with pytest.raises(InputShapeError, match="expected shape" if lead is None else wrong.format(lead)):
            call()
    np.testing.assert_array_equal(stream.step(grids[0]), expected)


def test_a_fault_is_named_by_its_place_in_the_grid(network: torch.nn.GRU, grids: np.ndarray) -> None:
    model = model_of(network, CHANNELS_FIRST)
    grid = grids[0].copy()
    grid[2, 4] = np.nan
    with pytest.raises(InputValueError, match=r"input 'x' at \[2, 4\]: expected finite numbers, got nan"):
        model.stream().step(grid)
    with pytest.raises(InputValueError, match=r"input 'x' at \[0, 2, 4\]"):
        model.stream().run(grid[np.newaxis])


def test_calibration_takes_the_sources_order(network: torch.nn.GRU, grids: np.ndarray) -> None:
    first, last = model_of(network, CHANNELS_FIRST), model_of(network, CHANNELS_LAST)
    used = [recordings(model, data) for model, data in ((first, grids), (last, grids.swapaxes(1, 2).copy()))]
    np.testing.assert_array_equal(used[0].sequences[0]["x"], used[1].sequences[0]["x"])
    with pytest.raises(QuantizationError, match=r"expected shape \(n_steps, 3, 5\) or \(batch, n_steps, 3, 5\)"):
        recordings(first, grids.swapaxes(1, 2)[..., :4])


def test_losses_are_those_of_the_same_grids(network: torch.nn.GRU, grids: np.ndarray) -> None:
    first, last = model_of(network, CHANNELS_FIRST), model_of(network, CHANNELS_LAST)
    losses = [
        loss(model, model.quantize("int8"), data).outputs
        for model, data in ((first, grids), (last, grids.swapaxes(1, 2).copy()))
    ]
    assert losses[0] == losses[1]


def test_what_a_model_takes_is_shown(network: torch.nn.GRU) -> None:
    summary = summarize(model_of(network, CHANNELS_FIRST))
    assert summary.inputs[0].frame_shape == (CHANNELS, WIDTH)
    assert summary.outputs[0].frame_shape == (HIDDEN, WIDTH)


def test_a_token_in_the_sources_shape() -> None:
    model = grurt.Model(
        layers=[
            grurt.Embedding(name="embedding", vocabulary_size=9, size=2),
            grurt.GRU(name="gru", input_size=2, hidden_size=3, bias=False),
        ],
        weights={
            "embedding.weight": np.arange(18).reshape(9, 2) / 9,
            "gru.weight_ih": np.ones((9, 2)),
            "gru.weight_hh": np.ones((9, 3)),
        },
    )
    expected = model.stream().step(7)
    np.testing.assert_array_equal(model.stream().step([[7]]), expected)
    for wrong in ([7], [[7, 7]], [[[7]]]):
        with pytest.raises(InputShapeError, match=r"expected shape \(\), got"):
            model.stream().step(wrong)
    with pytest.raises(InputTypeError):
        model.stream().step([[7.0]])
