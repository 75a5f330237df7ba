"""GRUs that a faulty exporter wrote with ``linear_before_reset=0``.

onnxscript 0.5.7 to 0.7.0, which ``torch.onnx.export(dynamo=True)`` uses, wrote so although a PyTorch GRU always applies
the linear transformation before the reset gate. Such a file gives wrong answers in every runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from grurt.converters.graph.nodes import Graph, Node
from grurt.errors import DesignReason

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

NOTE = "linear_before_reset=0, written by a faulty PyTorch exporter, was repaired to 1"


def refuse_faulty_gru(graph: Graph, nodes: Iterable[Node]) -> None:
    """Raise UnsupportedError if PyTorch wrote a GRU that it cannot mean."""
    for node in nodes:
        if graph.producer == "pytorch" and node.op == "GRU" and node.integer("linear_before_reset", 0) == 0:
            raise node.unsupported(
                "PyTorch wrote it with linear_before_reset=0, which no PyTorch GRU computes: exporters with onnxscript "
                "0.5.7 to 0.7.0 have this fault, and the file gives wrong answers in every runtime",
                "export again with onnxscript 0.7.1 or later, or allow the repair: repair=True, or --repair",
                DesignReason.FAULTY_SOURCE,
            )


def repaired(proto: ModelProto) -> ModelProto | None:
    """Return a copy of the model with its faulty GRUs set right; None if it has none."""
    if proto.producer_name != "pytorch" or not any(map(_is_faulty, _nodes(proto))):
        return None
    from onnx import ModelProto, helper

    copy = ModelProto()
    copy.CopyFrom(proto)
    for node in filter(_is_faulty, _nodes(copy)):
        kept = [entry for entry in node.attribute if entry.name != "linear_before_reset"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("linear_before_reset", 1)])
    return copy


def _nodes(proto: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes of the graph, and of the functions that it may call."""
    for body in (proto.graph, *proto.functions):
        yield from body.node


def _is_faulty(node: NodeProto) -> bool:
    attributes = {entry.name: entry for entry in node.attribute}
    given = attributes.get("linear_before_reset")
    return node.op_type == "GRU" and (given is None or given.i == 0)
