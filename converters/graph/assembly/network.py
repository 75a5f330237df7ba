"""Graphs to networks: the steps from a `Graph` on, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from grurt.converters.graph.assembly.constants import with_constants_folded
from grurt.converters.graph.assembly.interpret import axis_place, interpret
from grurt.converters.graph.assembly.parts import assemble
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.building.grids import TimeAxis, time_candidates
from grurt.converters.graph.nodes import Graph, Node, is_weight, live_order
from grurt.converters.graph.rewriting.recompose import recompose
from grurt.converters.graph.tracing.axes import OpenFeaturesError
from grurt.converters.graph.tracing.features import is_same_array
from grurt.errors import ConversionError, DesignReason, ModelError, UnsupportedError
from grurt.network.network import Network, Parts, Source
from grurt.network.signature import LengthsPort, ValuePort

Refuse = Callable[[Graph, Sequence[Node]], None]
"""Raises UnsupportedError for a graph, and its live nodes, that the format it was read from is known to spoil."""

MAX_NODES_RUN = 1 << 14
MAX_WRITTEN = 1 << 27
"""How many numbers a run of the source may write, in all tensors together: half a gigabyte."""

_MAX_EVALUATIONS = 200_000
"""How many nodes and axes of inputs may be looked at, each in two interpretations, to find out which axis is time."""

_MAX_OPEN_FEATURES = 16
"""How many axes of features the inputs may leave open: their sizes are those of weights."""

_PROBES = (1009, 4003)
"""Where the sizes begin that stand for those left open: with either, the graph must give the same network."""


@dataclass(frozen=True)
class ConvertedGraph:
    """A network, and the graph that was found to compute it."""

    network: Network
    _graph: Graph
    _nodes: list[Node]
    _time_axis: TimeAxis | None

    def check_run(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ConversionError if a run of the source on inputs of these shapes would take too much.

        What a source computes, constants written out among it, is not in proportion to its file.
        """
        if len(self._nodes) > MAX_NODES_RUN:
            raise ConversionError(f"the graph has {len(self._nodes)} nodes, of which a test runs {MAX_NODES_RUN}")
        inputs = tuple(replace(port, shape=shapes[port.name]) for port in self._graph.inputs)
        graph = replace(self._graph, inputs=inputs)
        with np.errstate(all="ignore"):
            written = interpret(graph, self._nodes, _OpenSizes(1), Budget(graph.size), self._time_axis).elements()
        if written > MAX_WRITTEN:
            raise ConversionError(f"a run on a test input writes {written} numbers, of which {MAX_WRITTEN} are tried")


def network_of_graph(graph: Graph, source: Source, refuse: Refuse) -> ConvertedGraph:
    """Return the network that a graph computes.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or holds weights that no node reads.
    UnsupportedError
        If it holds something that grurt does not implement, or ``refuse`` raises it.
    """
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        nodes = _live_nodes(graph)
        _check_all_weights_used(graph, nodes)
        budget = Budget(graph.size)
        graph = recompose(with_constants_folded(graph, nodes, budget), budget)
        nodes = _live_nodes(graph)
        refuse(graph, nodes)
        try:
            return _interpreted(graph, nodes, source, budget, None)
        except UnsupportedError as error:
            return _on_a_grid(graph, nodes, source, budget, error)


