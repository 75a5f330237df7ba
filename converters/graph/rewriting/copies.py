"""Operators that give what they are given, left out: copies, and choices that are always the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.rewriting.matching import Matcher

_ELEMENTWISE = ("Add", "Sub", "Mul")
_MAX_SUM = 4
"""How deep a sum is looked into for a tensor that it is as large as."""

_OTHER_SIZES = (1009, 4003)
"""What sizes may be that the file leaves open."""


def without_copies(graph: Graph, budget: Budget, kept: Collection[str] = ()) -> Graph:
    """Return the graph without operators that change nothing.

    Parameters
    ----------
    graph
        The graph, whose nodes stand each after those that it reads.
    budget
        What may be created.
    kept
        Tensors that must not vanish, beside the graph's outputs.
    """
    matcher = Matcher(graph, budget)
    shapes = {port.name: port.shape for port in graph.inputs if port.shape is not None}
    kept_names = {*kept, *(port.name for port in graph.outputs)}
    copies: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        if any(name in copies for name in node.inputs):
            node = replace(node, inputs=tuple(copies.get(name, name) for name in node.inputs))
        source = _copied(node, shapes, matcher)
        if source is not None and node.outputs[0] not in kept_names:
            copies[node.outputs[0]] = source
            continue
        matcher.producers.update(dict.fromkeys(filter(None, node.outputs), node))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _copied(node: Node, shapes: Mapping[str, tuple[int | str | None, ...]], matcher: Matcher) -> str | None:
    """Return the tensor that a node copies; None if it makes something else."""
    if len(node.outputs) != 1 or not node.inputs or not node.inputs[0]:
        return None
    if node.op == "Where" and len(node.inputs) == 3:
        condition = _condition(node.inputs[0], shapes, matcher)
        if condition is not None:
            chosen, other = node.inputs[1:] if condition else node.inputs[:0:-1]
            return chosen if _is_as_large(chosen, other, matcher) else None
    return None


def _condition(name: str, shapes: Mapping[str, tuple[int | str | None, ...]], matcher: Matcher) -> bool | None:
    """Return a condition that is the same for all data, of a tensor's size at most; None for another."""
    array = matcher.array(name)
    if array is not None:
        return _truth(array)
    source = _shape_read(name, matcher)
    shape = shapes.get(source) if source is not None else None
    if source is None or shape is None:
        return None
    found = set()
    for other in _OTHER_SIZES:
        given = tuple(size if isinstance(size, int) else other + index for index, size in enumerate(shape))
        array = matcher.array_given(name, source, given)
        found.add(_truth(array))
    return found.pop() if len(found) == 1 else None


def _truth(array: Array | None) -> bool | None:
    return bool(array.item()) if array is not None and array.size == 1 and array.dtype.kind == "b" else None


def _shape_read(name: str, matcher: Matcher) -> str | None:
    """Return the tensor whose shape a condition compares."""
    for _ in range(MAX_RANK):
        node = matcher.producers.get(name)
        if node is None or not node.inputs:
            return None
        if node.op == "Shape":
            return node.inputs[0]
        name = next((each for each in node.inputs if each and matcher.array(each) is None), "")
    return None


def _is_as_large(one: str, other: str, matcher: Matcher) -> bool:
    """Say whether a tensor is found to have no axis along which another would repeat it."""
    summands = {one}
    for _ in range(_MAX_SUM):
        nodes = [matcher.producers.get(name) for name in summands]
        summands |= {name for each in nodes if each is not None and each.op in _ELEMENTWISE for name in each.inputs}
    node = matcher.producers.get(other)
    shape = matcher.producers.get(node.inputs[0]) if node is not None and node.op == "ConstantOfShape" else None
    return other in summands or (shape is not None and shape.op == "Shape" and shape.inputs == (one,))
