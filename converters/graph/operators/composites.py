"""Activation functions that are several of grurt's layers each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grurt.converters.activations import (
    HARD_SWISH,
    LOG_SIGMOID,
    MISH,
    Composite,
    celu,
    hard_shrink,
    selu,
    soft_shrink,
    swish,
)
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.rewriting.matching import Var, op
from grurt.converters.graph.rewriting.recompose import spelled_out
from grurt.converters.graph.tracing.parameters import tensor_input
from grurt.converters.graph.tracing.values import Arguments, Value

_LOG_SIGMOID = "grurt.LogSigmoid"
"""The logarithm of a sigmoid, which ONNX has no operator for."""


def _celu(node: Node) -> Composite:
    alpha = node.number("alpha", 1.0)
    if alpha == 0:
        raise node.invalid("its alpha is 0")
    return celu(alpha)


def _shrink(node: Node) -> Composite:
    threshold, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    if threshold < 0 or bias not in (0.0, threshold):
        raise node.unsupported(f"its lambd is {threshold} and its bias {bias}", "supported are hard and soft shrinkage")
    return soft_shrink(threshold) if bias else hard_shrink(threshold)


_COMPOSITES: Mapping[str, Callable[[Node], Composite]] = {
    "Celu": _celu,
    "HardSwish": lambda node: HARD_SWISH,
    "Mish": lambda node: MISH,
    "Shrink": _shrink,
    "Selu": lambda node: selu(node.number("alpha", 1.6732632), node.number("gamma", 1.050701)),
    "Swish": lambda node: swish(node.number("alpha", 1.0)),
    _LOG_SIGMOID: lambda node: LOG_SIGMOID,
}
"""Operators with the parameters that the ONNX specification gives them by default."""

spelled_out(_LOG_SIGMOID, op("Log", op("Sigmoid", Var("x"))))


@operator(*_COMPOSITES)
def composite(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply an operator of the table above."""
    activation = _COMPOSITES[node.op](node)

    def activated(value: str) -> str:
        return build.activate(value, activation, lambda kind: build.name(node, kind))

    return (build.map(node, tensor_input(node, args), activated),)
