"""A graph and the network that was found to compute it: whether the two agree, and what a run of the source takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from grurt.converters.graph.assembly.frozen import Likelihood
from grurt.converters.graph.assembly.interpret import interpret
from grurt.converters.graph.assembly.open_sizes import OpenSizes
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.building.grids import TimeAxis
from grurt.converters.graph.nodes import Declaration, Graph, Node
from grurt.errors import ConversionError
from grurt.network.network import Network
from grurt.network.signature import ValuePort

MAX_NODES_RUN = 1 << 14
MAX_WRITTEN = 1 << 27
"""How many numbers a run of the source may write, in all tensors together: half a gigabyte."""

_SEQUENCES = ("batch", "time")


@dataclass(frozen=True)
class ConvertedGraph:
    """A network, and the graph that was found to compute it."""

    network: Network
    _graph: Graph
    _nodes: list[Node]
    _time_axis: TimeAxis | None
    written_out: frozenset[int]
    """Of how many timesteps the graph holds each by itself, all of a sequence."""

    @property
    def inputs(self) -> tuple[Declaration, ...]:
        """The inputs of the graph, with the sizes that it turned out to have."""
        return self._graph.inputs

    @property
    def outputs(self) -> tuple[Declaration, ...]:
        """The outputs of the graph."""
        return self._graph.outputs

    def check_run(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ConversionError if a run of the source on inputs of these shapes would take too much.

        What a source computes, constants written out among it, is not in proportion to its file.
        """
        if len(self._nodes) > MAX_NODES_RUN:
            raise ConversionError(f"the graph has {len(self._nodes)} nodes, of which a test runs {MAX_NODES_RUN}")
        inputs = tuple(replace(port, shape=shapes[port.name]) for port in self._graph.inputs)
        graph = replace(self._graph, inputs=inputs)
        with np.errstate(all="ignore"):
            found = interpret(graph, self._nodes, OpenSizes(1), Budget(graph.size), self._time_axis, measures=True)
        written = found.elements()
        if written > MAX_WRITTEN:
            raise ConversionError(f"a run on a test input writes {written} numbers, of which {MAX_WRITTEN} are tried")


def is_as_declared(converted: ConvertedGraph) -> bool:
    """Say whether inputs and outputs have the sizes that the file declares, where it does."""
    sizes: dict[tuple[str, int], set[int]] = defaultdict(set)
    network = converted.network
    shown = {output.name: output.value for output in network.outputs} | {
        port.name: port.name for port in network.inputs
    }
    signature = network.signature
    for ports, declarations in ((signature.inputs, converted.inputs), (signature.outputs, converted.outputs)):
        for port, declared in zip(ports, declarations, strict=True):
            shape = declared.shape or ()
            stage = network.values[shown[port.name]].stage if port.name in shown else 0
            for axis, size in zip(port.axes, shape, strict=True) if len(shape) == len(port.axes) else ():
                if isinstance(size, int) and axis in _SEQUENCES:
                    sizes[axis, stage if axis == "time" else 0].add(size)
    return all(len(found) == 1 for found in sizes.values())


def likelihood(converted: ConvertedGraph, sizes: Mapping[str, int]) -> Likelihood:
    """Say how likely sizes, which had to be fixed, are those of an exporter's example."""
    if converted.written_out == set(sizes.values()):
        return Likelihood.WRITTEN_OUT
    ports = converted.network.signature.inputs + converted.network.signature.outputs
    axes = (port.axes for port in ports if isinstance(port, ValuePort))
    orders = {tuple(axis for axis in each if axis in _SEQUENCES) for each in axes}
    return Likelihood.IN_ORDER if len(orders) == 1 else Likelihood.SOME


def with_note(converted: ConvertedGraph, note: str) -> ConvertedGraph:
    """Return the same with a note in its network's source."""
    source = converted.network.source
    source = msgspec.structs.replace(source, notes=(*source.notes, note))
    return replace(converted, network=converted.network.replaced(source=source))
