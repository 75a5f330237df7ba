"""grurt's kernel without Python, what Python adds to it, and what the core allows at best."""

import numpy as np

from benchmarks.contenders.grurt import advance, model_of, step, step_out
from benchmarks.native import kernel_loop, multiply_add_loop, read_loop
from benchmarks.network import random_network
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.timing import alternate, looped

KERNEL = "grurt kernel"


def measure(settings: Settings) -> list[Record]:
    """Measure each size: times in microseconds, rates in GB/s and GFLOP/s."""
    return [_measure(size, settings) for size in settings.sizes]


def _measure(size: tuple[int, int], settings: Settings) -> Record:
    network = random_network(*size)
    model = model_of(network)
    x = np.random.default_rng(0).standard_normal(network.input_size).astype(np.float32)
    multiply_add, flops = multiply_add_loop()
    read, n_bytes = read_loop(model.plan.weights.nbytes)
    loops = {
        "kernel": kernel_loop(model.stream(), x, np.empty(network.hidden_size, np.float32)),
        "step": looped(step(model.stream(), x)),
        "step_out": looped(step_out(model.stream(), x)),
        "advance": looped(own := advance(model.stream())),
        "multiply_add": multiply_add,
        "read": read,
    }
    own.x[:] = x
    seconds = alternate(loops, rounds=settings.rounds, seconds=settings.seconds)
    bandwidth = model.plan.weights.nbytes / seconds["kernel"]
    return {
        "size": size,
        "contender": KERNEL,
        "microseconds": 1e6 * seconds["kernel"],
        "python_microseconds": 1e6 * (seconds["step"] - seconds["kernel"]),
        "python_out_microseconds": 1e6 * (seconds["step_out"] - seconds["kernel"]),
        "python_advance_microseconds": 1e6 * (seconds["advance"] - seconds["kernel"]),
        "weight_bytes": model.plan.weights.nbytes,
        "gigabytes_per_second": 1e-9 * bandwidth,
        "read_gigabytes_per_second": 1e-9 * n_bytes / seconds["read"],
        "fraction_of_bandwidth": bandwidth * seconds["read"] / n_bytes,
        "gigaflops": 1e-9 * network.flops / seconds["kernel"],
        "peak_gigaflops": 1e-9 * flops / seconds["multiply_add"],
    }