def _on_a_grid(
    graph: Graph, nodes: list[Node], source: Source, budget: Budget, refusal: UnsupportedError
) -> ConvertedGraph:
    """Return the network of a graph whose GRUs scan different axes, one that streams if there is a choice.

    Raises
    ------
    UnsupportedError
        The refusal that was the reason to look for one, if there is none.
    """
    found = None
    candidates = time_candidates(graph) if any(node.op == "GRU" for node in nodes) else ()
    size = len(nodes) + sum(len(port.shape or ()) for port in graph.inputs)
    for time_axis in islice(candidates, 1 + _MAX_EVALUATIONS // size):
        with suppress(ConversionError, UnsupportedError, ModelError):
            converted = _interpreted(graph, nodes, source, budget, time_axis)
            network = converted.network
            if any(layer.final_state_at is not None for layer in network.layers) and _has_positions(network):
                found = found or converted
                if network.unstreamable_reason is None:
                    return converted
    if found is None:
        raise refusal
    return found


def _has_positions(network: Network) -> bool:
    ports = (*network.signature.inputs, *network.signature.outputs)
    grids = any(value.positions > 1 for value in network.values.values())
    return grids or any(port.positions > 1 for port in ports if not isinstance(port, LengthsPort))


def _interpreted(
    graph: Graph, nodes: list[Node], source: Source, budget: Budget, time_axis: TimeAxis | None
) -> ConvertedGraph:
    for _ in range(_MAX_OPEN_FEATURES):
        try:
            return _with_sizes(graph, nodes, source, budget, time_axis)
        except OpenFeaturesError as error:
            if not error.name:
                raise
            graph = _with_size(graph, error.name, error.size)
    return _with_sizes(graph, nodes, source, budget, time_axis)


def _with_sizes(
    graph: Graph, nodes: list[Node], source: Source, budget: Budget, time_axis: TimeAxis | None
) -> ConvertedGraph:
    is_open = any(not isinstance(size, int) for port in graph.inputs for size in port.shape or ())
    probes = [_OpenSizes(start) for start in (_PROBES if is_open else _PROBES[:1])]
    with _open_sizes_named(probes):
        return _same_for_all(graph, nodes, source, budget, time_axis, probes)


def _with_size(graph: Graph, name: str, size: int) -> Graph:
    """Return the graph with a size that its inputs leave open."""
    inputs = tuple(
        replace(
            port,
            shape=port.shape
            and tuple(
                size if not isinstance(each, int) and (each or axis_place(port, index)) == name else each
                for index, each in enumerate(port.shape)
            ),
        )
        for port in graph.inputs
    )
    return replace(graph, inputs=inputs)


def _same_for_all(
    graph: Graph,
    nodes: list[Node],
    source: Source,
    budget: Budget,
    time_axis: TimeAxis | None,
    probes: Sequence[_OpenSizes],
) -> ConvertedGraph:
    found, *others = [interpret(graph, nodes, sizes, budget.anew(), time_axis) for sizes in probes]
    parts = assemble(graph, found, source)
    network = Network(**parts)
    _refuse_unequal_times(graph, network)
    if any(_differ(parts, assemble(graph, other, source)) for other in others):
        raise UnsupportedError(
            "the graph computes something that depends on how many timesteps or sequences there are; "
            "its layers must be the same for every length",
            reason=DesignReason.SEQUENCE_LENGTH,
        )
    return ConvertedGraph(network, graph, nodes, time_axis)


def _live_nodes(graph: Graph) -> list[Node]:
    given = [*graph.constants, *(port.name for port in graph.inputs)]
    return live_order(graph.nodes, given, [port.name for port in graph.outputs])


class _OpenSizes:
    """Gives numbers for sizes that the file leaves open, each name its own."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._sizes: dict[str, int] = {}
        self._names: dict[str, str] = {}

    def __call__(self, name: str) -> int:
        """Return the number for a size."""
        if name not in self._sizes:
            self._sizes[name] = self._start + 2 * len(self._sizes)
            is_name = len(name) <= _LONGEST_NAME and " of input " not in name
            self._names[str(self._sizes[name])] = name if is_name else "an open number"
        return self._sizes[name]

    def name(self, size: int) -> str:
        """Return the name of the open size that a number stands for; nothing if it stands for none."""
        return next((name for name, number in self._sizes.items() if number == size), "")

    def named(self, message: str) -> str:
        """Return a message with the names of open sizes in place of the numbers: nobody else knows these."""
        return _NUMBER.sub(lambda found: self._names.get(found[0], found[0]), message)


_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]\w)")
_LONGEST_NAME = 50
"""Characters of the name of an open size that a message shows."""


@contextmanager
def _open_sizes_named(probes: Sequence[_OpenSizes]) -> Iterator[None]:
    try:
        yield
    except ConversionError as error:
        named = [str(line) for line in error.args]
        for sizes in probes:
            named = list(map(sizes.named, named))
        if isinstance(error, OpenFeaturesError):
            name = probes[0].name(error.stand_in)
            raise OpenFeaturesError(named[0], error.stand_in, error.size, name) from error.__cause__
        if named == list(error.args):
            raise
        raise error.reworded(*named) from error.__cause__


def _differ(one: Parts, other: Parts) -> bool:
    weights, others = one["weights"], other["weights"]
    if any(one.get(name) != other.get(name) for name in ("layers", "inputs", "outputs", "signature")):
        return True
    return weights.keys() != others.keys() or any(
        not is_same_array(np.asarray(weights[name]), np.asarray(others[name])) for name in weights
    )


def _refuse_unequal_times(graph: Graph, network: Network) -> None:
    """Refuse sequences that belong together though the file fixes them to different numbers of timesteps."""
    known: dict[int, tuple[str, int]] = {}
    for port, declared in zip(network.signature.inputs, graph.inputs, strict=True):
        for name, size in zip(port.axes, declared.shape or (), strict=True):
            if name == "time" and isinstance(size, int) and isinstance(port, ValuePort):
                other, expected = known.setdefault(network.values[port.value].stage, (port.name, size))
                if size != expected:
                    raise UnsupportedError(
                        f"input {port.name[:100]!r}: it has {size} timesteps and {other[:100]!r} has {expected}; "
                        "layers that read both need as many of each: export with sequences of one length"
                    )


def _check_all_weights_used(graph: Graph, nodes: list[Node]) -> None:
    """Raise ConversionError for weights that no live node reads: every node is understood, so none ignores any."""
    if any(value is None for node in nodes for value in node.attributes.values()):  # a graph inside may read them
        return
    read = {name for node in nodes for name in node.inputs}
    unused = sorted(name for name, array in graph.constants.items() if is_weight(array) and name not in read)
    if unused:
        listed = ", ".join(repr(name[:60]) for name in unused[:5])
        raise ConversionError(
            f"the file holds {len(unused)} weights that nothing reads: {listed}; export the model again, or remove them"
        )
