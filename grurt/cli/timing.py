"""Times calls that take turns, and the distribution of single ones."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from timeit import Timer
from typing import Any

import numpy as np

ROUNDS = 15
MAX_SINGLE_CALLS = 100_000
MIN_SINGLE_CALLS = 100

_SINGLE_CALLS = """\
def single_calls(_names, _nanoseconds):
    {unpack} = {values}
    for _i in range(len(_nanoseconds)):
        _begin = perf_counter_ns()
        {statement}
        _nanoseconds[_i] = perf_counter_ns() - _begin
"""


@dataclass(frozen=True)
class Call:
    """A statement to be timed, as a user would write it in a loop."""

    title: str
    statement: str
    names: dict[str, Any]
    """What the names in the statement mean."""
    timesteps: int = 1
    """How many of them one execution computes."""
    single: bool = False
    """Whether the distribution of single executions is of interest."""


@dataclass(frozen=True)
class Tail:
    """How long single executions took, in microseconds, the clock's own 0.04 included."""

    p50: float
    p99: float
    p999: float
    max: float


def time_calls(
    calls: Sequence[Call], seconds: float, progress: Callable[[str], None] = lambda what: None
) -> Iterator[list[float]]:
    """Yield the median microseconds a timestep of each call, from ever more turns that share the given time.

    The calls take turns, so that a busy machine is busy for all of them.
    """
    timers = [Timer(call.statement, globals=call.names) for call in calls]
    turn = seconds / ROUNDS / len(calls)
    counts = [max(1, int(turn / _estimate(timer, turn))) for timer in timers]
    rounds: list[list[float]] = []
    for number in range(1, ROUNDS + 1):
        progress(f"all calls in turn, {number} of {ROUNDS}")
        rounds.append([timer.timeit(count) / count for timer, count in zip(timers, counts, strict=True)])
        by_call = zip(calls, zip(*rounds, strict=True), strict=True)
        yield [1e6 * median(times) / call.timesteps for call, times in by_call]


def _estimate(timer: Timer, turn: float) -> float:
    """Return roughly the seconds that an execution takes, from ever more of them; the first one does not count."""
    timer.timeit(1)
    count = 1
    while (taken := timer.timeit(count)) < turn / 4:
        count *= 2
    return taken / count


def time_single(call: Call, seconds: float) -> Tail:
    """Time single executions for about so many seconds: at least 100 and at most 100,000 of them."""
    once = _estimate(Timer(call.statement, globals=call.names), seconds / 10)
    times = np.zeros(max(MIN_SINGLE_CALLS, min(MAX_SINGLE_CALLS, int(seconds / once))), np.int64)
    source = _SINGLE_CALLS.format(
        unpack=", ".join(call.names) + ",",
        values=", ".join(f"_names[{name!r}]" for name in call.names) + ",",
        statement=call.statement,
    )
    scope: dict[str, Any] = {}
    exec(f"from time import perf_counter_ns\n{source}", scope)  # noqa: S102 - a statement from this package
    with _no_garbage_collection():
        scope["single_calls"](call.names, times.data)
    p50, p99, p999 = np.percentile(times, [50, 99, 99.9]) / 1000
    return Tail(float(p50), float(p99), float(p999), float(times.max()) / 1000)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
