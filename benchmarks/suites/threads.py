"""A pool whose calls are spread over two threads beside one on a single thread: back to back, and after pauses."""

import os
import time

import numpy as np

from benchmarks.contenders.grurt import model_of
from benchmarks.network import random_network
from benchmarks.proof import DisagreementError
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.timing import Loop, alternate

ONE, TWO, PAUSED = "one thread", "two threads", "two threads, after a pause"
PAUSE = 1e-3
"""Seconds, after which the second thread sleeps."""


def names() -> list[str]:
    """Return what the records are called."""
    return [ONE, TWO, PAUSED]


def measure(settings: Settings) -> list[Record]:
    """Time a timestep of all streams, in microseconds; the process may use all cores from now on."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return [record for size in settings.sizes for record in _measure(size, settings)]


def _measure(size: tuple[int, int], settings: Settings) -> list[Record]:
    model = model_of(random_network(*size))
    ids = np.arange(settings.n_streams)
    x = np.random.default_rng(0).standard_normal((settings.n_streams, size[0])).astype(np.float32)
    answers = {name: np.empty((settings.n_streams, size[1]), np.float32) for name in (ONE, TWO)}
    pools = {name: model.pool(settings.n_streams, threads=count) for name, count in ((ONE, 1), (TWO, 2))}
    for name, pool in pools.items():
        pool.step(ids, x, answers[name])
    if not np.array_equal(answers[ONE], answers[TWO]):
        raise DisagreementError(f"{size}: two threads do not give the bits of one")

    def loop(name: str, pause: float) -> Loop:
        step, y = pools[name].step, answers[name]

        def run(count: int) -> float:
            seconds = 0.0
            for _ in range(count):
                if pause:
                    time.sleep(pause)
                begin = time.perf_counter()
                step(ids, x, y)
                seconds += time.perf_counter() - begin
            return seconds

        return run

    loops = {ONE: loop(ONE, 0), TWO: loop(TWO, 0), PAUSED: loop(TWO, PAUSE)}
    chosen = {name: one for name, one in loops.items() if not settings.only or name in settings.only}
    seconds = alternate(chosen, rounds=settings.rounds, seconds=settings.seconds)
    return [{"size": size, "contender": name, "microseconds": 1e6 * taken} for name, taken in seconds.items()]
