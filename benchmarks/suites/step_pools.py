"""A pool of streams of a step network, on one thread and on two, beside a stream alone."""

from __future__ import annotations

import numpy as np

from benchmarks.contenders import Prepared
from benchmarks.network import Floats
from benchmarks.proof import DisagreementError
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.suites.steps import GTCRN, UNDISTURBED, Graph
from benchmarks.timing import alternate, looped, unpin
from grurt.network.frames import frames_of

ALONE = "a stream alone"
POOLS = {"of a pool on 1 thread": 1, "of a pool on 2 threads": 2}


def names() -> list[str]:
    """Return what the records are called; none where the network is missing."""
    return [ALONE, *POOLS] if GTCRN.exists() else []


def measure(settings: Settings) -> list[Record]:
    """Time a frame of one stream of GTCRN, alone and among ``n_streams`` of a pool, in microseconds."""
    unpin()
    if not names():
        return []
    graph = Graph.of(GTCRN.read_bytes())
    shape = frames_of(graph.model).inputs["mix"].shape
    frames = np.random.default_rng(0).random((settings.n_streams, *shape), np.float32)
    prepared = {name: _pooled(graph, frames, threads) for name, threads in POOLS.items()}
    alone = Prepared("y = step(x)", "y", {"step": graph.model.stream().step, "x": frames[0], "y": None}, frames[0])
    loops = {name: looped(each) for name, each in ({ALONE: alone} | prepared).items()}
    chosen = {name: loop for name, loop in loops.items() if not settings.only or name in settings.only}
    seconds = alternate(chosen, rounds=settings.rounds, seconds=settings.seconds, quantile=UNDISTURBED)
    return [
        {"size": graph.size, "contender": name, "microseconds": 1e6 * taken / (1 if name == ALONE else len(frames))}
        for name, taken in seconds.items()
    ]


def _pooled(graph: Graph, frames: Floats, threads: int) -> Prepared:
    """Return a step of all streams of a pool, once its answers are those of streams alone."""
    expected = np.array([graph.model.stream().step(frame) for frame in frames])
    step, ids, y = graph.model.pool(len(frames), threads=threads).step, np.arange(len(frames)), np.empty_like(expected)
    step(ids, frames, y)
    if not np.array_equal(y, expected):
        raise DisagreementError(f"GTCRN: a pool on {threads} threads does not give the bits of streams alone")
    return Prepared("step(ids, x, y)", "y", {"step": step, "ids": ids, "x": frames, "y": y}, frames)
