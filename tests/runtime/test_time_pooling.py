"""What the timesteps of a sequence come to: against PyTorch, over long streams, with masks, where nothing counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import grurt
from grurt.errors import ModelError

OPERATIONS = ("sum", "mean", "max", "softmax")


def pooling(operation: Any, size: int = 3, *, masked: bool = False, score_size: int = 1) -> grurt.Model:
    """Return a model of one pooling, and of nothing else."""
    names = ["x", *["scores"] * (operation == "softmax"), *["mask"] * masked]
    sizes = {"x": size, "scores": score_size, "mask": 1}
    layer = grurt.TimePooling(
        name="pool", inputs=tuple(names), size=size, operation=operation, masked=masked, score_size=score_size
    )
    return grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input(name, sizes[name]) for name in names])


def answer(model: grurt.Model, feed: dict[str, Any], **options: Any) -> Any:
    return model.run(feed, **options)["y"]


def from_torch(operation: str, x: Any, scores: Any) -> Any:
    x, scores = torch.from_numpy(x), torch.from_numpy(scores)
    match operation:
        case "sum":
            return x.sum(1)
        case "mean":
            return x.mean(1)
        case "max":
            return x.amax(1)
    return (torch.softmax(scores, 1) * x).sum(1)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("score_size", [1, 20])
def test_a_run_gives_what_pytorch_gives(operation: Any, score_size: int) -> None:
    if operation != "softmax" and score_size > 1:
        return
    rng = np.random.default_rng(len(operation))
    x, scores = (rng.normal(size=(5, 70, size)).astype(np.float32) for size in (20, score_size))
    scores *= 10
    model = pooling(operation, 20, score_size=score_size)
    feed = {"x": x, "scores": scores} if operation == "softmax" else {"x": x}
    expected = from_torch(operation, x, scores).numpy()
    np.testing.assert_allclose(answer(model, feed), expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_lies_behind_a_length_or_a_mask_does_not_count(operation: Any) -> None:
    rng = np.random.default_rng(1)
    x, scores = rng.normal(size=(2, 5, 30, 3)).astype(np.float32)
    lengths = np.array([30, 1, 7, 29, 12])
    feed = {"x": x, "scores": scores[..., :1]} if operation == "softmax" else {"x": x}
    mask = (np.arange(30) < lengths[:, np.newaxis]).astype(np.float32)[..., np.newaxis]
    by_mask = answer(pooling(operation, masked=True), {**feed, "mask": mask})
    np.testing.assert_array_equal(by_mask, answer(pooling(operation), feed, lengths=lengths))
    for row, length in enumerate(lengths):
        alone = {name: array[row : row + 1, :length] for name, array in feed.items()}
        np.testing.assert_array_equal(by_mask[row], answer(pooling(operation), alone)[0])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_where_nothing_has_counted_the_answer_is_zero_and_the_first_that_counts_is_the_answer(operation: Any) -> None:
    stream = pooling(operation, masked=True).stream()
    for mask, expected in ((0, 0), (0, 0), (1, -3), (0, -3)):
        frame = {"x": [-3] * 3, "mask": [mask]} | ({"scores": [-200.0]} if operation == "softmax" else {})
        np.testing.assert_array_equal(stream.step(frame), np.float32([expected] * 3))


def test_a_maximum_that_is_empty_is_saved_as_such() -> None:
    model = pooling("max", masked=True)
    stream = model.stream()
    stream.step({"x": [5.0] * 3, "mask": [0.0]})
    later = model.stream()
    later.restore(stream.snapshot())
    np.testing.assert_array_equal(later.step({"x": [-1.0] * 3, "mask": [1.0]}), np.float32([-1] * 3))
    assert later.state["pool.count"].tolist() == [1, 0]


def test_scores_of_minus_infinity_leave_timesteps_out() -> None:
    x = np.float32([[1], [10], [4]])
    model = pooling("softmax", 1)
    stream = model.stream(nonfinite="propagate")
    answers = [stream.step({"x": row, "scores": [score]})[0] for row, score in zip(x, [-math.inf, 0, 0], strict=True)]
    np.testing.assert_allclose(answers, [0, 10, 7])


@pytest.mark.parametrize("drift", [1e-6, 1e-3, 1.0, 30.0, -1.0])
def test_scores_that_rise_or_fall_for_long(drift: float) -> None:
    rng = np.random.default_rng(2)
    n_steps = 200_000
    x = rng.normal(size=(n_steps, 1)).astype(np.float32)
    scores = (drift * np.arange(n_steps)[:, np.newaxis]).astype(np.float32)
    weights = np.exp(scores.astype(np.float64) - scores.max())
    expected = (weights * x).sum() / weights.sum()
    found = answer(pooling("softmax", 1), {"x": x[np.newaxis], "scores": scores[np.newaxis]})
    np.testing.assert_allclose(found, [[expected]], rtol=0, atol=2e-6)


def of_long_streams(n_steps: int) -> None:
    """Compare sums and means of a biased signal with exact ones, every so often."""
    rng = np.random.default_rng(3)
    block = rng.uniform(0, 1, (100_000, 1)).astype(np.float32)
    in_block = math.fsum(block.ravel().tolist())
    scores = rng.normal(size=block.shape).astype(np.float32)
    weights = np.exp(scores.astype(np.float64))
    weighted = float((weights * block).sum() / weights.sum())
    streams = {operation: pooling(operation, 1).stream() for operation in ("sum", "mean", "softmax")}
    for count in range(1, n_steps // len(block) + 1):
        feed = {"x": block, "scores": scores}
        found = {name: float(s.run(feed if name == "softmax" else {"x": block})[-1, 0]) for name, s in streams.items()}
        assert found["sum"] == pytest.approx(count * in_block, rel=2e-7)
        assert found["mean"] == pytest.approx(in_block / len(block), abs=2e-7)
        assert found["softmax"] == pytest.approx(weighted, abs=1e-6)
    assert streams["mean"].state["pool.count"].astype(np.float64).sum() == n_steps


def test_long_streams() -> None:
    of_long_streams(2_000_000)


@pytest.mark.long
def test_fifty_million_timesteps() -> None:
    of_long_streams(50_000_000)


def test_counts_go_beyond_the_whole_numbers_of_float32() -> None:
    stream = pooling("mean", 1).stream()
    stream.state = {"pool": [[2.0**24], [0]], "pool.count": [2.0**24, 0]}
    for _ in range(5):
        stream.step([1.0])
    assert stream.state["pool.count"].astype(np.float64).sum() == 2**24 + 5
    assert stream.state["pool"].astype(np.float64).sum() == 2**24 + 5


def test_infinities_are_what_they_come_to() -> None:
    stream = pooling("mean", 2).stream(nonfinite="propagate")
    stream.step([math.inf, 1.0])
    np.testing.assert_array_equal(stream.step([1.0, math.nan]), [math.inf, math.nan])
    later = pooling("mean", 2).stream()
    later.restore(stream.snapshot())
    np.testing.assert_array_equal(later.step([2.0, 2.0]), [math.inf, math.nan])


def test_behind_gru_in_both_directions_with_a_head() -> None:
    """A whole sequence, as classifiers read it."""
    torch.manual_seed(0)
    gru, head = torch.nn.GRU(4, 9, batch_first=True, bidirectional=True), torch.nn.Linear(18, 3)
    x = torch.randn(3, 25, 4)
    with torch.no_grad():
        expected = head(gru(x)[0].mean(1)).numpy()
    names = {"weight_ih": "weight_ih_l0", "weight_hh": "weight_hh_l0", "bias_ih": "bias_ih_l0", "bias_hh": "bias_hh_l0"}
    state = {**gru.state_dict()}
    weights = {f"forward.{ours}": state[theirs].numpy() for ours, theirs in names.items()}
    weights |= {f"reverse.{ours}": state[f"{theirs}_reverse"].numpy() for ours, theirs in names.items()}
    order = np.r_[9:18, 0:9, 18:27]  # PyTorch's rows are r, z, n
    weights = {name: array[order] for name, array in weights.items()}
    weights |= {f"head.{name}": tensor.detach().numpy() for name, tensor in head.named_parameters()}
    options = {"inputs": ("x",), "input_size": 4, "hidden_size": 9}
    model = grurt.Model(
        layers=[
            grurt.GRU(name="forward", **options),
            grurt.GRU(name="reverse", direction="reverse", **options),
            grurt.Concat(name="both", inputs=("forward", "reverse")),
            grurt.TimePooling(name="mean", size=18, operation="mean"),
            grurt.Linear(name="head", input_size=18, output_size=3),
        ],
        weights=weights,
        inputs=[grurt.Input("x", 4)],
    )
    np.testing.assert_allclose(model.run(x.numpy()), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [grurt.TimePooling(name="pool", size=4, operation="mean")],
            "layer 'pool': expected an input of size 4, got 3",
        ),
        (
            [grurt.TimePooling(name="pool", size=3, operation="softmax")],
            "layer 'pool': expected 2 inputs, got 1",
        ),
        (
            [grurt.TimePooling(name="pool", inputs=("x", "x"), size=3, operation="softmax")],
            "layer 'pool': expected scores of size 1, got 3",
        ),
        (
            [grurt.TimePooling(name="pool", inputs=("x", "x"), size=3, operation="softmax", score_size=2)],
            "layer 'pool': expected score_size=1 or 3, got 2",
        ),
        (
            [grurt.TimePooling(name="pool", size=3, operation="mean", score_size=3)],
            "layer 'pool': expected score_size=1, got 3",
        ),
        (
            [grurt.TimePooling(name="pool", inputs=("x", "x"), size=3, operation="max", masked=True)],
            "layer 'pool': expected a mask of size 1, got 3",
        ),
        (
            [
                grurt.LastStep(name="last"),
                grurt.FeatureMask(name="mask"),
                grurt.TimePooling(name="pool", inputs=("x", "mask"), size=3, operation="sum", masked=True),
            ],
            "layer 'pool': expected sequences side by side, got a single vector from 'mask'",
        ),
        (
            [grurt.LastStep(name="last"), grurt.TimePooling(name="pool", size=3, operation="sum")],
            "layer 'pool': expected a sequence, got a single vector from 'last'",
        ),
        (
            [
                grurt.Unfold(name="half", kernel_size=1, stride=2),
                grurt.FeatureMask(name="mask", inputs=("x",)),
                grurt.TimePooling(name="pool", inputs=("half", "mask"), size=3, operation="sum", masked=True),
            ],
            "layer 'pool': expected inputs of one number of timesteps",
        ),
        (
            [
                grurt.Unflatten(name="grid", positions=3),
                grurt.TimePooling(name="pool", size=1, operation="sum"),
            ],
            "layer 'pool': a TimePooling reads single vectors, got 3 positions: Flatten first",
        ),
    ],
)
def test_what_does_not_fit(layers: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        grurt.Model(layers=layers, weights={}, inputs=[grurt.Input("x", 3)])
