"""How much longer than an empty function a step takes, in a process that has done nothing else: see test_overhead.py.

A step that returns a new array is compared with an empty function and `np.empty`, whose cost differs from CPU to CPU.

``python tests/helpers/step_overhead.py`` prints it as JSON, by the names of the calls.
"""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable

import numpy as np
from numba import njit

import grurt
from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.options import OPTIONS

CALLS = 1_000
ROUNDS = 150
TRIES = 8

RATIOS = {"step": 1.7, "step, out=": 2.0, "advance": 1.9}
"""What was measured. A call that takes half as long again is a mistake; machines differ by less."""


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
    new_array, shape, float32 = np.empty, (1,), np.dtype(np.float32)
    return {
        "empty": lambda: empty(x, x, x, x),
        "np.empty": lambda: new_array(shape, float32),
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


def measured() -> dict[str, float]:
    """Return the ratios. Rounds of all calls alternate; on a machine that is never at rest, they are tried again."""
    made, best = calls(), dict.fromkeys(RATIOS, float("inf"))
    for _ in range(TRIES):
        seconds = quickest(made)
        least = {"step": seconds["empty"] + seconds["np.empty"]}
        best = {name: min(best[name], seconds[name] / least.get(name, seconds["empty"])) for name in RATIOS}
        if not grown(best):
            break
    return best


def grown(found: dict[str, float]) -> list[str]:
    """Return the calls that take half as long again."""
    return [name for name, ratio in RATIOS.items() if found[name] >= 1.5 * ratio]


if __name__ == "__main__":
    json.dump(measured(), sys.stdout)
