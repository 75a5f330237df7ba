"""Timing of statements: in turns, in short rounds, on one pinned core, without garbage collection."""

import gc
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Prepared

Loop = Callable[[int], float]
"""Does something a number of times, and returns the seconds that it took."""

# The names of a statement are local variables of the loop; the loop's own begin with an underscore.
_LOOP = """\
def loop(_names, _count):
    {unpack} = {values}
    _begin = perf_counter()
    for _ in repeat(None, _count):
        {statement}
    _seconds = perf_counter() - _begin
    _names.update({keywords})
    return _seconds
"""

_STAMPS = """\
def loop(_names, _nanoseconds):
    {unpack} = {values}
    for _i in range(len(_nanoseconds)):
        _begin = perf_counter_ns()
        {statement}
        _nanoseconds[_i] = perf_counter_ns() - _begin
    _names.update({keywords})
"""


def looped(prepared: Prepared) -> Loop:
    """Return a loop over a contender's statement, inlined as `timeit` does: no call comes on top."""
    function = _compile(_LOOP, prepared)

    def loop(count: int) -> float:
        with prepared.context():
            return float(function(prepared.names, count))

    return loop


def single_times(prepared: Prepared, count: int) -> NDArray[np.int64]:
    """Return the nanoseconds that each of ``count`` executions took, the clock's own call (about 40 ns) included."""
    times = np.zeros(count, np.int64)
    function = _compile(_STAMPS, prepared)
    with prepared.context():
        function(prepared.names, times.data)
    return times


def _compile(template: str, prepared: Prepared) -> Callable[..., Any]:
    """Compile a loop for a contender's statement."""
    names = sorted(prepared.names)
    source = template.format(
        unpack=", ".join(names) + ",",
        values=", ".join(f"_names[{name!r}]" for name in names) + ",",
        keywords=", ".join(f"{name}={name}" for name in names),
        statement=prepared.statement,
    )
    scope: dict[str, Any] = {}
    exec("from itertools import repeat\nfrom time import perf_counter, perf_counter_ns\n" + source, scope)
    return scope["loop"]  # type: ignore[no-any-return]


def alternate(loops: Mapping[str, Loop], *, rounds: int, seconds: float, quantile: float = 0.5) -> dict[str, float]:
    """Return the median seconds of one execution of each loop, or another quantile over its turns.

    The loops take turns, in every round in another order, so that a busy machine is busy for all of them. A turn takes
    about ``seconds``, after a tenth of that to warm up.
    """
    counts = {name: max(1, round(seconds / _estimate(loop, seconds))) for name, loop in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    order = list(loops)
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            loops[name](max(1, counts[name] // 10))
            times[name].append(loops[name](counts[name]) / counts[name])
    return {name: float(np.quantile(samples, quantile)) for name, samples in times.items()}


def _estimate(loop: Loop, seconds: float) -> float:
    """Return roughly how long one execution takes, from ever longer loops."""
    count = 1
    while (taken := loop(count)) < seconds / 4:
        count *= 2
    return taken / count


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector from running."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def pin(core: int | None) -> int | None:
    """Bind the process and its future threads to a core: by default the last that it may use. Return which.

    None where the operating system cannot do that.
    """
    if sys.platform != "linux":
        return None
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


def unpin() -> None:
    """Let the process run on all cores, where the operating system can do that."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
