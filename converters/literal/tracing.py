"""A graph of known sizes, interpreted: the program so far, and what its tensors are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.interpret import interpret
from grurt.converters.literal.values import Traced, Value


@dataclass(frozen=True)
class Traces:
    """A graph that was interpreted: the program so far, and what its inputs, outputs and tensors are."""

    build: ProgramBuilder
    inputs: Mapping[str, Traced]
    outputs: Mapping[str, Value]
    tensors: Mapping[str, Value]
    open_outputs: Collection[str] = ()
    """Outputs that have as many places as a context, along an axis."""


def traced(
    graph: Graph,
    fixed: Mapping[str, Array],
    time_axes: Mapping[str, int] | None = None,
    contexts: Collection[str] = (),
) -> Traces:
    """Return a graph of known sizes, interpreted; with axes along which time runs, it is taken apart along them."""
    build = ProgramBuilder(Budget(graph.size), time_axes)
    tensors: dict[str, Value] = {**graph.constants, **fixed}
    for name, array in graph.constants.items():
        build.note_name(name, array)
    inputs = {}
    for port in graph.inputs:
        shape = tuple(size for size in port.shape or () if isinstance(size, int))
        value = inputs[port.name] = tensors[port.name] = build.input(shape, np.dtype(port.dtype))
        if value.is_integer and math.prod(shape) == 1 and port.name not in contexts:
            build.token_inputs[value.name] = port.name
    names = [port.name for port in graph.outputs]
    nodes = [replace(node, _read=set()) for node in graph.nodes]  # whoever read attributes before
    results = interpret(nodes, tensors, names, build)
    return Traces(build, inputs, dict(zip(names, results, strict=True)), tensors)
