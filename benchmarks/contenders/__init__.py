"""The registry of contenders: one module for each engine, with its package's name and the tuple ``CONTENDERS``."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec

from benchmarks.contenders.base import Contender, Prepared, Weights, Workload

__all__ = ["ENGINES", "Contender", "Engine", "Prepared", "Weights", "Workload", "contenders", "missing", "versions"]


@dataclass(frozen=True)
class Engine:
    """Something that runs GRUs, if it is installed."""

    title: str
    """What the names of its contenders begin with."""
    module: str
    """Of this package."""
    imported: str
    """What the engine is imported as."""
    distribution: str
    """What it is installed as."""

    @property
    def is_installed(self) -> bool:
        """Whether the engine can be imported."""
        return find_spec(self.imported) is not None

    def has_any_of(self, names: Collection[str]) -> bool:
        """Whether one of the names is of a contender that runs this engine."""
        return any(name.partition(" ")[0].rstrip(",") == self.title for name in names)


ENGINES = (
    Engine("grurt", "grurt", "grurt", "grurt"),
    Engine("onnxruntime", "onnxruntime", "onnxruntime", "onnxruntime"),
    Engine("LiteRT", "litert", "ai_edge_litert", "ai-edge-litert"),
    Engine("tract", "tract", "tract", "tract"),
    Engine("OpenVINO", "openvino", "openvino", "openvino"),
    Engine("torch", "torch", "torch", "torch"),
    Engine("numpy", "numpy", "numpy", "numpy"),
)


def contenders(workload: Workload, only: Collection[str] = ()) -> list[Contender]:
    """Return the contenders of a workload whose engines are installed, grurt's first.

    Parameters
    ----------
    workload
        What they do.
    only
        Their names; empty for all that compute with float32 weights. No other engines are imported than theirs.
    """
    engines = [engine for engine in ENGINES if engine.is_installed and (not only or engine.has_any_of(only))]
    modules = [import_module(f"{__name__}.{engine.module}") for engine in engines]
    return [
        contender
        for module in modules
        for contender in module.CONTENDERS
        if contender.workload is workload and (contender.name in only if only else contender.weights == "float32")
    ]


def missing() -> list[str]:
    """Return the distributions of the engines that are not installed, and so left out."""
    return [engine.distribution for engine in ENGINES if not engine.is_installed]


def versions() -> dict[str, str]:
    """Return the versions of the installed engines, by distribution."""
    return {engine.distribution: metadata.version(engine.distribution) for engine in ENGINES if engine.is_installed}
