"""Several inputs and outputs: given by position, by keyword and as a mapping, and through the stream's own arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import InputShapeError, InputTypeError, InputValueError

N_STEPS = 9
Answers = dict[str, np.ndarray]


def talking_model(*, one_output: bool = False, one_input: bool = False) -> grurt.Model:
    """Return a model of features, tokens and a mask that skips timesteps, with the answer so far as an output."""
    layers: list[Any] = [
        grurt.Embedding(name="word", inputs=("token",), vocabulary_size=11, size=3),
        grurt.TokenMask(name="mask", inputs=("token",), token=0),
    ]
    read = ("word",)
    if not one_input:
        layers.append(grurt.Concat(name="both", inputs=("x", "word")))
        read = ("both",)
    layers += [
        grurt.GRU(name="gru", inputs=(*read, "mask"), input_size=3 if one_input else 8, hidden_size=20, masked=True),
        grurt.Linear(name="fc", inputs=("gru",), input_size=20, output_size=4),
        grurt.LastStep(name="last", inputs=("gru",)),
    ]
    inputs = [grurt.Input("x", 5), grurt.TokenInput("token", 11)]
    outputs = [grurt.Output("answer", "fc"), grurt.Output("state", "last")]
    return models.layer_model(
        *layers,
        rng=np.random.default_rng(0),
        inputs=tuple(inputs[one_input:]),
        outputs=tuple(outputs[:1] if one_output else outputs),
    )


@pytest.fixture(name="model")
def _model() -> grurt.Model:
    return talking_model()


@pytest.fixture(name="xs")
def _xs(model: grurt.Model) -> Answers:
    return models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(1))


def stacked(answers: Iterator[Any]) -> Answers:
    found = list(answers)
    return {name: np.array([answer[name] for answer in found]) for name in found[0]}


WAYS: dict[str, Callable[[grurt.Stream, Any, Any], Any]] = {
    "by position": lambda stream, x, token: stream.step(x, token),
    "by keyword": lambda stream, x, token: stream.step(token=token, x=x),
    "as a mapping": lambda stream, x, token: stream.step({"token": token, "x": x}),
    "Python's integers": lambda stream, x, token: stream.step(x, int(token)),
    "arrays of no axis": lambda stream, x, token: stream.step(x, np.array(token)),
    "float64": lambda stream, x, token: stream.step(x.astype(np.float64), token),
    "as int32": lambda stream, x, token: stream.step(list(map(float, x)), np.int32(token)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_gives_the_same(model: grurt.Model, xs: Answers, way: str) -> None:
    stream = model.stream()
    found = stacked(WAYS[way](stream, x, token) for x, token in zip(xs["x"], xs["token"], strict=True))
    expected = model.stream().run(xs)
    truth = reference.step_outputs(model, xs)
    for name in ("answer", "state"):
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_allclose(found[name], truth[name], atol=2e-6)


def test_through_the_streams_own_arrays(model: grurt.Model, xs: Answers) -> None:
    stream = model.stream()
    x, token = stream.inputs["x"], stream.inputs["token"]
    answer, state = stream.outputs["answer"], stream.outputs["state"]
    assert stream.inputs["x"] is x
    assert stream.outputs["state"] is state
    expected = model.stream().run(xs)
    for t in range(N_STEPS):
        x[:] = xs["x"][t]
        token[...] = xs["token"][t]
        stream.advance()
        np.testing.assert_array_equal(answer, expected["answer"][t])
        np.testing.assert_array_equal(state, expected["state"][t])
    with pytest.raises(TypeError):
        stream.inputs["x"] = x  # type: ignore[index]


def test_advance_before_anything_is_written(model: grurt.Model) -> None:
    stream, twin = model.stream(), model.stream()
    stream.advance()
    expected = twin.step(np.zeros(5, np.float32), 0)
    np.testing.assert_array_equal(stream.outputs["answer"], expected["answer"])
    assert stream.steps == 1


@pytest.mark.parametrize(("one_input", "one_output"), [*itertools.product([False, True], repeat=2)])
def test_one_of_each(one_input: bool, one_output: bool) -> None:
    model = talking_model(one_input=one_input, one_output=one_output)
    xs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(1))
    expected = model.stream().run(xs)
    expected = expected if isinstance(expected, dict) else {"answer": expected}
    by_position, own = model.stream(), model.stream()
    for t in range(N_STEPS):
        inputs = [x[t] for x in xs.values()]
        answers = [by_position.step(*inputs)]
        for name, array in own.inputs.items():
            array[...] = xs[name][t]
        own.advance()
        answers.append(dict(own.outputs) if not one_output else own.output)
        for answer in answers:
            named = answer if isinstance(answer, dict) else {"answer": answer}
            assert named.keys() == expected.keys()
            for name, array in named.items():
                np.testing.assert_array_equal(array, expected[name][t])


def test_into_the_callers_array() -> None:
    model = talking_model(one_output=True)
    out = np.empty(4, np.float32)
    x = np.ones(5, np.float32)
    assert model.stream().step(x, 3, out=out) is out
    np.testing.assert_array_equal(out, model.stream().step(x, 3))
    assert model.stream().step(x.astype(np.float64), 3, out=out) is out
    with pytest.raises(InputTypeError, match=r"out is for models of one output; this one has 2"):
        talking_model().stream().step(x, 3, out=out)


X = np.ones(5, np.float32)
ORDER = r"Stream\.step: expected the inputs \['x', 'token'\], in that order, by keyword, or in one mapping"
BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "too few": ((X,), {}, InputTypeError, rf"{ORDER}, got 1 by position$"),
    "both ways": ((X,), {"token": 1}, InputTypeError, rf"{ORDER}, got 1 by position and \[token\] by keyword"),
    "another name": ((), {"x": X, "word": 1}, InputShapeError, r"expected the inputs \['x', 'token'\], got \['x', 'wo"),
    "one missing": (({"x": X},), {}, InputShapeError, r"expected the inputs \['x', 'token'\], got \['x'\]"),
    "nothing": ((), {}, InputShapeError, r"expected the inputs \['x', 'token'\], got \[\]"),
    "no such token": ((X, 11), {}, InputValueError, r"input 'token': expected a token id in \[0, 11\), got 11"),
    "a negative token": ((X, -1), {}, InputValueError, r"expected a token id in \[0, 11\), got -1"),
    "a huge token": ((X, 2**70), {}, InputTypeError, r"input|token ids of an integer dtype"),
    "no integer": ((X, 1.5), {}, InputTypeError, r"expected token ids of an integer dtype"),
    "a NaN": ((np.full(5, np.nan), 1), {}, InputValueError, r"input 'x' at \[0\]: expected finite numbers, got nan"),
    "a wrong shape": ((np.ones(6), 1), {}, InputShapeError, r"an input 'x': expected shape \(5,\), got \(6,\)"),
    "swapped": ((1, X), {}, InputShapeError, r"an input 'x': expected shape \(5,\), got \(\)"),
}


@pytest.mark.parametrize(("given", "named", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_leaves_no_trace(
    model: grurt.Model, given: Any, named: Any, error: type[Exception], message: str
) -> None:
    stream = model.stream()
    stream.step(X, 3)
    before = stream.snapshot()
    with pytest.raises(error, match=message):
        stream.step(*given, **named)
    assert stream.snapshot() == before


def test_a_bad_own_input_leaves_no_trace(model: grurt.Model) -> None:
    stream = model.stream()
    stream.inputs["token"][...] = 99
    before = stream.snapshot()
    for _ in range(2):
        with pytest.raises(InputValueError, match=r"input 'token': expected a token id in \[0, 11\), got 99"):
            stream.advance()
        assert stream.snapshot() == before
    stream.inputs["token"][...] = 1
    stream.inputs["x"][3] = np.inf
    with pytest.raises(InputValueError, match=r"input 'x' at \[3\]"):
        stream.advance()
    assert stream.snapshot() == before


def test_tokens_alone_go_the_quick_way() -> None:
    model = talking_model(one_input=True, one_output=True)
    stream, twin = model.stream(), model.stream()
    tokens = [3, 0, 10, 7]
    expected = twin.run(tokens)
    for token, answer in zip(tokens, expected, strict=True):
        np.testing.assert_array_equal(stream.step(token), answer)
    stream.reset()
    stream.input[...] = 3
    stream.advance()
    np.testing.assert_array_equal(stream.output, expected[0])


def test_blocks_go_the_quick_way_once_there_is_room() -> None:
    model = models.gru_model(3, 5, np.random.default_rng(0))
    xs = np.random.default_rng(1).standard_normal((400, 3), np.float32)
    expected = np.array([*map(model.stream().step, xs)])
    stream = model.stream()
    for start, stop in ((0, 1), (1, 40), (40, 41), (41, 80), (80, 80), (80, 400)):
        np.testing.assert_array_equal(stream.run(xs[start:stop]), expected[start:stop])
        assert stream.steps == stop
    out = np.empty((40, 5), np.float32)
    stream.reset()
    assert stream.run(xs[:40], out) is out
    np.testing.assert_array_equal(out, expected[:40])
    overlapping = np.zeros((41, 5), np.float32)
    square = models.gru_model(5, 5, np.random.default_rng(0)).stream()
    square.run(overlapping)
    with pytest.raises(InputValueError, match="expected out not to overlap the input"):
        square.run(overlapping[:-1], overlapping[1:])


def test_pools_take_several_at_once(model: grurt.Model, xs: Answers) -> None:
    expected = model.stream().run(xs)
    pool = model.pool(3)
    for t in range(N_STEPS):
        found = pool.step([2, 0], {name: np.stack([x[t], x[t]]) for name, x in xs.items()})
        for name, array in found.items():
            np.testing.assert_array_equal(array[1], expected[name][t])
