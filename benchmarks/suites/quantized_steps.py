"""Step networks with weights of fewer bits: a frame in every format, and what is lost by that."""

from __future__ import annotations

import numpy as np

from benchmarks.results import Record
from benchmarks.suites import steps
from benchmarks.suites.base import Settings
from benchmarks.suites.steps import Graph
from benchmarks.timing import alternate, looped
from grurt.quantization import loss

FORMATS = ("float16", "int8")

names = steps.names


def measure(settings: Settings) -> list[Record]:
    """Measure microseconds of a frame, and the decibels from signal to error of the worst output, on random frames."""
    return [_measure(name, Graph.of(source()), settings) for name, source in steps.sources(settings)]


def _measure(name: str, graph: Graph, settings: Settings) -> Record:
    quantized = {weights: graph.model.quantize(weights) for weights in FORMATS}
    frame = graph.random_frame(np.random.default_rng(0))
    graphs = {"float32": graph} | {weights: Graph(graph.data, model) for weights, model in quantized.items()}
    loops = {weights: looped(each.stepped(frame)) for weights, each in graphs.items()}
    seconds = alternate(loops, rounds=settings.rounds, seconds=settings.seconds)
    losses = {weights: loss(graph.model, model, steps=1).worst.decibels for weights, model in quantized.items()}
    return {
        "size": graph.size,
        "contender": name,
        "bytes": sum(array.nbytes for array in graph.model.weights.values()),
        "int8_bytes": sum(array.nbytes for array in quantized["int8"].weights.values()),
        "microseconds": 1e6 * seconds["float32"],
        **{f"{weights}_microseconds": 1e6 * seconds[weights] for weights in FORMATS},
        **{f"{weights}_decibels": losses[weights] for weights in FORMATS},
    }
