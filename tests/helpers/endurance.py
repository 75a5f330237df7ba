"""Steps a stream for very long, and checks answers and memory on the way."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import models
import numpy as np
from memory import memory_stays_flat

import grurt
from grurt import reference

TOLERANCE = 2e-6
PERIOD = 997
"""Timesteps after which the inputs begin again: a prime, so that no block ends with them."""


class Truth:
    """The float64 reference on periodic inputs. Its states converge to a cycle, so that it can be asked far ahead."""

    def __init__(self, model: grurt.Model, xs: Any) -> None:
        self.model, self.xs = model, xs
        states: dict[str, Any] = {}
        for _ in range(5):
            before = states
            states = reference.run(model, {"x": xs}, states)[1]
        for name, state in states.items():
            np.testing.assert_allclose(before[name], state, rtol=0, atol=1e-12)
        self.states = states

    def answers(self, count: int) -> Any:
        """Return the answers to the first timesteps of any period, from the fifth on."""
        return reference.run(self.model, {"x": self.xs[:count]}, self.states)[0]["y"]


def step_for_long_and_check(n_steps: int, checkpoints: int) -> float:
    """Step a small model; return how much more time of the processor the last tenth took than the first."""
    rng = np.random.default_rng(81)
    model = models.gru_model(4, 12, rng, output_size=2)
    xs = rng.normal(size=(PERIOD, 4)).astype(np.float32)
    truth = Truth(model, xs)
    inputs = list(xs)
    out = np.zeros(2, np.float32)
    stream = model.stream()
    stream.fork().step(xs[0], out=out)
    step = stream.step
    seconds = []
    periods = max(1, n_steps // PERIOD // checkpoints)
    expected = truth.answers(50)

    def assert_agrees() -> None:
        np.testing.assert_allclose(stream.fork().run(xs[:50]), expected, rtol=0, atol=TOLERANCE)

    stream.run(np.concatenate([xs] * 5))
    assert_agrees()
    with memory_stays_flat(slack=48_000):
        for _ in range(checkpoints):
            begun = time.process_time()
            for _ in range(periods):
                for x in inputs:
                    step(x, out)
            seconds.append(time.process_time() - begun)
            assert_agrees()
    assert stream.steps == (5 + checkpoints * periods) * PERIOD
    tenth = max(1, checkpoints // 10)
    return min(seconds[-tenth:]) / min(seconds[:tenth])


def step_for_long_apart(n_steps: int, checkpoints: int) -> float:
    """Do so in a process of its own, whose memory nothing else has used before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(step_for_long_and_check, n_steps, checkpoints).result()
