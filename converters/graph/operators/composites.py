"""Activation functions that are several of grurt's layers each."""

from __future__ import annotations

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.rewriting.matching import Var, op
from grurt.converters.graph.rewriting.recompose import spelled_out
from grurt.converters.graph.tracing.elementwise import COMPOSITES, LOG_SIGMOID_OPERATOR
from grurt.converters.graph.tracing.parameters import tensor_input
from grurt.converters.graph.tracing.values import Arguments, Value

spelled_out(LOG_SIGMOID_OPERATOR, op("Log", op("Sigmoid", Var("x"))))


@operator(*COMPOSITES)
def composite(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply an operator of `COMPOSITES`."""
    activation = COMPOSITES[node.op](node)

    def activated(value: str) -> str:
        return build.activate(value, activation, lambda kind: build.name(node, kind))

    return (build.map(node, tensor_input(node, args), activated),)
