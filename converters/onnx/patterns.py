"""Operators that exporters spell out in several nodes, put together again.

A pattern replaces the last of its nodes; those before it are then read by nobody, and fall out of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from .cells import CellWriter, find_cells, is_unrolled
from .composites import LOG_SIGMOID
from .graph import Graph, Node
from .layer_norms import layer_norm
from .matching import AnyOf, Matcher, Template, Var, op

_X = Var("x")


def _halved_product(factor: Template) -> AnyOf:
    """Return templates of ``x * 0.5 * factor``, multiplied in any order."""
    return AnyOf(
        (
            op("Mul", op("Mul", _X, 0.5), factor),
            op("Mul", op("Mul", _X, factor), 0.5),
            op("Mul", _X, op("Mul", factor, 0.5)),
        )
    )


_ERF = op("Erf", AnyOf((op("Div", _X, math.sqrt(2)), op("Mul", _X, math.sqrt(0.5)))))
_CUBE = AnyOf((op("Pow", _X, 3.0), op("Mul", op("Mul", _X, _X), _X)))
_TANH = op("Tanh", op("Mul", op("Add", _X, op("Mul", _CUBE, 0.044715)), math.sqrt(2 / math.pi)))

_FUNCTIONS: tuple[tuple[Template, str, Mapping[str, str]], ...] = (
    (_halved_product(op("Add", _ERF, 1.0)), "Gelu", {"approximate": "none"}),
    (_halved_product(op("Add", _TANH, 1.0)), "Gelu", {"approximate": "tanh"}),
    (op("Div", _X, op("Add", op("Abs", _X), 1.0)), "Softsign", {}),
    (op("Where", op("Greater", _X, 20.0), _X, op("Softplus", _X)), "Softplus", {}),
    (op("Log", op("Sigmoid", _X)), LOG_SIGMOID, {}),
)
"""Functions of one tensor. PyTorch's softplus is linear above 20, where the difference is below 2.1e-9."""


_LAST = frozenset({"Mul", "Div", "Log", "Where"})


def recompose(graph: Graph) -> Graph:
    """Return the graph with functions and GRU cells as one operator each."""
    matcher = Matcher(graph)
    cells = find_cells(graph.nodes, matcher)
    writer = CellWriter(unrolled=is_unrolled(cells.values(), matcher))
    nodes: list[Node] = []
    for node in graph.nodes:
        if id(node) in cells:
            nodes.append(writer.write(cells[id(node)]))
        else:
            nodes.append(layer_norm(node, matcher) or _function(node, matcher) or node)
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, **writer.constants})


def _function(node: Node, matcher: Matcher) -> Node | None:
    for template, name, attributes in _FUNCTIONS if node.op in _LAST and node.outputs else ():
        bindings = next(matcher.match(template, node.outputs[0]), None)
        if bindings is not None:
            return Node(node.name, name, (bindings["x"],), node.outputs[:1], attributes, node.module)
    return None
