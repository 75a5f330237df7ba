"""The parts of a network, out of the layers that a graph was found to compute with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from grurt.converters.graph.assembly.fusion import fuse_biases, fuse_projections
from grurt.converters.graph.assembly.inputs import input_port, network_input
from grurt.converters.graph.assembly.interpret import Interpretation
from grurt.converters.graph.assembly.outputs import output_ports
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Graph
from grurt.errors import DesignReason, UnsupportedError
from grurt.network.inputs import Output
from grurt.network.layers import Conv1d
from grurt.network.network import Source
from grurt.network.signature import Signature, StatePort, ValuePort
from grurt.network.values import MAX_LAYERS

if TYPE_CHECKING:
    from grurt.network.network import Parts


def assemble(graph: Graph, found: Interpretation, source: Source) -> Parts:
    """Return the layers, weights, inputs and outputs of an interpreted graph.

    Raises
    ------
    UnsupportedError
        If an input or output has axes that no stream has, states do not belong to GRUs one to one, or there are too
        many layers.
    """
    outputs = output_ports(graph, found)
    build = found.build
    renamed = fuse_biases(build, (value for _, value in outputs if value))
    fuse_projections(build, (renamed.get(value, value) for _, value in outputs if value))
    shown = [Output(port.name, renamed.get(value, value)) for port, value in outputs if value]
    inputs = [input_port(port, found) for port in graph.inputs]
    ports = (*inputs, *(port for port, _ in outputs))
    with_state = [name for port in ports if isinstance(port, StatePort) for name in port.states]
    build.prune([*(output.value for output in shown), *with_state])
    for name in build.layers:
        if name in build.refused:
            raise build.refused[name]
    if len(build.layers) > MAX_LAYERS:
        raise UnsupportedError(
            f"a model may have {MAX_LAYERS} layers, got a graph of {len(build.layers)}; convert a part of it",
            reason=DesignReason.SIZE,
        )
    _refuse_history_of_padding(build)
    if build.lengths and build.masked_by not in ("", build.lengths):
        raise UnsupportedError(
            f"input {build.masked_by[:100]!r}: masks are made of it, and GRUs read other lengths of packed sequences; "
            "give the lengths as one input"
        )
    return {
        "layers": tuple(build.layers.values()),
        "weights": build.weights,
        "inputs": tuple(network_input(port, found) for port in inputs if isinstance(port, ValuePort)),
        "outputs": tuple(shown),
        "signature": Signature(
            tuple(inputs), tuple(port for port, _ in outputs), build.lengths if isinstance(build.lengths, tuple) else ()
        ),
        "source": msgspec.structs.replace(source, notes=(*source.notes, *_notes(build))),
    }


def _notes(build: Builder) -> Iterator[str]:
    """Yield what the file says of the length of sequences, and the model does not."""
    sizes = sorted({loop.time.size for name, loop in build.loops.items() if name in build.layers and build.unrolled})
    if sizes:
        listed = " or ".join(map(str, sizes))
        yield f"the file computes {listed} timesteps one by one, and the model as many as a sequence has"


def _refuse_history_of_padding(build: Builder) -> None:
    """Refuse convolutions behind a GRU of padded sequences: past the ends they would read what the source does not."""
    silent: set[str] = set()
    for layer in build.layers.values() if build.lengths else ():
        if layer.resamples:
            raise UnsupportedError(
                f"layer {layer.name!r}: it reads windows of sequences that have lengths, in the source also of what is "
                "behind the ends; export the model without lengths, or with convolutions that pad on the left only"
            )
        follows = any(source in silent for source in layer.inputs)
        if follows and isinstance(layer, Conv1d):
            raise UnsupportedError(
                f"layer {layer.name!r}: a convolution behind a GRU with sequence_lens is not supported; "
                "convolve before the GRU, or export the model without lengths"
            )
        if follows or layer.silent_past_end:
            silent.add(layer.name)
