"""A pool whose calls are spread over more and more threads: back to back, and after pauses."""

import os
import time

import numpy as np

from benchmarks.contenders.grurt import model_of
from benchmarks.network import random_network
from benchmarks.proof import DisagreementError
from benchmarks.results import Record
from benchmarks.suites.base import Settings, on_all_cores
from benchmarks.timing import Loop, alternate

ONE = "1 thread"
PAUSE = 1e-3
"""Seconds, after which all threads but the calling one sleep."""


def _contenders() -> dict[str, tuple[int, float]]:
    """Return numbers of threads, powers of two as far as there are cores, and pauses in seconds, by name."""
    cores = os.cpu_count() or 1
    counts = [1 << i for i in range(1, max(2, cores).bit_length())]
    found = {ONE: (1, 0.0)} | {f"{count} threads": (count, 0.0) for count in counts}
    return found | {f"{counts[-1]} threads, after a pause": (counts[-1], PAUSE)}


def names() -> list[str]:
    """Return what the records are called."""
    return list(_contenders())


@on_all_cores
def measure(size: tuple[int, int], settings: Settings) -> list[Record]:
    """Time a timestep of all streams, in microseconds."""
    model = model_of(random_network(*size))
    x = np.random.default_rng(0).standard_normal((settings.n_streams, size[0])).astype(np.float32)
    ids = np.arange(settings.n_streams)
    expected = model.pool(settings.n_streams, threads=1).step(ids, x)

    def loop(threads: int, pause: float) -> Loop:
        step, y = model.pool(settings.n_streams, threads=threads).step, np.empty_like(expected)
        step(ids, x, y)
        if not np.array_equal(y, expected):
            raise DisagreementError(f"{size}: {threads} threads do not give the bits of one")

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

    chosen = {name: how for name, how in _contenders().items() if not settings.only or name in settings.only}
    loops = {name: loop(*how) for name, how in chosen.items()}
    seconds = alternate(loops, rounds=settings.rounds, seconds=settings.seconds)
    return [{"size": size, "contender": name, "microseconds": 1e6 * taken} for name, taken in seconds.items()]
