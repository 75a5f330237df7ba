"""Branches on the size of an axis: what ``torch.onnx.export`` writes for ``x.squeeze(axis)`` where it cannot tell it.

::

    If(Equal(Gather(Shape(x), axis), 1))  then Squeeze(x, axis)  else Identity(x)

becomes one operator, which looks at the size once it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Body, Graph, Node
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.tracing.folding import Folder

SQUEEZE_UNIT = "grurt.SqueezeUnit"
"""Drops an axis if its size is 1. Attributes: the ``axis``."""


def without_branches_on_sizes(graph: Graph, budget: Budget) -> Graph:
    """Return a graph without such branches; others stay."""
    if not any(node.op == "If" for node in graph.nodes):
        return graph
    matcher, folder = Matcher(graph, budget), Folder(budget)
    nodes = (_conditional_squeeze(node, matcher, folder) if node.op == "If" else node for node in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def _conditional_squeeze(node: Node, matcher: Matcher, folder: Folder) -> Node:
    """Return what stands for an If: itself if it is something else."""
    squeeze, identity = (_only_node(node.attributes.get(name), folder) for name in ("then_branch", "else_branch"))
    if squeeze is None or identity is None or len(node.inputs) != 1 or len(node.outputs) != 1:
        return node
    (one, constants), (other, _) = squeeze, identity
    if (one.op, other.op) != ("Squeeze", "Identity") or not other.inputs or one.inputs[:1] != other.inputs:
        return node
    axis = _axis_of_unit(node.inputs[0], one.inputs[0], matcher)
    if axis is None or _squeezed(one, constants, matcher) != axis:
        return node
    return Node(node.name, SQUEEZE_UNIT, one.inputs[:1], node.outputs, {"axis": axis}, node.module)


def _only_node(body: object, folder: Folder) -> tuple[Node, Mapping[str, Array]] | None:
    """Return the node that alone makes what a branch gives, and the constants beside it; None if there are more."""
    if not isinstance(body, Body) or body.inputs or len(body.outputs) != 1:
        return None
    others = [node for node in body.nodes if node.op != "Constant"]
    if len(others) != 1 or others[0].outputs != body.outputs:
        return None
    constants = dict(body.constants)
    for node in body.nodes:
        if node.op == "Constant":
            constants.update(zip(node.outputs, folder.fold(node, ()), strict=False))
    return others[0], constants


def _axis_of_unit(condition: str, tensor: str, matcher: Matcher) -> int | None:
    """Return the axis of a tensor that a condition says to be of size 1; None if it says something else."""
    equal = matcher.producers.get(condition)
    if equal is None or equal.op != "Equal" or len(equal.inputs) != 2:
        return None
    for size, one in (equal.inputs, equal.inputs[::-1]):
        gather = matcher.producers.get(size)
        if gather is None or gather.op != "Gather" or len(gather.inputs) != 2 or gather.attributes.get("axis", 0) != 0:
            continue
        shape = matcher.producers.get(gather.inputs[0])
        is_whole = shape is not None and shape.op == "Shape" and shape.inputs == (tensor,) and not shape.attributes
        if is_whole and _integer(matcher.array(one)) == 1:
            return _integer(matcher.array(gather.inputs[1]))
    return None


def _squeezed(node: Node, constants: Mapping[str, Array], matcher: Matcher) -> int | None:
    """Return the axis that a Squeeze drops, which is an input of it, or an attribute; None if there are others."""
    if len(node.inputs) > 1:
        axes = constants.get(node.inputs[1])
        return _integer(matcher.array(node.inputs[1]) if axes is None else axes)
    listed = node.attributes.get("axes")
    return _integer(np.array(listed)) if isinstance(listed, tuple) else None


def _integer(array: Array | None) -> int | None:
    """Return the only number of an array of integers; None for others."""
    return int(array.reshape(-1)[0]) if array is not None and array.dtype.kind == "i" and array.size == 1 else None
