"""Takes conversions between floating-point types out of a graph: grurt computes all in float32."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters.graph.elements import Element
from grurt.converters.graph.nodes import Graph, Node

_FLOATS = (Element.FLOAT, Element.DOUBLE, Element.FLOAT16, Element.BFLOAT16)

_COMPARISONS = (
    "And",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "Not",
    "Or",
    "Xor",
)
_COUNTS = ("ArgMax", "ArgMin", "Cast", "CastLike", "NonZero", "OneHot", "QuantizeLinear", "Shape", "Size", "Unique")
_OF_OTHERS = frozenset(_COMPARISONS + _COUNTS)
"""Operators that read floating-point numbers first, and give others."""

_ALL_ALIKE = ("GRU", "Split")
"""Operators whose results are all like the first: others also give places, or what they dropped."""


def without_float_casts(graph: Graph) -> Graph:
    """Return the graph with every node reading what a conversion reads, rather than what it writes.

    Its nodes are in an order in which each comes after those that it reads. A cell whose parts are of several types, as
    mixed precision has them, is one that is known then. Conversions from integers and conditions stay.
    """
    floats = {name for name, array in graph.constants.items() if array.dtype.kind == "f"}
    floats |= {port.name for port in graph.inputs if "float" in port.dtype}
    origins: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if not origins.keys().isdisjoint(node.inputs):
            node = replace(node, inputs=tuple(origins.get(name, name) for name in node.inputs))
        nodes.append(node)
        is_float = bool(node.inputs) and node.inputs[0] in floats
        to_float = node.op == "Cast" and node.attributes.get("to") in _FLOATS
        if to_float and is_float and len(node.outputs) == 1:
            origins[node.outputs[0]] = node.inputs[0]
        if to_float or (is_float and node.op not in _OF_OTHERS):
            floats.update(node.outputs if node.op in _ALL_ALIKE else node.outputs[:1])
    return replace(graph, nodes=tuple(nodes))
