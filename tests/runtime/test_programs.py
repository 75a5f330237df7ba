"""Streams and pools of step programs: what cannot be computed with leaves no trace, or shows in every way alike."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest
import step_programs
from bits import assert_same_bits, named, stepped

import grurt
from grurt.errors import GrurtError, InputValueError

SEEDS = range(8)
N_STEPS = 5


def inputs_of(model: grurt.Model, seed: int) -> dict[str, Any]:
    return models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(seed))


def spoiled(xs: dict[str, Any], number: float, seed: int) -> dict[str, Any]:
    """Return inputs with another number in one place of one of them, in the third timestep."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice([*xs]))
    array = xs[name].copy()
    array[2, rng.integers(array.shape[1])] = number
    return xs | {name: array}


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("seed", SEEDS)
def test_bad_numbers_leave_no_trace(seed: int, number: float) -> None:
    model = step_programs.random_step_program(seed)
    xs = inputs_of(model, seed)
    bad = spoiled(xs, number, seed)
    stream, pool = model.stream(), model.pool(2)
    stream.run(xs)
    pool.run([0, 1], {name: np.stack([x, x]) for name, x in xs.items()})
    before = stream.snapshot()
    calls = (
        lambda: stream.run(bad),
        lambda: stream.step({name: x[2] for name, x in bad.items()}),
        lambda: pool.run([0, 1], {name: np.stack([x, bad[name]]) for name, x in xs.items()}),
        lambda: pool.step([0, 1], {name: np.stack([x[1], bad[name][2]]) for name, x in xs.items()}),
        lambda: model.run({name: x[np.newaxis] for name, x in bad.items()}),
    )
    for call in calls:
        with pytest.raises(InputValueError, match="expected finite numbers, got"):
            call()
    assert [stream.snapshot(), pool.snapshot(0), pool.snapshot(1)] == [before] * 3


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_shapes_and_states_leave_no_trace(seed: int) -> None:
    model = step_programs.random_step_program(seed)
    xs = inputs_of(model, seed)
    stream = model.stream()
    stream.run(xs)
    before = stream.snapshot()
    name = next(iter(xs))
    states = stream.state
    wrong = {state: np.zeros((*array.shape, 2)) for state, array in states.items()}
    calls = [
        lambda: stream.step({name: x[0] for name, x in xs.items()} | {name: np.zeros(xs[name].shape[1] + 1)}),
        lambda: stream.run(xs | {name: xs[name][:, :-1]}),
        lambda: stream.step({f"{name} of another": xs[name][0]}),
        lambda: stream.restore(before[:-1]),
        lambda: setattr(stream, "state", wrong | {"another": np.zeros(1)}),
    ]
    for call in calls:
        with pytest.raises(GrurtError):
            call()
        assert stream.snapshot() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_what_propagates_does_so_alike_in_every_way(seed: int) -> None:
    model = step_programs.random_step_program(seed)
    xs = spoiled(inputs_of(model, seed), np.nan, seed)
    by_step, by_block = (model.stream(nonfinite="propagate") for _ in range(2))
    pool = model.pool(2, nonfinite="propagate")
    expected = stepped(by_step, xs)
    several = named(model, pool.run([1, 0], {name: np.stack([x, x]) for name, x in xs.items()}))
    for found in (named(model, by_block.run(xs)), *({n: y[row] for n, y in several.items()} for row in range(2))):
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    restored = model.stream(nonfinite="propagate")
    restored.restore(by_block.snapshot())
    for name, array in by_step.state.items():
        np.testing.assert_array_equal(restored.state[name], array, strict=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_learned_from_a_nan_is_forgotten_by_a_reset(seed: int) -> None:
    """Working memory in which a NaN was is used again."""
    model = step_programs.random_step_program(seed)
    xs = inputs_of(model, seed)
    expected = stepped(model.stream(), xs)
    stream = model.stream(nonfinite="propagate")
    stream.run({name: np.full_like(x, np.nan) for name, x in xs.items()})
    stream.reset()
    assert_same_bits(stepped(stream, xs), expected)
