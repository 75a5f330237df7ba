"""Median times of all contenders: of a step, of whole sequences, of many streams in lock-step."""

from collections.abc import Collection

import numpy as np

from benchmarks.contenders import Prepared, Workload, contenders
from benchmarks.native import multiply_add_loop
from benchmarks.network import Floats, random_network
from benchmarks.proof import prove
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.timing import alternate, looped

_PEAK = "arithmetic peak"


def measure_step(settings: Settings) -> list[Record]:
    """Measure microseconds of a timestep of one stream."""
    return [record for size in settings.sizes for record in measure(Workload.STEP, size, settings, 1, settings.only)]


def measure_sequence(settings: Settings) -> list[Record]:
    """Measure microseconds a timestep of one whole sequence of ``n_steps``."""
    n_steps = settings.n_steps
    return [
        record
        for size in settings.sizes
        for record in measure(Workload.SEQUENCE, size, settings, n_steps, settings.only)
    ]


def measure_streams(settings: Settings) -> list[Record]:
    """Measure microseconds of a timestep of ``n_streams`` in lock-step."""
    return [
        record
        for size in settings.sizes
        for record in measure(Workload.STREAMS, size, settings, settings.n_streams, settings.only)
    ]


def input_array(workload: Workload, input_size: int, settings: Settings) -> Floats:
    """Return an array to prepare contenders of a workload with."""
    shape = {
        Workload.STEP: (input_size,),
        Workload.SEQUENCE: (settings.n_steps, input_size),
        Workload.STREAMS: (settings.n_streams, input_size),
    }[workload]
    return np.zeros(shape, np.float32)


def measure(
    workload: Workload, size: tuple[int, int], settings: Settings, timesteps: int, only: Collection[str]
) -> list[Record]:
    """Measure contenders of a workload at one size, float32 ones unless they are named."""
    network = random_network(*size)
    prepared: dict[str, Prepared] = {}
    errors: dict[str, float] = {}
    for contender in contenders(workload, only):
        x = input_array(workload, network.input_size, settings)
        prepared[contender.name] = contender.prepare(network, x)
        errors[contender.name] = prove(contender, prepared[contender.name], network)
    peak_loop, peak_flops = multiply_add_loop()
    loops = {_PEAK: peak_loop} | {name: looped(each) for name, each in prepared.items()}
    seconds = alternate(loops, rounds=settings.rounds, seconds=settings.seconds)
    peak = peak_flops / seconds[_PEAK]
    per_figure = timesteps if workload is Workload.SEQUENCE else 1
    return [
        {
            "size": size,
            "contender": name,
            "microseconds": 1e6 * seconds[name] / per_figure,
            "fraction_of_peak": network.flops * timesteps / seconds[name] / peak,
            "error": errors[name],
        }
        for name in prepared
    ]
