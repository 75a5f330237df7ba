"""What an ONNX model says of itself beside its graph: how its inputs and outputs are declared, and who wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto

from grurt.converters.graph.nodes import Declaration
from grurt.converters.onnx.reading import declaration
from grurt.converters.onnx.tensors import text

_NO_VERSION = (1 << 63) - 1
"""What onnxruntime says where a model has no version."""


@dataclass(frozen=True)
class Declared:
    """Inputs and outputs as a model declares them, in its order, and its metadata as text.

    Attributes
    ----------
    inputs, outputs
        By name; inputs without those that the file has values for.
    producer_name, graph_name, domain, description, graph_description, version, custom_metadata
        The fields of the file.
    """

    inputs: Mapping[str, Declaration]
    outputs: Mapping[str, Declaration]
    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata: Mapping[str, str]


def declared(proto: ModelProto) -> Declared:
    """Return what a parsed model says of itself; raises what reading its graph raises."""
    graph = proto.graph
    known = {text(tensor.name) for tensor in graph.initializer} | {
        text(tensor.values.name) for tensor in graph.sparse_initializer
    }
    return Declared(
        inputs={port.name: declaration(port) for port in graph.input if port.name not in known},
        outputs={port.name: declaration(port) for port in graph.output},
        producer_name=text(proto.producer_name),
        graph_name=text(graph.name),
        domain=text(proto.domain),
        description=text(proto.doc_string),
        graph_description=text(graph.doc_string),
        version=int(proto.model_version) if proto.HasField("model_version") else _NO_VERSION,
        custom_metadata={text(entry.key): text(entry.value) for entry in proto.metadata_props},
    )
