"""Very many streams in lock-step on all cores, beside a GPU to which samples are copied, and answers back."""

import os
from functools import partial
from importlib.util import find_spec

import numpy as np

from benchmarks.contenders import Contender, Workload, grurt
from benchmarks.network import random_network
from benchmarks.proof import prove
from benchmarks.results import Record
from benchmarks.suites.base import Settings, on_all_cores
from benchmarks.timing import alternate, looped

PROVEN_STREAMS = 100
"""Streams of which the answers are compared with float64, which would take minutes for all."""


def _contenders() -> dict[str, Contender]:
    """Return who takes part, by name: the GPU's is the last."""
    cores = os.cpu_count() or 1
    ours = Contender(
        f"grurt StreamPool.step, {cores} threads", Workload.STREAMS, partial(grurt.pool_step, threads=cores)
    )
    found = {ours.name: ours}
    if find_spec("torch"):
        import torch

        from benchmarks.contenders.torch import gru_cell_on_gpu

        if torch.cuda.is_available():
            name = f"torch GRUCell on {torch.cuda.get_device_name()}, copies included"
            found[name] = Contender(name, Workload.STREAMS, gru_cell_on_gpu)
    return found


def names() -> list[str]:
    """Return what the records are called."""
    return list(_contenders())


@on_all_cores
def measure(size: tuple[int, int], settings: Settings) -> list[Record]:
    """Time a timestep of all streams, in microseconds."""
    network = random_network(*size)
    loops = {}
    for name, contender in _contenders().items():
        if not settings.only or name in settings.only:
            few, all_of_them = (
                contender.prepare(network, np.zeros((n_streams, network.input_size), np.float32))
                for n_streams in (PROVEN_STREAMS, settings.n_streams)
            )
            prove(contender, few, network)
            loops[name] = looped(all_of_them)
    seconds = alternate(loops, rounds=settings.rounds, seconds=settings.seconds)
    return [{"size": size, "contender": name, "microseconds": 1e6 * taken} for name, taken in seconds.items()]
