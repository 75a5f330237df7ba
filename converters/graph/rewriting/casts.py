"""Takes conversions between floating-point types out of a graph: grurt computes all in float32."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters.graph.elements import Element
from grurt.converters.graph.nodes import Graph, Node

_FLOATS = (Element.FLOAT, Element.DOUBLE, Element.FLOAT16, Element.BFLOAT16)

_LAYERS = [
    "BatchNormalization",
    "Conv",
    "Dropout",
    "GRU",
    "Gemm",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "MatMul",
    "RMSNormalization",
]
_FUNCTIONS = [
    "Abs",
    "Celu",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Mish",
    "Neg",
    "PRelu",
    "Reciprocal",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
]
_ARITHMETIC = [
    "Add",
    "Div",
    "Max",
    "Min",
    "Mul",
    "Pow",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Sub",
    "Sum",
]
_MOVEMENTS = [
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
]
_OF_FIRST = frozenset(_LAYERS + _FUNCTIONS + _ARITHMETIC + _MOVEMENTS)
"""Operators that give floating-point numbers where their first input holds them."""


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
        if to_float or (is_float and node.op in _OF_FIRST):
            floats.update(node.outputs)
    return replace(graph, nodes=tuple(nodes))
