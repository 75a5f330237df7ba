"""Graphs to networks: the steps from a `Graph` on, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.assembly.interpret import interpret
from grurt.converters.graph.assembly.parts import assemble
from grurt.converters.graph.building.grids import TimeAxis, time_candidates
from grurt.converters.graph.nodes import Graph, Node, is_weight, live_order
from grurt.converters.graph.rewriting.recompose import recompose
from grurt.errors import ConversionError, ModelError, UnsupportedError
from grurt.network.network import Network, Parts, Source
from grurt.network.signature import LengthsPort, ValuePort

Refuse = Callable[[Graph, Sequence[Node]], None]
"""Raises UnsupportedError for a graph, and its live nodes, that the format it was read from is known to spoil."""

_PROBES = (1009, 4003)
"""Where the sizes begin that stand for those left open: with either, the graph must give the same network."""


def network_of_graph(graph: Graph, source: Source, refuse: Refuse) -> Network:
    """Return the network that a graph computes.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or holds weights that no node reads.
    UnsupportedError
        If it holds something that grurt does not implement, or ``refuse`` raises it.
    """
    nodes = _live_nodes(graph)
    _check_all_weights_used(graph, nodes)
    graph = recompose(replace(graph, nodes=tuple(nodes)))
    nodes = _live_nodes(graph)
    refuse(graph, nodes)
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        try:
            return _interpreted(graph, nodes, source, None)
        except UnsupportedError as error:
            return _on_a_grid(graph, nodes, source, error)


def _on_a_grid(graph: Graph, nodes: list[Node], source: Source, refusal: UnsupportedError) -> Network:
    """Return the network of a graph whose GRUs scan different axes, one that streams if there is a choice.

    Raises
    ------
    UnsupportedError
        The refusal that was the reason to look for one, if there is none.
    """
    found = None
    for time_axis in time_candidates(graph) if any(node.op == "GRU" for node in nodes) else ():
        with suppress(ConversionError, UnsupportedError, ModelError):
            network = _interpreted(graph, nodes, source, time_axis)
            if any(layer.final_state_at is not None for layer in network.layers) and _has_positions(network):
                found = found or network
                if network.unstreamable_reason is None:
                    return network
    if found is None:
        raise refusal
    return found


def _has_positions(network: Network) -> bool:
    ports = (*network.signature.inputs, *network.signature.outputs)
    grids = any(value.positions > 1 for value in network.values.values())
    return grids or any(port.positions > 1 for port in ports if not isinstance(port, LengthsPort))


def _interpreted(graph: Graph, nodes: list[Node], source: Source, time_axis: TimeAxis | None) -> Network:
    is_open = any(not isinstance(size, int) for port in graph.inputs for size in port.shape or ())
    probes = _PROBES if is_open else _PROBES[:1]
    found, *others = [interpret(graph, nodes, _open_sizes(start), time_axis) for start in probes]
    parts = assemble(graph, found, source)
    network = Network(**parts)
    _refuse_unequal_times(graph, network)
    if any(_differ(parts, assemble(graph, other, source)) for other in others):
        raise UnsupportedError(
            "the graph computes something that depends on how many timesteps or sequences there are; "
            "its layers must be the same for every length"
        )
    return network


def _live_nodes(graph: Graph) -> list[Node]:
    given = [*graph.constants, *(port.name for port in graph.inputs)]
    return live_order(graph.nodes, given, [port.name for port in graph.outputs])


def _open_sizes(start: int) -> Callable[[str], int]:
    sizes: dict[str, int] = {}
    return lambda name: sizes.setdefault(name, start + 2 * len(sizes))


def _differ(one: Parts, other: Parts) -> bool:
    weights, others = one["weights"], other["weights"]
    if any(one.get(name) != other.get(name) for name in ("layers", "inputs", "outputs", "signature")):
        return True
    return weights.keys() != others.keys() or any(
        not _same(np.asarray(weights[name]), np.asarray(others[name])) for name in weights
    )


def _same(one: Array, other: Array) -> bool:
    """Say whether two arrays hold the same numbers, as views of one constant do, which are not compared."""
    interface, others = one.__array_interface__, other.__array_interface__
    views = all(interface[key] == others[key] for key in ("data", "shape", "strides", "typestr"))
    return views or np.array_equal(one, other)


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
