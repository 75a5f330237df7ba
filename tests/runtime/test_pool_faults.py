"""Rows that cannot be computed with, where a pool leaves them out and names them."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest
import step_programs

import grurt
from grurt.errors import InputShapeError, InputTypeError, InputValueError, StreamIdError

N_STREAMS = 70
RNG = np.random.default_rng(140)
FRAMES = models.layer_model(
    grurt.Conv1d(name="conv", input_size=3, output_size=5, kernel_size=3),
    grurt.GRU(name="gru", input_size=5, hidden_size=17),
    rng=RNG,
)
TOKENS = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4),
    grurt.GRU(name="gru", input_size=4, hidden_size=7),
    rng=RNG,
)
BOTH = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4, inputs=("token",)),
    grurt.Concat(name="both", inputs=("a", "embed")),
    grurt.GRU(name="gru", input_size=7, hidden_size=5),
    grurt.Linear(name="head", input_size=5, output_size=2),
    inputs=(grurt.Input("a", 3), grurt.TokenInput("token", 9)),
    outputs=(grurt.Output("state", "gru"), grurt.Output("y", "head")),
    rng=RNG,
)
PROGRAM = step_programs.random_step_program(1)


def inputs_of(model: grurt.Model, lead: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
    return {
        port.name: rng.normal(size=(*lead, port.size)).astype(np.float32)
        if isinstance(port, grurt.Input)
        else rng.integers(0, port.vocabulary_size, lead)
        for port in model.inputs
    }


def spoil(xs: dict[str, Any], rows: list[int], rng: np.random.Generator) -> None:
    """Give each of some rows one number that cannot be computed with, in one of the inputs."""
    for row in rows:
        array = xs[str(rng.choice([*xs]))][row : row + 1]
        place = tuple(int(rng.integers(size)) for size in array.shape)
        array[place] = rng.choice([np.nan, np.inf, -np.inf]) if array.dtype.kind == "f" else rng.choice([-1, 9, 2**62])


def given(xs: dict[str, Any]) -> Any:
    return xs if len(xs) > 1 else next(iter(xs.values()))


def named(answers: Any) -> dict[str, np.ndarray]:
    return answers if isinstance(answers, dict) else {"y": answers}


@pytest.mark.parametrize("block", [False, True], ids=["step", "run"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("model", [FRAMES, TOKENS, BOTH, PROGRAM], ids=["frames", "tokens", "both", "program"])
@pytest.mark.parametrize("names", [False, True], ids=["numbers", "names"])
def test_the_others_advance_as_if_they_were_alone(model: grurt.Model, threads: int, block: bool, names: bool) -> None:
    rng = np.random.default_rng(141)
    ids = [f"s{i}" for i in range(N_STREAMS)] if names else list(range(N_STREAMS))
    pool = model.pool(ids if names else N_STREAMS, threads=threads)
    singles = [model.stream() for _ in ids]
    for bad in ([], [0], [3, 4, 40, 69], range(N_STREAMS)):
        order = rng.permutation(N_STREAMS)
        lead = (N_STREAMS, 4) if block else (N_STREAMS,)
        xs = inputs_of(model, lead, rng)
        spoil(xs, list(bad), rng)
        call = pool.run if block else pool.step
        answers = named(call([ids[i] for i in order], given(xs), faults="report"))
        assert [row for row, _ in pool.faults] == list(bad)
        for row, i in enumerate(order):
            if row in bad:
                assert all(np.isnan(answer[row]).all() for answer in answers.values())
            else:
                one = given({name: array[row] for name, array in xs.items()})
                expected = named(singles[i].run(one) if block else singles[i].step(one))
                assert all(answers[name][row].tobytes() == expected[name].tobytes() for name in answers)
    assert [pool.snapshot(name) for name in ids] == [single.snapshot() for single in singles]


def test_a_reason_is_what_an_exception_would_have_said() -> None:
    xs = inputs_of(BOTH, (4,), np.random.default_rng(142))
    xs["a"][1, 2], xs["token"][3] = np.inf, 12
    pool = BOTH.pool(4)
    pool.step(range(4), xs, faults="report")
    reasons = dict(pool.faults)
    assert [*reasons] == [1, 3]
    assert reasons[3] == "input 'token' at [3]: expected a token id in [0, 9), got 12"
    with pytest.raises(InputValueError) as raised:
        pool.step(range(4), xs)
    assert str(raised.value) == reasons[1]
    assert reasons[1].startswith("input 'a' at [1, 2]: expected finite numbers, got inf")


def test_a_row_is_named_once_by_its_first_fault() -> None:
    xs = inputs_of(BOTH, (3, 5), np.random.default_rng(143))
    xs["a"][2, 1:] = np.nan
    xs["token"][2, 0] = -1
    pool = BOTH.pool(3)
    pool.run([0, 1, 2], xs, faults="report")
    ((row, reason),) = pool.faults
    assert (row, reason[:24]) == (2, "input 'a' at [2, 1, 0]: ")


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_in_an_array_of_the_caller(threads: int) -> None:
    xs = np.random.default_rng(144).normal(size=(5, 3)).astype(np.float32)
    expected = FRAMES.pool(5).step(range(5), xs)
    xs[2, 0] = np.nan
    out = np.zeros((5, 17), np.float32)
    pool = FRAMES.pool(5, threads=threads)
    assert pool.step(np.arange(5), xs, out, faults="report") is out
    assert np.isnan(out[2]).all()
    assert np.delete(out, 2, axis=0).tobytes() == np.delete(expected, 2, axis=0).tobytes()
    blocks = np.zeros((5, 1, 17), np.float32)
    assert FRAMES.pool(5).run(np.arange(5), xs[:, np.newaxis], blocks, faults="report") is blocks
    assert blocks.tobytes() == out.tobytes()


def test_faults_are_those_of_the_last_call_that_reports() -> None:
    pool, good = FRAMES.pool(2), np.zeros((2, 3), np.float32)
    bad = np.full((2, 3), np.nan, np.float32)
    assert pool.faults == []
    pool.step([0, 1], bad, faults="report")
    assert [row for row, _ in pool.faults] == [0, 1]
    pool.step([0, 1], good)
    pool.faults.clear()  # a list of the caller's own
    assert len(pool.faults) == 2
    pool.step(np.arange(2), good, faults="report")
    assert pool.faults == []
    pool.step([0, 1], bad.tolist(), faults="report")
    pool.run([0, 1], good[:, np.newaxis].tolist(), faults="report")
    assert pool.faults == []
    pool.step([0, 1], bad, faults="report")
    pool.run([0, 1], np.zeros((2, 1, 3), np.float32), np.zeros((2, 1, 17), np.float32), faults="report")
    assert pool.faults == []


def test_what_propagates_is_no_fault() -> None:
    pool = BOTH.pool(2, nonfinite="propagate")
    xs = inputs_of(BOTH, (2,), np.random.default_rng(145))
    xs["a"][0], xs["token"][1] = np.nan, 9
    answers = pool.step([0, 1], xs, faults="report")
    assert [row for row, _ in pool.faults] == [1]
    assert [pool.steps(0), pool.steps(1)] == [1, 0]
    single = BOTH.stream(nonfinite="propagate").step({name: array[0] for name, array in xs.items()})
    assert {name: answer[0].tobytes() for name, answer in answers.items()} == {
        name: answer.tobytes() for name, answer in single.items()
    }


BAD: dict[str, tuple[Any, Any, Any, type[Exception], str]] = {
    "unknown": ([0, 9], np.zeros((2, 3)), "report", StreamIdError, r"ids\[1\] is 9: there is no such stream"),
    "twice": ([1, 1], np.full((2, 3), np.nan), "report", StreamIdError, r"ids\[1\] is 1: the stream is named twice"),
    "shape": ([0, 1], np.zeros((2, 4)), "report", InputShapeError, r"expected shape \(2, 3\), got \(2, 4\)"),
    "dtype": ([0, 1], np.zeros((2, 3), complex), "report", InputTypeError, "expected real numbers"),
    "word": ([0, 1], np.zeros((2, 3)), "skip", InputValueError, 'faults: expected "raise" or "report", got \'skip\''),
    "no word": ([0, 1], np.zeros((2, 3)), None, InputValueError, 'faults: expected "raise" or "report", got None'),
    "raise": ([0, 1], np.full((2, 3), np.nan), "raise", InputValueError, "expected finite numbers, got nan"),
}


@pytest.mark.parametrize("block", [False, True], ids=["step", "run"])
@pytest.mark.parametrize(("ids", "xs", "faults", "error", "message"), BAD.values(), ids=BAD)
def test_what_is_no_fault_of_a_row_is_raised(
    ids: Any, xs: Any, faults: Any, error: type[Exception], message: str, block: bool
) -> None:
    pool = FRAMES.pool(3)
    before = [pool.snapshot(i) for i in range(3)]
    if block:
        xs, message = xs[:, np.newaxis], message.replace("(2, 3\\)", "(2, n_steps, 3\\)").replace("(2, 4", "(2, 1, 4")
    with pytest.raises(error, match=message):
        (pool.run if block else pool.step)(ids, xs, faults=faults)
    assert [pool.snapshot(i) for i in range(3)] == before
    assert pool.faults == []
