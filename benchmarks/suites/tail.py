"""The distribution of single steps: the median is not what a control loop waits for."""

import numpy as np

from benchmarks.contenders import Workload, contenders
from benchmarks.load import other_cores_busy
from benchmarks.network import random_network
from benchmarks.proof import prove
from benchmarks.results import HISTOGRAM_EDGES, Record
from benchmarks.suites.base import Settings
from benchmarks.suites.comparison import input_array
from benchmarks.timing import looped, single_times

WARM_UP = 2000


def measure(settings: Settings) -> list[Record]:
    """Time ``n_steps`` single steps of each contender; times in microseconds."""
    records = []
    for size in settings.sizes:
        network = random_network(*size)
        for contender in contenders(Workload.STEP, settings.only):
            x = input_array(Workload.STEP, network.input_size, settings)
            prepared = contender.prepare(network, x)
            prove(contender, prepared, network)
            looped(prepared)(WARM_UP)
            times = single_times(prepared, settings.n_steps) / 1000
            records.append({"size": size, "contender": contender.name} | _distribution(times))
    return records


def measure_beside_load(settings: Settings) -> list[Record]:
    """Time as `measure` does, while all other cores are busy."""
    with other_cores_busy():
        return measure(settings)


def _distribution(microseconds: np.ndarray) -> Record:
    p50, p99, p999 = np.percentile(microseconds, [50, 99, 99.9])
    within = np.clip(microseconds, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1])
    counts, _ = np.histogram(within, HISTOGRAM_EDGES)
    return {
        "p50": float(p50),
        "p99": float(p99),
        "p99.9": float(p999),
        "max": float(microseconds.max()),
        "histogram": counts.tolist(),
    }
