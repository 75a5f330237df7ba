"""Takes conversions between floating-point types out of a graph: grurt computes all in float32."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

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
"""Operators that read floating-point numbers, and give others."""

_ALL_ALIKE = ("GRU", "Split")
"""Operators whose results are all like the first: others also give places, or what they dropped."""


def without_float_casts(graph: Graph, kept: Collection[str] = ()) -> Graph:
    """Return the graph with every node reading what a conversion reads, rather than what it writes.

    A conversion stays if the graph's outputs, or the tensors ``kept``, are what it writes. The graph's nodes are in an
    order in which each comes after those that it reads. A cell whose parts are of several types, as mixed precision has
    them, is one that is known then. Conversions from integers and conditions stay.
    """
    floats = {name for name, array in graph.constants.items() if array.dtype.kind == "f"}
    floats |= {port.name for port in graph.inputs if "float" in port.dtype}
    wanted = {*kept, *(port.name for port in graph.outputs)}
    origins: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if not origins.keys().isdisjoint(node.inputs):
            node = replace(node, inputs=tuple(origins.get(name, name) for name in node.inputs))
        is_float = not floats.isdisjoint(node.inputs[1:] if node.op == "Where" else node.inputs[:1])
        to_float = node.op == "Cast" and node.attributes.get("to") in _FLOATS
        if to_float and is_float and len(node.outputs) == 1:
            origins[node.outputs[0]] = node.inputs[0]
        if wanted.intersection(node.outputs) or origins.keys().isdisjoint(node.outputs):
            nodes.append(node)
        if to_float or (is_float and node.op not in _OF_OTHERS) or _is_float_constant(node):
            floats.update(node.outputs if node.op in _ALL_ALIKE else node.outputs[:1])
    return replace(graph, nodes=tuple(nodes))


def _is_float_constant(node: Node) -> bool:
    """Say whether a node gives constants of floating point: ConstantOfShape does by default."""
    value = node.attributes.get("value")
    if isinstance(value, np.ndarray):
        return node.op in ("Constant", "ConstantOfShape") and value.dtype.kind == "f"
    return node.op == "ConstantOfShape" and value is None
