"""Graphs to models: the steps from a `Graph` on, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from grurt.errors import ConversionError, ModelError, UnsupportedError
from grurt.model import Model, Source
from grurt.network.layers import GRU
from grurt.network.signature import LengthsPort

from .graph import Graph, Node, live_order
from .grids import TimeAxis, time_candidates
from .interpret import interpret, is_weight
from .patterns import recompose
from .ports import assemble
from .refusals import refuse_graph
from .repair import refuse_faulty_gru

_PROBES = (1009, 4003)
"""Where the sizes begin that stand for those left open: interpreted with either, the graph must give the same model."""


def convert_graph(graph: Graph, source: Source) -> Model:
    """Return the model that a graph computes.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or holds weights that no node reads.
    UnsupportedError
        If it holds something that grurt does not implement.
    """
    nodes = _live_nodes(graph)
    _check_all_weights_used(graph, nodes)
    graph = recompose(replace(graph, nodes=tuple(nodes)))
    nodes = _live_nodes(graph)
    refuse_graph(graph, nodes)
    refuse_faulty_gru(graph, nodes)
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        try:
            return _interpreted(graph, nodes, source, None)
        except UnsupportedError as error:
            return _on_a_grid(graph, nodes, source, error)


def _on_a_grid(graph: Graph, nodes: list[Node], source: Source, refusal: UnsupportedError) -> Model:
    """Return the model of a graph whose GRUs scan different axes, one that streams if there is a choice.

    Raises
    ------
    UnsupportedError
        The refusal that was the reason to look for one, if there is none.
    """
    found = None
    for time_axis in time_candidates(graph) if any(node.op == "GRU" for node in nodes) else ():
        with suppress(ConversionError, UnsupportedError, ModelError):
            model = _interpreted(graph, nodes, source, time_axis)
            scans_time = any(isinstance(layer, GRU) and layer.scan == "time" for layer in model.layers)
            if scans_time and _has_positions(model):
                found = found or model
                if model.unstreamable_reason is None:
                    return model
    if found is None:
        raise refusal
    return found


def _has_positions(model: Model) -> bool:
    ports = (*model.signature.inputs, *model.signature.outputs)
    grids = any(value.positions > 1 for value in model.values.values())
    return grids or any(port.positions > 1 for port in ports if not isinstance(port, LengthsPort))


def _interpreted(graph: Graph, nodes: list[Node], source: Source, time_axis: TimeAxis | None) -> Model:
    is_open = any(not isinstance(size, int) for port in graph.inputs for size in port.shape or ())
    probes = _PROBES if is_open else _PROBES[:1]
    found = [interpret(graph, nodes, _open_sizes(start), time_axis) for start in probes]
    models = [assemble(graph, interpretation, source) for interpretation in found]
    if any(_differ(models[0], model) for model in models[1:]):
        raise UnsupportedError(
            "the graph computes something that depends on how many timesteps or sequences there are; "
            "its layers must be the same for every length"
        )
    return models[0]


def _live_nodes(graph: Graph) -> list[Node]:
    given = [*graph.constants, *(port.name for port in graph.inputs)]
    return live_order(graph.nodes, given, [port.name for port in graph.outputs])


def _open_sizes(start: int) -> Callable[[str], int]:
    sizes: dict[str, int] = {}
    return lambda name: sizes.setdefault(name, start + 2 * len(sizes))


def _differ(one: Model, other: Model) -> bool:
    return one.fingerprint != other.fingerprint or one.signature != other.signature


def _check_all_weights_used(graph: Graph, nodes: list[Node]) -> None:
    """Raise ConversionError for weights that no live node reads: every node is understood, so none ignores any."""
    read = {name for node in nodes for name in node.inputs}
    unused = sorted(name for name, array in graph.constants.items() if is_weight(array) and name not in read)
    if unused:
        listed = ", ".join(repr(name[:60]) for name in unused[:5])
        raise ConversionError(
            f"the file holds {len(unused)} weights that nothing reads: {listed}; export the model again, or remove them"
        )
