"""Graphs of whole sequences that look back only, as one timestep: zeros before the first one become states.

Where a graph pads time in front only, and its recurrent layers start anew with each sequence, it computes timestep by
timestep what it computes of the sequence, if what was padded, and the states of the layers, are kept in between.
Whether it does is tried, in float64, on a sequence of random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from grurt import reference
from grurt.array_types import Array
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.literal.assembly import StepGraph
from grurt.converters.literal.naming import UniqueNames
from grurt.converters.literal.options import StepOptions
from grurt.converters.literal.pairs import Port
from grurt.converters.literal.ports import sequence_signature
from grurt.converters.literal.program import Kept, Layers
from grurt.converters.literal.refusals import refuse_mixed
from grurt.converters.literal.sizes import bound, open_names, with_open_sizes
from grurt.converters.literal.tracing import Traces, traced
from grurt.converters.literal.values import Value, given
from grurt.converters.sampling import SEED, check_products
from grurt.errors import ConversionError, DesignReason, ModelError, UnsupportedError
from grurt.network.costs import NO_LIMITS
from grurt.network.network import Network, Source

_LENGTHS = (24, 12, 6)
"""Timesteps of the sequences that are tried; fewer, where values would be too large."""

_LONG = 1 << 30
"""Timesteps of a sequence that is longer than any which a slice may leave as it is by chance."""

_TOLERANCE = 1e-9
"""Of float64, in proportion to the largest answer."""

_MOST_NUMBERS = 1 << 25
"""Of all values of a sequence that is tried, together."""

_MOST_NAMES = 4
"""Open sizes that may be that of time."""


def network_of_sequences(graph: Graph, source: Source, options: StepOptions) -> StepGraph:
    """Return the network that computes of each timestep what a graph computes of whole sequences.

    Raises
    ------
    ConversionError
        If the graph contradicts itself.
    UnsupportedError
        If its answer to a timestep depends on later ones, or on all.
    """
    graph, fixed = bound(graph, options.bind)
    error: ConversionError | ModelError | None = None
    for name in open_names(graph)[:_MOST_NAMES]:
        try:
            with np.errstate(all="ignore"):  # weights that are not finite are refused by name
                return _along(graph, name, source, fixed)
        except (ConversionError, ModelError) as other:
            error = error or other
    if error is not None:
        raise error
    raise UnsupportedError(
        "no input has an axis of open size with a name, which time could be: export the network with dynamic axes",
        reason=DesignReason.NOT_SAID,
    )


def _along(graph: Graph, name: str, source: Source, fixed: Mapping[str, Array]) -> StepGraph:
    """Return the network of a graph, one timestep along the axes of an open size."""
    one, two = (traced(with_open_sizes(graph, size, name), fixed) for size in (1, 2))
    axes = dict(_axes(one.tensors, two.tensors))
    _refuse_slices(graph.nodes, two.tensors, axes)
    found = traced(with_open_sizes(graph, 1, name), fixed, axes)
    refuse_mixed(found.build.mixed, one.tensors, two.tensors)
    if not found.build.memories:
        raise UnsupportedError(
            f"nothing looks back along {name!r}: a graph without states is no timestep of a network that streams",
            reason=DesignReason.NO_RECURRENCE,
        )
    inputs = [Port(port, value.shape, value.dtype) for port, value in found.inputs.items()]
    outputs = [Port(port.name, found.outputs[port.name].shape, np.dtype(port.dtype)) for port in graph.outputs]
    for port in (*inputs, *outputs):
        if port.name not in axes:
            raise UnsupportedError(f"{port.name[:100]!r}: it has no axis of the size {name!r}, as each timestep needs")
    notes = (
        f"imported literally, one timestep along {name!r} of whole sequences",
        f"states, and what they belong to: {', '.join(str(memory.node) for memory in found.build.memories)}",
    )
    source = msgspec.structs.replace(source, notes=(*source.notes, *notes))
    network = _network(found, inputs, outputs, axes, source)
    _check(network, graph, name, fixed, axes)
    return StepGraph(network, inputs, outputs, {}, fixed, {}, time_axes=axes)


def _axes(tensors: Mapping[str, Value], longer: Mapping[str, Value]) -> Iterator[tuple[str, int]]:
    """Yield the names of tensors that have one axis of open size, and that axis."""
    for name, value in tensors.items():
        other = longer.get(name)
        if other is not None and other.ndim == value.ndim:
            sizes = zip(value.shape, other.shape, strict=True)
            different = [axis for axis, (size, size_of_two) in enumerate(sizes) if size != size_of_two]
            if len(different) == 1:
                yield name, different[0]


def _refuse_slices(nodes: Iterable[Node], tensors: Mapping[str, Value], axes: Mapping[str, int]) -> None:
    """Raise UnsupportedError for a node that leaves timesteps out, be it of long sequences only."""
    for node in nodes:
        if node.op == "Slice" and node.inputs[0] in axes:
            args = tuple(tensors.get(name) for name in node.inputs)
            axis, shape = axes[node.inputs[0]], list(given(node, args).shape)
            shape[axis] = _LONG
            kept = parameters.slice_ranges(node, args, tuple(shape), [False] * len(shape))
            if kept.get(axis, range(_LONG)) != range(_LONG):
                raise node.unsupported("it leaves timesteps out", reason=DesignReason.WHOLE_SEQUENCE)


def _network(
    found: Traces, inputs: Sequence[Port], outputs: Sequence[Port], axes: Mapping[str, int], source: Source
) -> Network:
    build, names = found.build, UniqueNames(found.inputs)
    shown = {port.name: build.written(found.outputs[port.name]) for port in outputs}
    kept = [
        Kept(
            names.new(f"{next(filter(None, memory.node.outputs))}.state", "state"),
            memory.value,
            memory.result,
            build.name_of(memory.begins) if memory.begins.any() else None,
        )
        for memory in build.memories
    ]
    layers = Layers(build, found.inputs, shown, kept)
    network_inputs = layers.inputs()
    network_outputs = layers.add_program()
    return Network(
        layers=layers.layers,
        weights=layers.weights,
        inputs=network_inputs,
        outputs=network_outputs,
        signature=sequence_signature(inputs, outputs, axes, [port.name for port in network_inputs if port.tokens]),
        source=source,
    )


def _check(network: Network, graph: Graph, name: str, fixed: Mapping[str, Array], axes: Mapping[str, int]) -> None:
    """Raise UnsupportedError unless a network answers timestep by timestep what the graph answers to a sequence."""
    whole, as_one_step, steps = _whole(graph, name, fixed)
    check_products(network, steps)
    random = np.random.default_rng(SEED)
    feed, frames = {}, {}
    for port in network.inputs:
        shape = whole.inputs[port.name].shape
        numbers = random.integers(port.size, size=shape) if port.tokens else random.normal(size=shape)
        feed[port.name] = numbers.reshape(1, -1)
        frames[port.name] = _by_time(numbers, axes[port.name], tokens=port.tokens)
    answers, _ = reference.run(network, frames)
    expected, _ = reference.run(as_one_step, feed)
    for output, found in answers.items():
        wanted = _by_time(expected[output].reshape(whole.outputs[output].shape), axes[output])
        scale = max(1.0, float(np.abs(wanted).max()))
        if found.shape != wanted.shape or not float(np.abs(found - wanted).max()) <= _TOLERANCE * scale:
            raise UnsupportedError(
                f"output {output[:100]!r}: its answer to one of {steps} timesteps depends on later ones, or on all",
                reason=DesignReason.WHOLE_SEQUENCE,
            )


def _whole(graph: Graph, name: str, fixed: Mapping[str, Array]) -> tuple[Traces, Network, int]:
    """Return a graph of a sequence as long as may be, that as a network of one timestep, and of how many timesteps."""
    *longer, shortest = _LENGTHS
    for steps in longer:
        try:
            return *_of_length(graph, name, fixed, steps), steps
        except UnsupportedError:  # too large
            continue
    return *_of_length(graph, name, fixed, shortest), shortest


def _of_length(graph: Graph, name: str, fixed: Mapping[str, Array], steps: int) -> tuple[Traces, Network]:
    found = traced(with_open_sizes(graph, steps, name), fixed)
    if sum(map(math.prod, found.build.shapes.values())) > _MOST_NUMBERS:
        raise UnsupportedError(f"a sequence of {steps} timesteps is too large to be tried", reason=DesignReason.SIZE)
    return found, _as_one_step(found)


def _as_one_step(found: Traces) -> Network:
    """Return a graph that was interpreted as a network of one timestep, without states."""
    shown = {name: found.build.written(value) for name, value in found.outputs.items()}
    found.build.scans.clear()  # which start anew with each sequence, as they should
    layers = Layers(found.build, found.inputs, shown, ())
    inputs = layers.inputs()
    outputs = layers.add_program()
    return Network(layers=layers.layers, weights=layers.weights, inputs=inputs, outputs=outputs, limits=NO_LIMITS)


def _by_time(array: Array, axis: int, *, tokens: bool = False) -> Array:
    """Return an array as a vector for each place of an axis; tokens as one number."""
    moved = np.moveaxis(array, axis, 0)
    return moved.reshape(-1) if tokens else moved.reshape(moved.shape[0], math.prod(moved.shape[1:]))
