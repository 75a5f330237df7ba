"""Attention to what a sequence has had so far: against PyTorch, in streams and pools, up to what they remember."""

from __future__ import annotations

import math
import re
from typing import Any

import models
import msgspec
import numpy as np
import pytest
import torch
from oracle import assert_close

import grurt
from grurt.errors import InputValueError, ModelError, StreamingError

SIZE = 4
ATTENTION = grurt.Attention(name="y", inputs=("last", "x", "x"), size=SIZE, key_size=SIZE, max_steps=10)
FULL = "expected a stream of at most 10 timesteps, as its Attention layers remember (max_steps), got more: reset it"


def model_of(layer: grurt.Attention = ATTENTION, **changes: Any) -> grurt.Model:
    """Return a model that attends, from the last timestep, to all of them."""
    layer = msgspec.structs.replace(layer, **changes)
    sizes = {"x": SIZE, "k": layer.key_size, "b": 1}
    inputs = [grurt.Input(name, size) for name, size in sizes.items() if name == "x" or name in layer.inputs]
    layers = (grurt.LastStep(name="last", inputs=("x",)), layer)
    return models.layer_model(*layers, rng=np.random.default_rng(1), inputs=inputs)


def frames(n_steps: int, size: int = SIZE) -> Any:
    return np.random.default_rng(2).normal(size=(n_steps, size)).astype(np.float32)


@pytest.mark.parametrize("n_heads", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_a_run_gives_what_pytorch_gives(n_heads: int, causal: bool) -> None:
    torch.manual_seed(3)
    query, keys, values = torch.randn(3, 3, 70, 12) * torch.tensor([3.0, 1.0, 1.0]).view(3, 1, 1, 1)
    parts = [each.unflatten(2, (n_heads, -1)).transpose(1, 2) for each in (query, keys, values)]
    expected = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=causal).transpose(1, 2).flatten(2)
    layer = grurt.Attention(
        name="y",
        inputs=("q", "k", "v"),
        size=12,
        key_size=12,
        answers="each",
        causal=causal,
        heads=n_heads,
        scale=math.sqrt(n_heads / 12),
    )
    model = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input(name, 12) for name in "qkv"])
    found: Any = model.run({"q": query.numpy(), "k": keys.numpy(), "v": values.numpy()})
    np.testing.assert_allclose(found["y"], expected.numpy(), rtol=0, atol=2e-6)


def test_streams_pools_and_whole_sequences_give_the_same_bits() -> None:
    model = models.attention_model(np.random.default_rng(4))
    xs = frames(23, 5)
    whole = np.stack([model.run(xs[:n_steps]) for n_steps in range(1, 24)])
    stream = model.stream()
    np.testing.assert_array_equal(np.stack([stream.step(x) for x in xs]), whole)
    np.testing.assert_array_equal(model.stream().run(xs), whole)
    pool = model.pool(3)
    pool.run([0, 1], np.stack([xs[:7], xs[:7]]))
    pool.step([2], xs[:1])
    np.testing.assert_array_equal(pool.run([1, 0], np.stack([xs[7:], xs[7:]])), np.stack([whole[7:]] * 2))
    np.testing.assert_array_equal(pool.step([2], xs[1:2])[0], whole[1])
    lengths = [23, 1, 17, 23, 5]
    batch: Any = model.run(np.stack([xs] * 5), lengths=lengths)
    np.testing.assert_array_equal(batch, whole[np.array(lengths) - 1])


@pytest.mark.parametrize("n_steps", [11, 100, 200, 700])
def test_whole_sequences_may_be_longer_than_what_streams_remember(n_steps: int) -> None:
    xs = frames(n_steps)
    scores = xs.astype(np.float64) @ xs[-1]
    weights = np.exp(scores - scores.max())
    model = model_of()
    for found in (model.run(xs), model.run({"x": xs[np.newaxis]})["y"][0], model.run(np.stack([xs] * 5))[3]):
        assert_close(found, weights @ xs / weights.sum())


def test_a_memory_is_a_state_like_any_other() -> None:
    model = models.attention_model(np.random.default_rng(5))
    xs = frames(12, 5)
    stream, other = model.stream(), model.stream()
    stream.run(xs[:6])
    other.restore(stream.snapshot())
    third, pool = model.stream(), model.pool(1)
    third.state = stream.state
    pool.set_state(0, stream.state)
    assert stream.state["dot.count"].tolist() == [6]
    np.testing.assert_array_equal(stream.state["additive"][:6], xs[:6])
    expected = stream.fork().run(xs[6:])
    for found in (other.run(xs[6:]), third.run(xs[6:]), pool.run([0], xs[np.newaxis, 6:])[0]):
        np.testing.assert_array_equal(found, expected)
    stream.reset()
    np.testing.assert_array_equal(stream.run(xs), model.stream().run(xs))


