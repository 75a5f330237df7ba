"""Graphs to networks: the steps from a `Graph` on, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from grurt.converters.attending import attending
from grurt.converters.graph.assembly.constants import with_constants_folded
from grurt.converters.graph.assembly.converted import ConvertedGraph, is_as_declared, likelihood, with_note
from grurt.converters.graph.assembly.frozen import open_sizes, with_frozen_sizes, with_sizes
from grurt.converters.graph.assembly.interpret import interpret
from grurt.converters.graph.assembly.open_sizes import OpenSizes, has_numbers, open_sizes_named, without_stand_ins
from grurt.converters.graph.assembly.parts import assemble
from grurt.converters.graph.assembly.uneven_ends import refuse_uneven_ends
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.building.grids import TimeAxis, time_candidates
from grurt.converters.graph.nodes import Body, Graph, MisfitError, Node, is_weight, live_order
from grurt.converters.graph.rewriting.branches import without_branches_of_sizes
from grurt.converters.graph.rewriting.casts import without_float_casts
from grurt.converters.graph.rewriting.feedback import fed_back, plain_rnn
from grurt.converters.graph.rewriting.loops import without_loops
from grurt.converters.graph.rewriting.masks import with_masked_cells
from grurt.converters.graph.rewriting.recompose import recompose
from grurt.converters.graph.rewriting.states import with_states_of_cells
from grurt.converters.graph.rewriting.steps import is_written_out
from grurt.converters.graph.tracing.axes import OpenFeaturesError
from grurt.converters.graph.tracing.features import is_same_array
from grurt.errors import ConversionError, DesignReason, ModelError, UnsupportedError
from grurt.network.layers import FirstStep, LastStep
from grurt.network.network import Network, Source
from grurt.network.signature import LengthsPort, ValuePort

if TYPE_CHECKING:
    from grurt.network.network import Parts

Refuse = Callable[[Graph, Sequence[Node]], None]
"""Raises UnsupportedError for a graph, and its live nodes, that the format it was read from is known to spoil."""

_MAX_EVALUATIONS = 200_000
"""How many nodes and axes of inputs may be looked at, each in two interpretations, to find out which axis is time."""

_MAX_FROZEN_EVALUATIONS = 20_000
"""How many nodes may be looked at to find out which sizes are open in name only."""

_MAX_OPEN_FEATURES = 16
"""How many axes of features the inputs may leave open: their sizes are those of weights."""

_PROBES = (1009, 4003)
"""Where the sizes begin that stand for those left open: with either, the graph must give the same network."""


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
        budget = Budget(graph.size)
        loops = without_loops(without_branches_of_sizes(graph), budget)
        nodes = loops.live_nodes()
        _check_all_weights_used(loops.graph, nodes, loops.ends)
        graph = without_float_casts(with_constants_folded(loops.graph, nodes, budget), loops.ends)
        graph = recompose(graph, budget, loops.ends)
        graph = with_masked_cells(graph, [carried for _, carried in loops.carried], budget)
        graph = with_states_of_cells(graph, loops, budget)
        nodes = _live_nodes(graph)
        refuse(graph, nodes)
        try:
            return _in_any_way(graph, nodes, source, budget, _PROBES)
        except ConversionError as error:
            if not open_sizes(graph) or not has_numbers(error):
                raise
            other = _refusal(lambda: _in_any_way(graph, nodes, source, budget, _PROBES[::-1]))
            raise without_stand_ins(error, other) from error.__cause__


def _refusal(convert: Callable[[], object]) -> ConversionError | None:
    try:
        convert()
    except ConversionError as error:
        return error
    return None


def _in_any_way(
    graph: Graph, nodes: list[Node], source: Source, budget: Budget, starts: tuple[int, ...]
) -> ConvertedGraph:
    """Return the network of a graph, whichever of its axes is time, and whichever sizes are open in name only."""

    def convert(graph: Graph) -> ConvertedGraph:
        try:
            converted = _interpreted(graph, nodes, source, budget, None, starts)
        except (ConversionError, ModelError) as error:
            for other in _other_readings(graph, nodes):
                with suppress(ConversionError, ModelError):
                    return _interpreted(other, nodes, source, budget, None, starts)
            if (reason := fed_back(nodes)) is not None:
                raise reason from error
            if isinstance(error, MisfitError):
                raise
            if isinstance(error, ModelError) and open_sizes(graph):
                # layers that do not fit together, such as those of one timestep out of many
                raise MisfitError(*error.args) from error
            if not isinstance(error, UnsupportedError):
                raise
            return _on_a_grid(graph, nodes, source, budget, plain_rnn(nodes, graph.constants) or error)
        return _whole_sequence(
            converted, graph, nodes, lambda other: _interpreted(other, nodes, source, budget, None, starts)
        )

    def convert_as_declared(graph: Graph) -> ConvertedGraph:
        converted = convert(graph)
        if not is_as_declared(converted):
            raise MisfitError  # without a message: other sizes are tried, and the first error shown
        return converted

    try:
        return convert(graph)
    except MisfitError as error:
        tries = 1 + _MAX_FROZEN_EVALUATIONS // len(nodes)
        return with_note(*with_frozen_sizes(graph, convert_as_declared, likelihood, error, tries))


def _other_readings(graph: Graph, nodes: Sequence[Node]) -> Iterator[Graph]:
    """Yield what a graph may be taken for that makes no sense as it stands."""
    if is_written_out(nodes, graph.constants):
        yield replace(graph, written_out=True)
    if any(node.op == "Pad" for node in nodes):  # of which axis, nothing may have told so far
        yield replace(graph, features_last=True)


def _whole_sequence(
    converted: ConvertedGraph,
    graph: Graph,
    nodes: Sequence[Node],
    convert: Callable[[Graph], ConvertedGraph],
) -> ConvertedGraph:
    """Return the network of a graph that works on all timesteps, rather than on the first and the last, if both do.

    Of two timesteps, written out one by one, these are the same: where they are picked by numbers from the start, all
    are meant.
    """
    if _reads_ends(converted) and is_written_out(nodes, graph.constants):
        with suppress(ConversionError, ModelError):
            other = convert(replace(graph, written_out=True))
            return converted if _reads_ends(other) else other
    return converted


def _reads_ends(converted: ConvertedGraph) -> bool:
    kinds = {type(layer) for layer in converted.network.layers}
    return FirstStep in kinds and LastStep in kinds


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
    graph: Graph,
    nodes: list[Node],
    source: Source,
    budget: Budget,
    time_axis: TimeAxis | None,
    starts: tuple[int, ...] = _PROBES,
) -> ConvertedGraph:
    for _ in range(_MAX_OPEN_FEATURES):
        try:
            return _with_sizes(graph, nodes, source, budget, time_axis, starts)
        except OpenFeaturesError as error:
            if not error.name:
                raise
            graph = with_sizes(graph, {error.name: error.size})
    return _with_sizes(graph, nodes, source, budget, time_axis, starts)


def _with_sizes(
    graph: Graph,
    nodes: list[Node],
    source: Source,
    budget: Budget,
    time_axis: TimeAxis | None,
    starts: tuple[int, ...],
) -> ConvertedGraph:
    probes = [OpenSizes(start) for start in (starts if open_sizes(graph) else starts[:1])]
    with open_sizes_named(probes):
        return _same_for_all(graph, nodes, source, budget, time_axis, probes)


def _same_for_all(
    graph: Graph,
    nodes: list[Node],
    source: Source,
    budget: Budget,
    time_axis: TimeAxis | None,
    probes: Sequence[OpenSizes],
) -> ConvertedGraph:
    found, *others = [interpret(graph, nodes, sizes, budget.anew(), time_axis) for sizes in probes]
    parts = assemble(graph, found, source)
    network = attending(lambda parts: Network(**parts), parts)
    _refuse_unequal_times(graph, network)
    refuse_uneven_ends(network)
    if any(_differ(parts, assemble(graph, other, source)) for other in others):
        kind = MisfitError if found.build.unrolled else UnsupportedError  # of a loop over fewer than all timesteps
        raise kind(
            "the graph computes something that depends on how many timesteps or sequences there are; "
            "its layers must be the same for every length",
            reason=DesignReason.SEQUENCE_LENGTH,
        )
    return ConvertedGraph(network, graph, nodes, time_axis, frozenset(found.build.written_out))


def _live_nodes(graph: Graph) -> list[Node]:
    given = [*graph.constants, *(port.name for port in graph.inputs)]
    return live_order(graph.nodes, given, [port.name for port in graph.outputs])


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


def _check_all_weights_used(graph: Graph, nodes: list[Node], others: list[str]) -> None:
    """Raise ConversionError for weights that no live node reads: every node is understood, so none ignores any.

    ``others`` are tensors that are read in other ways.
    """
    if any(value is None or isinstance(value, Body) for node in nodes for value in node.attributes.values()):
        return  # a graph inside may read them
    read = {*others, *(name for node in nodes for name in node.inputs)}
    unused = sorted(name for name, array in graph.constants.items() if is_weight(array) and name not in read)
    if unused:
        listed = ", ".join(repr(name[:60]) for name in unused[:5])
        raise ConversionError(
            f"the file holds {len(unused)} weights that nothing reads: {listed}; export the model again, or remove them"
        )
