"""Operators that exporters spell out in several nodes, put together again.

The last of these nodes is replaced; those before it are then read by nobody, and fall out of the graph. How an operator
is spelled out is registered where it is converted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace

from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Attribute, Graph, Node
from grurt.converters.graph.rewriting.canonical import canonical
from grurt.converters.graph.rewriting.cells import CellWriter, find_cells, is_unrolled
from grurt.converters.graph.rewriting.chains import with_chained_cells
from grurt.converters.graph.rewriting.convolutions import with_flat_convolutions
from grurt.converters.graph.rewriting.copies import without_copies
from grurt.converters.graph.rewriting.matching import AnyOf, Matcher, Op, Template
from grurt.converters.graph.rewriting.scaled_states import with_scaled_states

Rewrite = Callable[[Node, Matcher], Node | None]
"""Returns the operator that a node, one with outputs, is the last of; None if it is the last of none."""

_REWRITES: dict[str, list[Rewrite]] = defaultdict(list)
"""By the operator that may be the last."""


def rewrites(*last: str) -> Callable[[Rewrite], Rewrite]:
    """Register how an operator is found again whose last node is one of these."""

    def register(rewrite: Rewrite) -> Rewrite:
        for name in last:
            _REWRITES[name].append(rewrite)
        return rewrite

    return register


def spelled_out(name: str, template: Op | AnyOf, **attributes: Attribute) -> None:
    """Register a template of a function of one tensor, ``x``, and the operator that it becomes."""

    def rewrite(node: Node, matcher: Matcher) -> Node | None:
        bindings = next(matcher.match(template, node.outputs[0]), None)
        if bindings is None:
            return None
        return Node(node.name, name, (bindings["x"],), node.outputs[:1], attributes, node.module)

    rewrites(*_last_operators(template))(rewrite)


def recompose(graph: Graph, budget: Budget, kept: Collection[str] = ()) -> Graph:
    """Return the graph with GRU cells, and all that is registered, as one operator each.

    Parameters
    ----------
    graph
        The graph, whose nodes stand each after those that it reads.
    budget
        What may be created.
    kept
        Tensors that must not vanish, beside the graph's outputs.
    """
    graph = without_copies(canonical(graph, kept), budget, kept)
    matcher = Matcher(graph, budget)
    graph = with_chained_cells(with_flat_convolutions(graph, matcher))
    graph = replace(graph, nodes=tuple(_rewritten(node, matcher) or node for node in graph.nodes))
    matcher = Matcher(graph, budget)
    cells = find_cells(graph.nodes, matcher)
    writer = CellWriter(matcher, unrolled=is_unrolled(cells.values(), matcher))
    nodes = [writer.write(cells[id(node)]) if id(node) in cells else node for node in graph.nodes]
    return replace(graph, nodes=tuple(with_scaled_states(nodes)), constants={**graph.constants, **writer.constants})


def _rewritten(node: Node, matcher: Matcher) -> Node | None:
    found = (rewrite(node, matcher) for rewrite in _REWRITES.get(node.op, ()) if node.outputs)
    return next((each for each in found if each is not None), None)


def _last_operators(template: Template) -> set[str]:
    match template:
        case Op(name):
            return {name}
        case AnyOf(templates):
            return set().union(*map(_last_operators, templates))
        case _:
            return set()
