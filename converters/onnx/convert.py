"""ONNX files to networks: the steps, in order."""

from __future__ import annotations

from pathlib import Path

import msgspec
from onnx import ModelProto

from grurt.converters.graph.assembly.network import network_of_graph
from grurt.converters.graph.elements import NO_BFLOAT16, Element
from grurt.converters.graph.nodes import Graph, is_weight
from grurt.converters.literal.assembly import StepGraph
from grurt.converters.literal.choice import imported
from grurt.converters.literal.options import ImportOptions
from grurt.converters.onnx.narrow import name_of_integers
from grurt.converters.onnx.reading import parse_model, read_graph
from grurt.converters.onnx.reference import fed_reference_run, reference_run
from grurt.converters.onnx.refusals import refusals_of_optimized, refuse_graph
from grurt.converters.onnx.repair import NOTE, refuse_faulty_gru, repaired
from grurt.converters.onnx.tensors import ExternalData
from grurt.converters.reference import attach_reference
from grurt.network.network import Network, Source
from grurt.regular_files import read_regular_file

_EITHER = ImportOptions()


def network_of_file(path: Path, *, repair: bool, reference: bool, options: ImportOptions) -> Network:
    """Return the network in an ONNX file. See `converters.convert_onnx`."""
    source = Source(format="onnx", file=path.name)
    data = read_regular_file(path)
    size, proto = len(data), parse_model(data)
    del data
    return network_of_proto(
        proto, size=size, folder=path.parent, source=source, repair=repair, reference=reference, options=options
    )


def network_of_bytes(
    data: bytes, *, source: Source, reference: bool = False, options: ImportOptions = _EITHER
) -> Network:
    """Return the network in an ONNX model in memory, with its weights inside.

    ``source`` is what the network says it comes from; the producer is taken from the model if it is empty.
    """
    return network_of_proto(
        parse_model(data), size=len(data), folder=None, source=source, reference=reference, options=options
    )


def network_of_proto(
    proto: ModelProto,
    *,
    folder: Path | None,
    source: Source,
    size: int | None = None,
    repair: bool = False,
    reference: bool = False,
    options: ImportOptions = _EITHER,
) -> Network:
    """Return the network in a parsed ONNX model, whose external data files, if any, lie in ``folder``.

    ``size`` is that of the file, where it is known; ``options`` say how the graph is imported.
    """
    mended = repaired(proto) if repair else None
    external = ExternalData(folder)
    graph = read_graph(mended or proto, external, proto.ByteSize() if size is None else size)
    notes = [NOTE] * (mended is not None) + _precision_notes(graph) + _port_notes(proto)
    producer = source.producer or f"{graph.producer} {graph.producer_version}".strip()
    source = msgspec.structs.replace(source, producer=producer, notes=(*source.notes, *notes))
    with refusals_of_optimized(proto):
        converted = imported(
            graph,
            source,
            options,
            lambda: network_of_graph(graph, source, refuse_graph),
            lambda graph: refuse_faulty_gru(graph, graph.nodes),
        )
    if not reference:
        return converted.network
    if isinstance(converted, StepGraph):
        return attach_reference(converted.network, lambda: fed_reference_run(converted, mended or proto, external))
    return attach_reference(converted.network, lambda: reference_run(converted, mended or proto, external))


def _port_notes(proto: ModelProto) -> list[str]:
    elements = {port.type.tensor_type.elem_type for port in (*proto.graph.input, *proto.graph.output)}
    return [NO_BFLOAT16] if Element.BFLOAT16 in elements else []


def _precision_notes(graph: Graph) -> list[str]:
    names = {array.dtype.name for array in graph.constants.values() if is_weight(array)} - {"float32"}
    scaled = {node.inputs[0] for node in graph.nodes if node.op == "DequantizeLinear" and node.inputs}
    integers = {name_of_integers(graph.constants[name].dtype) for name in scaled & graph.constants.keys()}
    return [
        *(f"weights of {name} were converted to float32" for name in sorted(names)),
        *(f"weights of {name}, with a scale, were converted to float32" for name in sorted(integers)),
    ]
