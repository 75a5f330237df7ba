"""By meaning or literally: which way a graph is imported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from grurt.converters.graph.assembly.converted import ConvertedGraph
from grurt.converters.graph.nodes import Graph
from grurt.converters.literal.assembly import StepGraph, network_of_step_graph
from grurt.converters.literal.causal import network_of_sequences
from grurt.converters.literal.options import ImportOptions, StepOptions
from grurt.converters.literal.pairs import may_hold_states
from grurt.converters.literal.sizes import open_names
from grurt.errors import ConversionError, DesignReason, ModelError, UnsupportedError
from grurt.network.network import Source


def imported(
    graph: Graph,
    source: Source,
    options: ImportOptions,
    by_meaning: Callable[[], ConvertedGraph],
    refuse: Callable[[Graph], None] = lambda graph: None,
) -> ConvertedGraph | StepGraph:
    """Return the network of a graph, in the way that the caller wants, or in the one that goes.

    Parameters
    ----------
    graph
        The graph.
    source
        What the network says it comes from.
    options
        What the caller says.
    by_meaning
        Imports it by meaning.
    refuse
        Raises UnsupportedError for a graph that is wrong in whatever way it is imported.

    Raises
    ------
    ConversionError
        If the graph contradicts itself.
    UnsupportedError
        If it can be imported in neither way: the message says both reasons, or the one that they are.
    """

    def literally() -> StepGraph:
        refuse(graph)
        try:
            return network_of_step_graph(graph, source, options.step)
        except UnsupportedError as error:
            said = options.step.state or options.step.initial or options.step.context or options.step.sizes
            if options.imported != "literal" or said or not open_names(graph):
                raise
            return _timesteps(graph, source, options.step, error)

    if options.imported == "literal" or options.step:
        return literally()
    try:
        converted = by_meaning()
        is_changed = converted.network.unstreamable_by_design is DesignReason.FED_BACK_STATE
        if is_changed and options.imported is None and not open_names(graph):
            # What a state becomes is no layer's own. Of fixed sizes, the graph streams as it stands.
            with suppress(ConversionError, ModelError):
                return literally()
        return converted
    except (UnsupportedError, ModelError) as error:
        if options.imported == "meaning" or not may_hold_states(graph):
            raise
        try:
            return literally()
        except (ConversionError, ModelError) as other:
            if other.args == error.args:
                raise error from None
            reason = getattr(error, "reason", None)
            raise UnsupportedError(
                *error.args, f"nor can it be imported literally, as one timestep: {other.args[0]}", reason=reason
            ) from error


def _timesteps(graph: Graph, source: Source, options: StepOptions, refusal: UnsupportedError) -> StepGraph:
    """Return the network of a graph of whole sequences that looks back only; else raise a refusal, with this reason."""
    try:
        return network_of_sequences(graph, source, options)
    except (ConversionError, ModelError) as error:
        raise UnsupportedError(
            *refusal.args,
            f"nor does it compute a sequence timestep by timestep: {error.args[0]}",
            reason=refusal.reason,
        ) from error
