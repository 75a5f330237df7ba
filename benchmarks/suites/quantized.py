"""Weights of fewer bits beside float32: a timestep of one stream, and one of many in lock-step."""

from benchmarks.contenders import Workload
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.suites.comparison import measure

STEPS = (
    "grurt step",
    "grurt float16 step",
    "grurt int8 step",
    "grurt int4 step",
    "onnxruntime run",
    "LiteRT",
    "LiteRT int8",
    "LiteRT int8, tensor views (private)",
)
POOLS = ("grurt StreamPool.step", "grurt float16 StreamPool.step", "grurt int8 StreamPool.step")


def names() -> list[str]:
    """Return the names of all contenders, installed or not."""
    return [*STEPS, *POOLS]


def measure_quantized(settings: Settings) -> list[Record]:
    """Measure microseconds of a timestep of one stream, and of a timestep of ``n_streams``."""
    return [
        record
        for size in settings.sizes
        for workload, timesteps, contenders in (
            (Workload.STEP, 1, STEPS),
            (Workload.STREAMS, settings.n_streams, POOLS),
        )
        if (only := [name for name in contenders if not settings.only or name in settings.only])
        for record in measure(workload, size, settings, timesteps, only)
    ]