def test_a_stream_that_is_full_is_as_it_was() -> None:
    model = model_of()
    stream, xs = model.stream(), frames(11)
    stream.run(xs[:9])
    saved = stream.snapshot()
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        stream.run(xs[:2])
    assert stream.snapshot() == saved
    stream.step(xs[9])
    saved = stream.snapshot()
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        stream.step(xs[10])
    assert stream.snapshot() == saved
    stream.reset()
    np.testing.assert_array_equal(stream.step(xs[0]), xs[0])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_streams_of_a_pool_that_are_full_are_reported(n_threads: int) -> None:
    model = model_of()
    pool, xs = model.pool(4, threads=n_threads), frames(12)
    pool.run([0, 2], np.stack([xs[:10]] * 2))
    saved = [pool.snapshot(i) for i in range(4)]
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        pool.step(range(4), xs[:4])
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        pool.run_ragged([1, 2], xs[:3], [2, 1])
    assert [pool.snapshot(i) for i in range(4)] == saved
    answers = pool.step(range(4), xs[:4], faults="report")
    assert [row for row, reason in pool.faults if reason.startswith(FULL)] == [0, 2]
    np.testing.assert_array_equal(np.isnan(answers).all(axis=1), [True, False, True, False])
    np.testing.assert_array_equal(answers[[1, 3]], xs[[1, 3]])


def test_a_generator_and_a_forecast_end_where_the_memory_does() -> None:
    layers = [
        grurt.Embedding(name="x", inputs=("tokens",), vocabulary_size=5, size=SIZE),
        grurt.LastStep(name="last"),
        ATTENTION,
        grurt.Linear(name="logits", input_size=SIZE, output_size=5),
    ]
    model = models.layer_model(*layers, rng=np.random.default_rng(6), inputs=[grurt.TokenInput("tokens", 5)])
    assert model.generate([1, 2], 9, seed=1).shape == (9,)
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        model.generate([1, 2], 12, seed=1)
    pool = model.pool(3, threads=2)
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        pool.generate([0, 1, 2], [[1], [2], [3]], 12)
    assert [pool.steps(number) for number in range(3)] == [0, 0, 0]
    encoder = models.layer_model(
        grurt.GRU(name="gru", input_size=3, hidden_size=SIZE), grurt.LastStep(name="end"), rng=np.random.default_rng(7)
    )
    begun = models.layer_model(
        grurt.Embedding(name="x", inputs=("tokens",), vocabulary_size=5, size=SIZE),
        grurt.GRU(name="decoder", input_size=SIZE, hidden_size=SIZE),
        grurt.LastStep(name="last"),
        msgspec.structs.replace(ATTENTION, inputs=("last", "decoder", "decoder")),
        grurt.Linear(name="logits", input_size=SIZE, output_size=5),
        rng=np.random.default_rng(8),
        inputs=[grurt.TokenInput("tokens", 5)],
    )
    translator = grurt.Translator(encoder, begun, states={"decoder": "y"})
    for beam in (1, 3):
        assert len(translator(frames(4, 3), start=1, stop=(), beam=beam, max_tokens=10).tokens) == 10
        with pytest.raises(InputValueError, match=re.escape(FULL)):
            translator(frames(4, 3), start=1, stop=(), beam=beam, max_tokens=11)
    stream = model_of().stream()
    stream.run(frames(4))
    saved = stream.snapshot()
    assert stream.forecast(6, frames(1)[0]).shape == (6, SIZE)
    with pytest.raises(InputValueError, match=re.escape(FULL)):
        stream.forecast(7, frames(1)[0])
    assert stream.snapshot() == saved


@pytest.mark.parametrize("count", [-3.0, 1e30, 0.5, -1e30])
def test_any_count_that_is_set_stays_within_the_memory(count: float) -> None:
    stream = model_of().stream()
    stream.state = {"y.count": [count]}
    if count < 10:
        assert np.isfinite(stream.run(frames(3))).all()
    else:
        with pytest.raises(InputValueError, match=re.escape(FULL)):
            stream.run(frames(3))


