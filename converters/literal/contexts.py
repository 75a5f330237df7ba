"""Inputs that a stream is given once, and how large they may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grurt.array_types import Array
from grurt.converters.graph.nodes import Graph
from grurt.converters.literal.lengths import LengthMasks
from grurt.converters.literal.options import StepOptions
from grurt.converters.literal.program import Given
from grurt.converters.literal.sizes import open_axis, open_names, with_open_sizes, with_sizes
from grurt.converters.literal.tracing import Traces, traced
from grurt.converters.literal.values import Traced
from grurt.errors import ConversionError, UnsupportedError
from grurt.escaping import listed
from grurt.network.ranges import MAX_SIZE


def check_contexts(graph: Graph, options: StepOptions) -> None:
    """Raise ConversionError unless contexts are inputs, and open sizes such as they have."""
    names = [port.name for port in graph.inputs]
    for name in options.context:
        if name not in names:
            raise ConversionError(f"context: the graph has no input {name!r} that is not fixed; it has {listed(names)}")
        if name in options.state or name in options.initial:
            raise ConversionError(f"context: the input {name!r} is a state, as state or initial say: it is not both")
    for name, size in options.sizes.items():
        _check_size(graph, options, name, size)


def _check_size(graph: Graph, options: StepOptions, name: str, size: object) -> None:
    if name not in open_names(graph):
        raise ConversionError(f"size: the graph leaves no size {name!r} open; it leaves {listed(open_names(graph))}")
    if not isinstance(size, int) or not 1 <= size < MAX_SIZE:
        raise ConversionError(f"size: {name!r}: expected a number of places from 1 on, got {size!r}")
    if len(options.sizes) > 1:
        raise ConversionError(f"size: expected one size that contexts have, got {listed(options.sizes)}")
    owners = [port.name for port in graph.inputs if name in (port.shape or ())]
    if others := [port for port in owners if port not in options.context]:
        raise ConversionError(f"size: {name!r} is one of the input {others[0]!r}, too, which is no context")
    if twice := [port for port in owners if open_axis(graph, port, name) is None]:
        raise ConversionError(f"size: the input {twice[0]!r} has {name!r} along two axes")


def with_contexts(
    graph: Graph, fixed: Mapping[str, Array], options: StepOptions, found: Traces
) -> tuple[Traces, list[Given]]:
    """Return a graph that leaves out what contexts do not have along an axis of open size, and its contexts.

    Parameters
    ----------
    graph, fixed
        The graph, and the values of inputs that are fixed.
    options
        What the caller says.
    found
        The graph, interpreted with the largest sizes.

    Raises
    ------
    UnsupportedError
        If the graph makes something of such an axis that has no meaning without some of the places.
    """
    if not options.sizes:
        return found, [Given(name, found.inputs[name]) for name in options.context]
    ((name, size),) = options.sizes.items()
    wider = traced(with_open_sizes(with_sizes(graph, {name: size + 1}), 1), fixed, contexts=options.context)
    inputs = [(value, wider.inputs[port]) for port, value in found.inputs.items()]
    masks = LengthMasks(found.build, wider.build, inputs, name, size)
    filled = masks.apply([(value, wider.outputs[port]) for port, value in found.outputs.items()])
    outputs = {
        port: filled.get(value.name, value) if isinstance(value, Traced) else value
        for port, value in found.outputs.items()
    }
    open_outputs = [port for port, value in found.outputs.items() if masks.axis(value) is not None]
    given = []
    for port in options.context:
        axis = open_axis(graph, port, name)
        given.append(Given(port, found.inputs[port], axis, None if axis is None else masks.mask))
    return replace(found, outputs=outputs, open_outputs=open_outputs), given


def check_states(pairs: Mapping[str, str], found: Traces) -> None:
    """Raise UnsupportedError if a state has as many places as a context."""
    for name, result in pairs.items():
        if result in found.open_outputs:
            raise UnsupportedError(
                f"the state {name[:100]!r} has as many places as a context: export it with a size that is fixed"
            )
