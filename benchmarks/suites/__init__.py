"""The suites, in the order in which they run and are shown."""

from benchmarks.contenders import Workload, contenders
from benchmarks.suites import (
    calls,
    comparison,
    generation,
    gpu,
    kernel,
    quantized,
    silence,
    startup,
    step_pools,
    steps,
    tail,
    threads,
)
from benchmarks.suites.base import Settings, Suite

__all__ = ["SUITES", "Settings", "Suite"]


def _names(workload: Workload) -> list[str]:
    return [contender.name for contender in contenders(workload)]


SUITES = {
    suite.name: suite
    for suite in (
        Suite("step", comparison.measure_step, lambda: _names(Workload.STEP)),
        Suite("sequence", comparison.measure_sequence, lambda: _names(Workload.SEQUENCE)),
        Suite("streams", comparison.measure_streams, lambda: _names(Workload.STREAMS)),
        Suite("calls", calls.measure, calls.names),
        Suite("generation", generation.measure, generation.names),
        Suite("steps", steps.measure, steps.names),
        Suite("step_pools", step_pools.measure, step_pools.names),
        Suite("threads", threads.measure, threads.names),
        Suite("gpu", gpu.measure, gpu.names),
        Suite("quantized", quantized.measure_quantized, quantized.names),
        Suite("kernel", kernel.measure, lambda: [kernel.KERNEL]),
        Suite("tail", tail.measure, lambda: _names(Workload.STEP), apart=True),
        Suite("busy", tail.measure_beside_load, lambda: _names(Workload.STEP), apart=True),
        Suite("startup", startup.measure, startup.names),
        Suite("silence", silence.measure, lambda: _names(Workload.STEP), apart=True),
    )
}