def test_a_bias_of_minus_infinity_leaves_timesteps_out() -> None:
    model = model_of(inputs=("last", "x", "x", "b"), biased=True)
    stream = model.stream(nonfinite="propagate")
    xs = np.float32([[1] * SIZE, [2] * SIZE, [2] * SIZE, [5] * SIZE])
    feeds = [{"x": x, "b": [b]} for x, b in zip(xs, [-math.inf, 0, 0, -math.inf], strict=True)]
    np.testing.assert_allclose([stream.step(feed)[0] for feed in feeds], [0, 2, 2, 2])
    biases = np.float32([-math.inf, 0, 0, -math.inf])[np.newaxis, :, np.newaxis]
    whole: Any = model.run({"x": xs[np.newaxis], "b": biases}, nonfinite="propagate")
    np.testing.assert_allclose(whole["y"], [[2] * SIZE])
    stream.reset()
    with pytest.raises(InputValueError, match="expected finite numbers, got -inf"):
        model.stream().step(feeds[0])


def test_large_scores_do_not_overflow() -> None:
    xs = np.float32([[100] * SIZE, [101] * SIZE, *[[90] * SIZE] * 30])
    np.testing.assert_array_equal(model_of(max_steps=99).stream().run(xs)[-1], xs[1])
    np.testing.assert_array_equal(model_of().run(xs), xs[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": 0}, "'y' attends to timesteps that a stream does not remember (max_steps=0); use Model.run"),
        (
            {"max_steps": 0, "answers": "each", "inputs": ("x", "x", "x")},
            "'y' attends to all timesteps of the finished sequence; use Model.run",
        ),
    ],
)
def test_what_does_not_stream(changes: Any, message: str) -> None:
    with pytest.raises(StreamingError, match=re.escape(message)):
        model_of(**changes).stream()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"causal": True}, "it answers once, to a query of the last timestep: causal says more"),
        ({"answers": "each", "inputs": ("x", "x", "x")}, "expected max_steps=0, got 10: it attends to later timesteps"),
        ({"score": "additive", "scale": 0.5}, "expected scale=1.0, got 0.5: its weight scales the scores"),
        ({"inputs": ("x", "x", "x")}, "expected a single vector first, as behind LastStep, got the sequence 'x'"),
        ({"inputs": ("last", "last", "x")}, "expected sequences side by side, got a single vector from 'last'"),
        ({"inputs": ("last", "x", "x", "x"), "biased": True}, "layer 'y': expected a bias of size 1, got 4"),
        ({"inputs": ("last", "x", "x"), "key_size": 3}, "layer 'y': expected a query of size 3, got 4"),
        ({"size": 5}, "layer 'y': expected values of size 5, got 4"),
        ({"heads": 3}, "expected size and key_size to be multiples of heads=3, got 4 and 4"),
    ],
)
def test_what_does_not_fit(changes: Any, message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        model_of(**changes)


def test_positions_and_memories_that_are_no_vectors() -> None:
    grid = grurt.Unflatten(name="grid", inputs=("x",), positions=2)
    last = grurt.LastStep(name="last", inputs=("grid",))
    layer = msgspec.structs.replace(ATTENTION, inputs=("last", "grid", "grid"), size=2, key_size=2)
    with pytest.raises(ModelError, match="an Attention reads single vectors, got 2 positions: Flatten first"):
        grurt.Model(layers=[grid, last, layer], weights={}, inputs=[grurt.Input("x", SIZE)])
    port = grurt.StatePort(
        name="memory", states=("y",), axes=("batch", "index", "index"), dtype="float32", shape=(10, SIZE)
    )
    model = model_of()
    signature = msgspec.structs.replace(model.signature, inputs=(*model.signature.inputs, port))
    with pytest.raises(ModelError, match="what streams of 'y' remember is in no tensor"):
        model.replaced(signature=signature)


def test_long_recordings_are_compared_as_wholes() -> None:
    """What measures a model does not ask a stream for more than it remembers."""
    model = models.layer_model(
        grurt.Linear(name="x", inputs=("in",), input_size=SIZE, output_size=SIZE),
        grurt.LastStep(name="last"),
        ATTENTION,
        rng=np.random.default_rng(7),
        inputs=[grurt.Input("in", SIZE)],
    )
    xs = frames(30)
    run = grurt.ReferenceRun({"in": xs[np.newaxis]}, {"y": model.run(xs)[np.newaxis]}, "a run")
    verification = model.replaced(reference_run=run).verify()
    assert verification.max_error == 0
    assert not verification.streamed
    short = grurt.ReferenceRun({"in": xs[np.newaxis, :10]}, {"y": model.run(xs[:10])[np.newaxis]}, "a run")
    verification = model.replaced(reference_run=short).verify()
    assert verification.streamed
    assert verification.same_bits
    from grurt.quantization import loss

    found = loss(model, model.quantize("int8"), [xs])
    assert found.spans[-1].last == 10
