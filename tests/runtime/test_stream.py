"""Streams: what they answer after every step, and what they do with their state."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import (
    GrurtError,
    InputShapeError,
    InputTypeError,
    InputValueError,
    StreamingError,
)

TOLERANCE = 2e-6


class Truth:
    """The float64 reference, led along beside a stream."""

    def __init__(self, model: grurt.Model) -> None:
        self.model = model
        self.states: dict[str, Any] = {}

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs ``(n_steps, size)`` of the next timesteps."""
        outputs = reference.step_outputs(self.model, inputs, self.states)
        self.states = reference.run(self.model, inputs, self.states)[1]
        return outputs

    def check_states(self, stream: grurt.Stream) -> None:
        found = stream.state
        assert found.keys() == self.states.keys() == self.model.state_shapes.keys()
        for name, state in self.states.items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], state, rtol=0, atol=TOLERANCE)


def hearing_model(rng: np.random.Generator) -> grurt.Model:
    """Return a model of features and tokens, with both kinds of state and two outputs, one the answer so far."""
    return models.layer_model(
        grurt.Embedding(name="embed", inputs=("token",), vocabulary_size=7, size=4),
        grurt.Conv1d(name="conv", inputs=("sound",), input_size=5, output_size=6, kernel_size=3, dilation=2),
        grurt.Concat(name="both", inputs=("embed", "conv")),
        grurt.GRU(name="gru", input_size=10, hidden_size=17, initial_state="learned"),
        grurt.LastStep(name="last"),
        grurt.Linear(name="head", input_size=17, output_size=3),
        inputs=(grurt.Input("sound", 5), grurt.TokenInput("token", 7)),
        outputs=(grurt.Output("hidden", "gru"), grurt.Output("answer", "head")),
        rng=rng,
    )


def assert_close(found: Any, expected: Any) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture
def model(rng: np.random.Generator) -> grurt.Model:
    return models.gru_model(3, 5, rng, n_layers=2, output_size=2)


@pytest.fixture
def xs(rng: np.random.Generator) -> Any:
    return rng.normal(size=(20, 3)).astype(np.float32)


def test_every_step_is_the_references(model: grurt.Model, xs: Any) -> None:
    stream, truth = model.stream(), Truth(model)
    for steps, x in enumerate(xs, 1):
        y = stream.step(x)
        assert isinstance(y, np.ndarray)
        assert y.shape == (2,)
        assert_close(y, truth.run({"x": x[np.newaxis]})["y"][0])
        truth.check_states(stream)
        assert stream.steps == steps


def test_inputs_and_outputs_by_name(rng: np.random.Generator) -> None:
    model = hearing_model(rng)
    stream, truth = model.stream(), Truth(model)
    inputs = models.random_inputs(model.inputs, 30, rng)
    for t in range(30):
        found = stream.step({name: values[t] for name, values in inputs.items()})
        expected = truth.run({name: values[t : t + 1] for name, values in inputs.items()})
        assert isinstance(found, dict)
        assert list(found) == ["hidden", "answer"]
        for name, answer in found.items():
            assert_close(answer, expected[name][0])
        truth.check_states(stream)


def test_blocks_of_named_inputs(rng: np.random.Generator) -> None:
    model = hearing_model(rng)
    stream, truth = model.stream(), Truth(model)
    for n_steps in (1, 2, 3, 5, 40, 1):
        inputs = models.random_inputs(model.inputs, n_steps, rng)
        found, expected = stream.run(inputs), truth.run(inputs)
        assert isinstance(found, dict)
        assert_close(found["hidden"], expected["hidden"])
        assert_close(found["answer"], expected["answer"])
        truth.check_states(stream)


def test_the_answer_so_far(rng: np.random.Generator, xs: Any) -> None:
    model = models.gru_model(3, 5, rng, output_size=2, last_step=True)
    stream = model.stream()
    for t, x in enumerate(xs, 1):
        assert_close(stream.step(x), reference.run(model, {"x": xs[:t]})[0]["y"])


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64, ">i8"])
def test_tokens(rng: np.random.Generator, dtype: Any) -> None:
    layers = (
        grurt.Embedding(name="embed", vocabulary_size=9, size=4),
        grurt.GRU(name="g", input_size=4, hidden_size=3),
    )
    model = models.layer_model(*layers, rng=rng)
    tokens = rng.integers(0, 9, 12)
    expected = reference.run(model, {"x": tokens})[0]["y"]
    stream = model.stream()
    for token, answer in zip(tokens.astype(dtype), expected, strict=True):
        assert_close(stream.step(token), answer)
    assert_close(model.stream().run(tokens.astype(dtype)), expected)
    assert_close(model.stream().run(tokens.tolist()), expected)
    assert_close(model.stream().step({"x": int(tokens[0])}), expected[0])


