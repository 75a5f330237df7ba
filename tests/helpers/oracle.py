"""Comparison of the engine with the float64 reference."""

from __future__ import annotations

from typing import Any

import models
import numpy as np

import grurt
from grurt import reference

N_STEPS = 9
TOLERANCE = 2e-6


def assert_agrees(model: grurt.Model, rng: np.random.Generator, n_steps: int = N_STEPS) -> None:
    """Compare every step's answers and states, and the whole sequence's, with the oracle's, from random states."""
    inputs = models.random_inputs(model.inputs, n_steps, rng)
    states = models.random_states(model, rng)
    if model.unstreamable_reason is None:
        assert_stream_agrees(model, inputs, states)
    expected, _ = reference.run(model, inputs)
    found = model.run({name: array[np.newaxis] for name, array in inputs.items()})
    assert isinstance(found, dict)
    for name, array in expected.items():
        assert_close(found[name][0], array)


def assert_stream_agrees(model: grurt.Model, inputs: dict[str, Any], states: dict[str, Any]) -> None:
    stream = model.stream()
    stream.state = states
    expected = reference.step_outputs(model, inputs, states)
    for t in range(len(next(iter(inputs.values())))):
        answer = stream.step({name: array[t] for name, array in inputs.items()})
        answers = answer if isinstance(answer, dict) else {model.outputs[0].name: answer}
        for name, array in expected.items():
            assert_close(answers[name], array[t])
        _, states = reference.run(model, {name: array[t : t + 1] for name, array in inputs.items()}, states)
        for name, state in stream.state.items():
            assert_close(state, states[name])


def assert_close(found: Any, expected: Any) -> None:
    """Compare to 2e-6, relative to the largest expected number where that is above one."""
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=TOLERANCE)


def seeded(*parts: object) -> np.random.Generator:
    return np.random.default_rng([ord(character) for character in repr(parts)])
