"""Answers that become inputs: against a loop of steps, in streams and pools, with what is known beforehand."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import GrurtError, InputValueError, ModelError, StreamIdError


def series_model(size: int = 2) -> grurt.Model:
    return models.layer_model(
        grurt.GRU(name="gru", input_size=size, hidden_size=9),
        grurt.Linear(name="fc", input_size=9, output_size=size),
        rng=np.random.default_rng(0),
    )


def with_weather() -> grurt.Model:
    """Return a model that reads a value and something that is known beforehand, and gives the value and its scale."""
    return models.layer_model(
        grurt.Concat(name="both", inputs=("value", "weather")),
        grurt.GRU(name="gru", input_size=5, hidden_size=9),
        grurt.Linear(name="next", input_size=9, output_size=2),
        grurt.Linear(name="scale", inputs=("gru",), input_size=9, output_size=1),
        rng=np.random.default_rng(1),
        inputs=[grurt.Input("value", 2), grurt.Input("weather", 3)],
        outputs=[grurt.Output("scale", "scale"), grurt.Output("next", "next")],
    )


HISTORY = np.random.default_rng(2).normal(size=(40, 2)).astype(np.float32)
WEATHER = np.random.default_rng(3).normal(size=(4, 600, 3)).astype(np.float32)
FEEDBACK = {"value": "next"}


@pytest.mark.parametrize("n_steps", [1, 24, 600])
def test_a_stream_answers_to_itself(n_steps: int) -> None:
    stream = series_model().stream()
    stream.run(HISTORY)
    before = stream.snapshot()
    ys = stream.forecast(n_steps, HISTORY[-1])
    assert stream.snapshot() == before
    x, expected = HISTORY[-1], []
    for _ in range(n_steps):
        x = stream.step(x)
        expected.append(x)
    np.testing.assert_array_equal(ys, expected)
    assert ys.dtype == np.float32


def test_streams_of_a_pool_answer_to_themselves() -> None:
    model = series_model()
    pool, streams = model.pool(5, threads=2), [model.stream() for _ in range(3)]
    for row, stream in enumerate(streams):
        stream.run(HISTORY[: 10 + row])
        pool.run([row + 1], HISTORY[np.newaxis, : 10 + row])
    before = pool.snapshot_many(range(5))
    xs = HISTORY[20:23]
    found = pool.forecast([3, 1, 2], 30, xs)
    after = pool.snapshot_many(range(5))
    np.testing.assert_array_equal(after.states, before.states)
    np.testing.assert_array_equal(after.steps, before.steps)
    for row, number in enumerate((2, 0, 1)):
        np.testing.assert_array_equal(found[row], streams[number].forecast(30, xs[row]))
    assert pool.forecast([], 30, np.zeros((0, 2))).shape == (0, 30, 2)


def test_inputs_that_are_known_beforehand() -> None:
    model = with_weather()
    stream, pool = model.stream(), model.pool([*"abcd"])
    x, expected = HISTORY[0], []
    ys = stream.forecast(600, {"value": x}, feedback=FEEDBACK, future={"weather": WEATHER[1]})
    for t in range(600):
        answer = stream.step({"value": x, "weather": WEATHER[1, t]})
        x = answer["next"]
        expected.append(answer)
    for name in ("next", "scale"):
        np.testing.assert_array_equal(ys[name], [answer[name] for answer in expected])
    found = pool.forecast([*"bad"], 600, HISTORY[[0, 5, 0]], feedback=FEEDBACK, future={"weather": WEATHER[:3]})
    assert found["next"].shape == (3, 600, 2)
    for row, start in enumerate((0, 5, 0)):
        alone = model.stream().forecast(600, HISTORY[start], feedback=FEEDBACK, future={"weather": WEATHER[row]})
        np.testing.assert_array_equal(found["next"][row], alone["next"])
        np.testing.assert_array_equal(found["scale"][row], alone["scale"])


def test_step_programs_forecast_too() -> None:
    program = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=((3,),),
        states=(grurt.ProgramState("s", (3,), "total"),),
        operators=(grurt.operators.Combine(inputs=("x", "s"), outputs=("total",), operation="add"),),
        results=("total",),
    )
    stream = grurt.Model(layers=[program], weights={}, inputs=[grurt.Input("x", 3)]).stream()
    np.testing.assert_array_equal(stream.forecast(4, [1, 2, 3])[:, 0], [1, 2, 4, 8])


BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (series_model, {"n_steps": 0}, GrurtError, "n_steps: expected an integer of at least 1, got 0"),
    (series_model, {"x": [1.0]}, GrurtError, r"input 'x': expected shape \(2,\), got \(1,\)"),
    (series_model, {"x": [np.nan, 1]}, InputValueError, r"input 'x' at \[0, 0\]: expected finite numbers, got nan"),
    (series_model, {"x": {"z": [1, 2]}}, GrurtError, r"expected the inputs \['x'\], got \['z'\]"),
    (series_model, {"feedback": {}}, ModelError, "feedback: expected at least one input that reads an output"),
    (series_model, {"feedback": {"x": "z"}}, ModelError, "feedback: expected inputs of .*, got 'x': 'z'"),
    (series_model, {"future": {"z": 1}}, GrurtError, r"future: expected the inputs that read no output, \[\], got \["),
    (
        with_weather,
        {},
        ModelError,
        "whose only input reads its only output, got the inputs .* as feedback=",
    ),
    (
        with_weather,
        {"feedback": {"value": "scale"}},
        ModelError,
        r"the input 'value' reads \(2,\), and the output 'scale' gives \(1,\): expected one of the same shape",
    ),
    (
        with_weather,
        {"feedback": FEEDBACK, "future": {"weather": WEATHER[0, :5]}},
        GrurtError,
        r"input 'weather': expected shape \(6, 3\), got \(5, 3\)",
    ),
    (
        with_weather,
        {"feedback": {"value": "next", "weather": "scale"}},
        ModelError,
        "expected one of the same shape",
    ),
]


@pytest.mark.parametrize(("model", "changes", "error", "message"), BAD)
def test_what_does_not_fit(model: Any, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    stream = model().stream()
    with pytest.raises(error, match=message):
        stream.forecast(**({"n_steps": 6, "x": HISTORY[0]} | changes))
    assert stream.steps == 0


def test_several_inputs_are_given_by_name() -> None:
    two = models.layer_model(
        grurt.Add(name="sum", inputs=("a", "b")),
        grurt.Mul(name="product", inputs=("a", "b")),
        rng=np.random.default_rng(0),
        inputs=[grurt.Input("a", 2), grurt.Input("b", 2)],
        outputs=[grurt.Output("sum", "sum"), grurt.Output("product", "product")],
    )
    feedback = {"a": "sum", "b": "product"}
    with pytest.raises(GrurtError, match="expected a mapping with the inputs"):
        two.stream().forecast(3, [1, 2], feedback=feedback)
    ys = two.stream().forecast(3, {"a": [1, 2], "b": [2, 2]}, feedback=feedback)
    np.testing.assert_array_equal(ys["sum"][:, 0], [3, 5, 11])


def test_models_of_tokens_do_not_forecast() -> None:
    model = models.layer_model(
        grurt.Embedding(name="e", vocabulary_size=4, size=4),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("t", 4)],
    )
    with pytest.raises(ModelError, match="the input 't' reads tokens, which generate chooses"):
        model.stream().forecast(3, 1)


def test_streams_that_there_are_not() -> None:
    with pytest.raises(StreamIdError, match="there is no stream 9"):
        series_model().pool(3).forecast([9], 5, HISTORY[:1])