def test_no_timestep_at_all(rng: np.random.Generator, model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    stream.step(xs[0])
    before = stream.snapshot()
    assert stream.run(np.zeros((0, 3), np.float32)).shape == (0, 2)
    out = np.zeros((0, 2), np.float32)
    assert stream.run(xs[:0], out=out) is out
    assert stream.snapshot() == before
    hearing = hearing_model(rng).stream()
    found = hearing.run({"sound": np.zeros((0, 5)), "token": np.zeros(0, np.int64)})
    assert {name: answer.shape for name, answer in found.items()} == {"hidden": (0, 17), "answer": (0, 3)}


def test_out_is_returned_and_is_the_only_thing_written(model: grurt.Model, xs: Any) -> None:
    around = np.full(6, 7.0, np.float32)
    out = around[2:4]
    stream, other = model.stream(), model.stream()
    assert stream.step(xs[0], out=out) is out
    np.testing.assert_array_equal(out, other.step(xs[0]))
    np.testing.assert_array_equal(around[[0, 1, 4, 5]], 7.0)
    block = np.full((22, 2), 7.0, np.float32)
    assert stream.run(xs, out=block[1:-1]).base is block
    np.testing.assert_array_equal(block[1:-1], other.run(xs))
    np.testing.assert_array_equal(block[[0, -1]], 7.0)


def test_answers_are_the_callers_own(model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    first = stream.step(xs[0])
    kept = np.array(first)
    stream.step(xs[1])
    np.testing.assert_array_equal(first, kept)
    np.asarray(stream.step(xs[2])).fill(np.nan)
    assert np.isfinite(stream.step(xs[3])).all()


def test_a_step_may_write_over_its_own_input(rng: np.random.Generator) -> None:
    model = models.gru_model(4, 4, rng)
    x = rng.normal(size=4).astype(np.float32)
    expected = model.stream().step(x)
    np.testing.assert_array_equal(model.stream().step(x, out=x), expected)
    np.testing.assert_array_equal(x, expected)


def test_reset_goes_to_the_initial_state(model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    fresh = stream.state
    for name, state in fresh.items():
        np.testing.assert_array_equal(state, model.weights[f"{name}.initial_state"])
    first = stream.run(xs)
    stream.reset()
    assert stream.steps == 0
    for name, state in stream.state.items():
        np.testing.assert_array_equal(state, fresh[name])
    np.testing.assert_array_equal(stream.run(xs), first)


def test_state_is_a_copy(model: grurt.Model, xs: Any) -> None:
    stream, other = model.stream(), model.stream()
    for state in stream.state.values():
        state.fill(9.0)
    np.testing.assert_array_equal(stream.run(xs), other.run(xs))


def test_states_are_assigned_by_name(rng: np.random.Generator) -> None:
    model = hearing_model(rng)
    inputs = models.random_inputs(model.inputs, 9, rng)
    states = models.random_states(model, rng)
    for names in ((), ("gru",), ("conv",), ("conv", "gru")):
        stream = model.stream()
        assigned = {name: states[name].astype(np.float64).tolist() for name in names}
        stream.state = assigned
        found = stream.run(inputs)
        expected = reference.step_outputs(model, inputs, assigned)
        for name in expected:
            assert_close(found[name], expected[name])


def test_the_conv_state_is_oldest_first(rng: np.random.Generator) -> None:
    conv = grurt.Conv1d(name="conv", input_size=2, output_size=3, kernel_size=3, dilation=2)
    model = models.layer_model(conv, rng=rng)
    xs = rng.normal(size=(11, 2)).astype(np.float32)
    stream = model.stream()
    for t, x in enumerate(xs):
        stream.step(x)
        history = np.concatenate([np.zeros((4, 2), np.float32), xs[: t + 1]])[-4:]
        np.testing.assert_array_equal(stream.state["conv"], history)


@pytest.mark.parametrize("duplicate", [grurt.Stream.fork, copy.copy, copy.deepcopy])
def test_a_fork_goes_its_own_way(rng: np.random.Generator, duplicate: Any) -> None:
    model = hearing_model(rng)
    stream = model.stream(nonfinite="propagate")
    stream.run(models.random_inputs(model.inputs, 7, rng))
    fork = duplicate(stream)
    assert fork.model is model
    assert fork.steps == 7
    before = stream.snapshot()
    assert fork.snapshot() == before
    inputs = models.random_inputs(model.inputs, 5, rng)
    expected = fork.run(inputs)
    assert stream.snapshot() == before
    found = stream.run(inputs)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    inputs["sound"][0, 0] = np.nan
    assert np.isnan(fork.run(inputs)["hidden"][-1]).all()


def test_a_stream_is_not_pickled(model: grurt.Model) -> None:
    with pytest.raises(TypeError, match=r"^a Stream cannot be pickled: send the model's file and Stream.snapshot\(\)"):
        pickle.dumps(model.stream())


def test_repr(model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    stream.run(xs)
    assert repr(stream) == "<grurt.Stream of <grurt.Model gru, gru, linear: 352 parameters> after 20 timesteps>"


def test_a_reverse_gru_cannot_stream(rng: np.random.Generator) -> None:
    model = models.gru_model(3, 4, rng, direction="reverse")
    expected = (
        "^the model cannot stream: layer 'gru0' is a GRU in reverse direction: .*; use Model.run on whole sequences$"
    )
    with pytest.raises(StreamingError, match=expected):
        model.stream()


def test_the_first_step_of_a_sequence_cannot_stream(rng: np.random.Generator) -> None:
    model = models.layer_model(grurt.FirstStep(name="first"), inputs=(grurt.Input("x", 3),), rng=rng)
    with pytest.raises(
        StreamingError, match=r"^the model cannot stream: layer 'first' reads the first timestep of the"
    ):
        model.stream()


def test_what_to_do_with_nan_is_named(model: grurt.Model) -> None:
    with pytest.raises(InputValueError, match=r'^nonfinite: expected "refuse" or "propagate", got \'ignore\'$'):
        model.stream(nonfinite="ignore")


BAD_STATES: dict[str, tuple[Any, type[GrurtError], str]] = {
    "unknown": ({"head": np.zeros(3)}, InputShapeError, r"'head': expected one of the states \['conv', 'gru'\]$"),
    "shape": ({"gru": np.zeros(16)}, InputShapeError, r"'gru': expected shape \(17,\), got \(16,\)$"),
    "matrix": ({"conv": np.zeros((5, 4))}, InputShapeError, r"'conv': expected shape \(4, 5\), got \(5, 4\)$"),
    "complex": (
        {"gru": np.zeros(17, complex)},
        InputTypeError,
        "'gru': expected real numbers, .* got dtype complex128$",
    ),
    "nan": ({"gru": np.full(17, np.nan)}, InputValueError, "'gru': expected finite numbers, got a NaN or an infinity$"),
    "too large": ({"gru": np.full(17, 1e39)}, InputValueError, "'gru': expected finite numbers"),
    "no mapping": (np.zeros(17), InputTypeError, "expected a mapping by name, got ndarray$"),
}


@pytest.mark.parametrize(("states", "error", "message"), BAD_STATES.values(), ids=BAD_STATES)
def test_a_bad_state_changes_nothing(rng: np.random.Generator, states: Any, error: Any, message: str) -> None:
    model = hearing_model(rng)
    stream, twin = model.stream(), model.stream()
    inputs = models.random_inputs(model.inputs, 6, rng)
    stream.run(inputs)
    twin.run(inputs)
    before = stream.snapshot()
    if isinstance(states, dict):
        states = {"conv": np.ones((4, 5)), **states}  # the one before the bad one is good
    with pytest.raises(error, match=f"^Stream.state: {message}"):
        stream.state = states
    assert stream.snapshot() == before
    np.testing.assert_array_equal(stream.run(inputs)["answer"], twin.run(inputs)["answer"])


def test_an_only_input_or_output_of_several_is_none() -> None:
    stream = hearing_model(np.random.default_rng(1)).stream()
    with pytest.raises(grurt.InputTypeError, match=r"Stream\.input: expected a model of one input, got one of \['"):
        _ = stream.input
    with pytest.raises(grurt.InputTypeError, match=r"Stream\.output: expected a model of one output, got one of \['"):
        _ = stream.output
