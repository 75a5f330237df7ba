"""A step graph to a network: the steps, in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Graph
from grurt.converters.literal.contexts import check_contexts, check_states, with_contexts
from grurt.converters.literal.options import StepOptions
from grurt.converters.literal.pairs import Port, paired
from grurt.converters.literal.ports import signature_of
from grurt.converters.literal.program import Given, Kept, Layers
from grurt.converters.literal.refusals import refuse_mixed
from grurt.converters.literal.sizes import bound, has_open_sizes, with_open_sizes, with_sizes
from grurt.converters.literal.tracing import Traces, traced
from grurt.converters.literal.values import Traced
from grurt.errors import ConversionError, ModelError, UnsupportedError
from grurt.escaping import listed
from grurt.network.network import Network, Source

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class StepGraph:
    """A network that was imported literally, and what the graph was.

    Parameters
    ----------
    network
        The network.
    inputs, outputs
        Those of the graph.
    pairs
        The outputs that go back, by the inputs that they go back into.
    bound
        Values of inputs that were fixed.
    initial
        What states begin as; zeros else.
    contexts
        The inputs that a stream is given once.
    time_axes
        Of a graph of whole sequences: along which axis of its inputs and outputs, among others, time runs.
    """

    network: Network
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    pairs: Mapping[str, str]
    bound: Mapping[str, Array]
    initial: Mapping[str, Array]
    contexts: Sequence[Given] = ()
    time_axes: Mapping[str, int] = field(default_factory=dict)


def network_of_step_graph(graph: Graph, source: Source, options: StepOptions) -> StepGraph:
    """Return the network that computes what a graph of one timestep says, literally.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or the caller says something of it that is not so.
    UnsupportedError
        If it is none of one timestep, or holds something that no step program computes.
    """
    graph, fixed = bound(graph, options.bind)
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        check_contexts(graph, options)
        sized = with_sizes(graph, options.sizes)
        found = traced(with_open_sizes(sized, 1), fixed, contexts=options.context)
        if has_open_sizes(sized):
            _check_open_sizes(sized, fixed, found, options.context)
        found, contexts = with_contexts(graph, fixed, options, found)
        inputs = [Port(name, value.shape, value.dtype) for name, value in found.inputs.items()]
        outputs = [Port(port.name, found.outputs[port.name].shape, np.dtype(port.dtype)) for port in graph.outputs]
        told = {**options.state, **dict.fromkeys(options.context)}
        pairs = paired(inputs, outputs, told, _certain_states(found, options.context))
        initial = {name: _initial(name, array, pairs, found) for name, array in options.initial.items()}
        notes = _notes(pairs, initial, fixed, options)
        source = msgspec.structs.replace(source, notes=(*source.notes, *notes))
        check_states(pairs, found)
        network = _network(found, inputs, outputs, pairs, initial, contexts, source)
    return StepGraph(network, inputs, outputs, pairs, fixed, initial, contexts)


def _check_open_sizes(graph: Graph, fixed: Mapping[str, Array], found: Traces, contexts: Collection[str]) -> None:
    """Refuse a graph that works along an axis that it leaves open, and that is of size 1 in one timestep.

    One that runs with no other size than 1 leaves it open in name only.
    """
    other = None
    with suppress(ConversionError, ModelError):
        other = traced(with_open_sizes(graph, 2), fixed, contexts=contexts)
    if other is not None:
        refuse_mixed(found.build.mixed, found.tensors, other.tensors)


def _certain_states(found: Traces, contexts: Collection[str]) -> set[str]:
    """Return the inputs that recurrent operators of one timestep begin with, whole or in parts."""
    names = {value.name: name for name, value in found.inputs.items()}
    states = (state for scan in found.build.scans if scan.length == 1 for state in scan.states)
    origins = {found.build.origin(state) for state in states if isinstance(state, Traced)}
    certain = {names[origin] for origin in origins & names.keys()}
    if not certain.isdisjoint(contexts):
        name = min(certain.intersection(contexts))
        raise ConversionError(f"context: a recurrent layer begins each timestep with {name!r}: it is a state")
    return certain


def _initial(name: str, given: ArrayLike, pairs: Mapping[str, str], found: Traces) -> Array:
    if name not in pairs:
        raise ConversionError(f"initial: {name!r} is no state; states are {listed(pairs)}")
    shape, array = found.inputs[name].shape, np.asarray(given)
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ConversionError(f"initial: {name!r}: expected numbers of shape {shape}, got {array.dtype} {array.shape}")
    return array


def _notes(
    pairs: Mapping[str, str], initial: Mapping[str, Array], fixed: Mapping[str, Array], options: StepOptions
) -> list[str]:
    zeros = [name for name in pairs if name not in initial]
    return [
        "imported literally, as a graph of one timestep",
        f"states, and what they become: {', '.join(f'{name} -> {result}' for name, result in pairs.items())}",
        *([f"states that begin as zeros: {', '.join(zeros)}"] if zeros else []),
        *([f"inputs that were fixed: {', '.join(fixed)}"] if fixed else []),
        *([f"inputs that a stream is given once: {', '.join(options.context)}"] if options.context else []),
        *(f"size {name}: {size} at most" for name, size in options.sizes.items()),
    ]


def _network(
    found: Traces,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    pairs: Mapping[str, str],
    initial: Mapping[str, Array],
    contexts: Sequence[Given],
    source: Source,
) -> Network:
    build, states = found.build, set(pairs.values())
    shown = [port.name for port in outputs if port.name not in states] or list(dict.fromkeys(pairs.values()))
    given = [context.name for context in contexts]
    frames = {name: value for name, value in found.inputs.items() if name not in pairs and name not in given}
    if not frames:
        raise UnsupportedError("every input of the graph is a state or a context: a network needs one that is neither")
    results = {name: build.written(found.outputs[name]) for name in (*shown, *states)}
    begins = {name: build.name_of(array) for name, array in initial.items() if array.any()}
    kept = [Kept(name, found.inputs[name], results[result], begins.get(name)) for name, result in pairs.items()]
    layers = Layers(build, frames, {name: results[name] for name in shown}, kept, contexts)
    network_inputs = layers.inputs()
    network_outputs = layers.add_program()
    tokens = [port.name for port in network_inputs if port.tokens]
    return Network(
        layers=layers.layers,
        weights=layers.weights,
        inputs=network_inputs,
        outputs=network_outputs,
        signature=signature_of(inputs, outputs, pairs, shown, tokens, given),
        source=source,
    )
