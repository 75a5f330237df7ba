"""In which precisions a graph computes: element types as they go from tensor to tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import GraphProto, NodeProto, TensorProto

from grurt.converters.graph.elements import Element
from grurt.network.reference_run import Precision

_FLOATS: dict[int, Precision] = {
    Element.DOUBLE: "float64",
    Element.FLOAT: "float32",
    Element.FLOAT16: "float16",
    Element.BFLOAT16: "bfloat16",
}

_SHAPES = ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_MOVEMENTS = (*_SHAPES, "Concat", "Gather", "Pad", "Slice", "Split", "Where")
"""Operators that give numbers as they are, whatever their precision."""


def precisions(graph: GraphProto, nodes: Iterable[NodeProto]) -> set[Precision]:
    """Return the precisions in which nodes, each after those that it reads, compute something of the graph's inputs.

    An answer that becomes float16 last is not computed in that, nor are weights in what they are stored in.
    """
    nodes = list(nodes)
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    varying = {port.name for port in graph.input} - types.keys()
    types |= {port.name: port.type.tensor_type.elem_type for port in graph.input if port.name in varying}
    read = {name for node in nodes for name in node.input}
    found = set()
    for node in nodes:
        element = next(_elements(node, types), None)
        types |= {name: element for name in node.output if element is not None}
        if varying.isdisjoint(node.input):
            continue
        varying.update(filter(None, node.output))
        is_last = node.op_type == "Cast" and element == Element.FLOAT16 and read.isdisjoint(node.output)
        if element in _FLOATS and node.op_type not in _MOVEMENTS and not is_last:
            found.add(_FLOATS[element])
    return found


def _elements(node: NodeProto, types: dict[str, int]) -> Iterator[int]:
    """Yield the element type of a node's results, first; of operators that give integers, that of what they look at."""
    for attribute in node.attribute:
        if attribute.name == "to" and node.op_type == "Cast":
            yield attribute.i
        elif attribute.name == "value" and node.op_type.startswith("Constant"):
            yield attribute.t.data_type
    if node.op_type == "CastLike":
        yield types.get(node.input[-1], TensorProto.FLOAT)
    yield from (types[name] for name in node.input if types.get(name) in _FLOATS)
