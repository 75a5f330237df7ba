"""What a step costs beside its arithmetic: no memory, and no more time than so many calls of an empty function."""

from __future__ import annotations

import timeit
import tracemalloc
from collections.abc import Callable

import models
import numpy as np
import pytest
from numba import njit

import grurt
from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.options import OPTIONS

CALLS = 1_000
ROUNDS = 150
TRIES = 8

RATIOS = {"step": 3.2, "step, out=": 2.0, "advance": 1.9}
"""What was measured. A call that takes half as long again is a mistake; machines differ by less."""


@pytest.fixture(scope="module")
def calls() -> dict[str, Callable[[], object]]:
    """Return the calls by name: of the smallest model there is, whose arithmetic is a few nanoseconds."""
    layer = grurt.Linear(name="fc", input_size=1, output_size=1)
    model = grurt.Model(layers=[layer], weights={"fc.weight": [[2]], "fc.bias": [1]})
    stream = model.stream()
    x, out = np.ones(1, np.float32), np.ones(1, np.float32)
    dispatcher = njit(**OPTIONS)(lambda context, x, y, streams: 0)
    dispatcher.compile(SIGNATURE.return_type(*SIGNATURE.args[1:2] * 4))
    (compiled,) = dispatcher.overloads.values()
    empty, step, advance = compiled.entry_point, stream.step, stream.advance
    return {
        "empty": lambda: empty(x, x, x, x),
        "step": lambda: step(x),
        "step, out=": lambda: step(x, out),
        "advance": lambda: advance(),
    }


def quickest(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the seconds of each call's quickest round: what disturbs a round only makes it longer."""
    timers = {name: timeit.Timer(call) for name, call in calls.items()}
    seconds = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            seconds[name] = min(seconds[name], timer.timeit(CALLS))
    return seconds


@pytest.mark.slow
def test_a_steps_overhead_has_not_grown_by_half(calls: dict[str, Callable[[], object]]) -> None:
    """Rounds of all calls alternate, and the quickest count. On a machine that is never at rest, it is tried again."""
    best = dict.fromkeys(RATIOS, float("inf"))
    for _ in range(TRIES):
        seconds = quickest(calls)
        best = {name: min(best[name], seconds[name] / seconds["empty"]) for name in RATIOS}
        if all(best[name] < 1.5 * ratio for name, ratio in RATIOS.items()):
            return
    pytest.fail(f"in calls of an empty function, expected about {RATIOS}, got {best}")


def peak_bytes(call: Callable[[], object]) -> int:
    """Return how much more memory there is at most during calls than before, as Python and NumPy account for it."""
    for _ in range(20):
        call()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_a_step_allocates_nothing() -> None:
    """That kernels call no allocator is seen in their object files: see test_export.py."""
    model = models.gru_model(3, 20, np.random.default_rng(101), n_layers=2, output_size=2)
    stream, pool = model.stream(), model.pool(8)
    x, out = np.zeros(3, np.float32), np.zeros(2, np.float32)
    xs, outs, ids = np.zeros((8, 3), np.float32), np.zeros((8, 2), np.float32), np.arange(8)
    nothing = peak_bytes(lambda: None)
    assert peak_bytes(lambda: stream.step(x, out)) == nothing
    assert peak_bytes(lambda: stream.advance()) == nothing
    assert peak_bytes(lambda: pool.step(ids, xs, outs)) == nothing
    assert nothing < peak_bytes(lambda: stream.step(x)) < nothing + 500  # the answer
