"""Steps after long silence: a state that fades reaches denormal numbers, which many CPUs compute slowly."""

import numpy as np

from benchmarks.contenders import Contender, Workload, contenders
from benchmarks.network import fading_network
from benchmarks.proof import prove
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.suites.comparison import input_array
from benchmarks.timing import alternate, looped


def measure(settings: Settings) -> list[Record]:
    """Time usual steps, and steps after ``n_steps`` of silence, of each contender; times in microseconds."""
    return [
        _measure(contender, size, settings)
        for size in settings.sizes
        for contender in contenders(Workload.STEP, settings.only)
    ]


def _measure(contender: Contender, size: tuple[int, int], settings: Settings) -> Record:
    network = fading_network(*size)
    loops = {}
    for case in ("usual", "silent"):
        x = input_array(Workload.STEP, network.input_size, settings)
        prepared = contender.prepare(network, x)
        prove(contender, prepared, network)
        loops[case] = looped(prepared)
        prepared.x[...] = 0.0 if case == "silent" else np.random.default_rng(0).standard_normal(prepared.x.shape)
    loops["silent"](settings.n_steps)
    seconds = alternate(loops, rounds=settings.rounds, seconds=settings.seconds)
    return {
        "size": size,
        "contender": contender.name,
        "microseconds": 1e6 * seconds["silent"],
        "usual_microseconds": 1e6 * seconds["usual"],
        "ratio": seconds["silent"] / seconds["usual"],
    }
