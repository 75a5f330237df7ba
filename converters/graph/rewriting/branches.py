"""Branches that do not depend on the data: PyTorch's older exporter asks for a size that it does not know.

``x.squeeze(1)`` becomes ``If(Equal(Gather(Shape(x), 1), 1))``, a Squeeze in one branch, an Identity in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grurt.array_types import Array
from grurt.converters.graph.nodes import Body, Graph, Node
from grurt.converters.graph.tracing.parameters import small_integer

SQUEEZE_IF_ONE = "grurt.SqueezeIfOne"
"""Removes the axis of its attribute ``axis`` if its size is 1."""


def without_branches_of_sizes(graph: Graph) -> Graph:
    """Return the graph with one operator in place of each If that squeezes an axis where its size is 1."""
    if not any(node.op == "If" for node in graph.nodes):
        return graph
    producers = graph.producers()
    nodes = tuple(_squeeze(node, producers, graph.constants) or node for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _squeeze(node: Node, producers: Mapping[str, Node], constants: Mapping[str, Array]) -> Node | None:
    """Return the operator that an If of a Squeeze and an Identity of one tensor stands for; None if it is another."""
    then, otherwise = (node.attributes.get(name) for name in ("then_branch", "else_branch"))
    if node.op != "If" or not isinstance(then, Body) or not isinstance(otherwise, Body) or len(node.inputs) != 1:
        return None
    squeeze, identity = _last(then), _last(otherwise)
    asked = _asked_for(node.inputs[0], producers, constants)
    if squeeze is None or identity is None or asked is None or (squeeze.op, identity.op) != ("Squeeze", "Identity"):
        return None
    own = {**constants, **then.constants}
    axes = squeeze.attributes.get("axes")
    axis = axes[0] if isinstance(axes, tuple) and len(axes) == 1 else _number(squeeze.inputs[1:2], _by_name(then), own)
    if {squeeze.inputs[:1], identity.inputs[:1]} != {(asked[0],)} or axis != asked[1]:
        return None
    return Node(node.name, SQUEEZE_IF_ONE, (asked[0],), node.outputs, {"axis": asked[1]}, node.module)


def _last(body: Body) -> Node | None:
    """Return the node of a branch that computes, and writes its only output; None if others compute too."""
    found = [node for node in body.nodes if node.op != "Constant"]
    return found[0] if len(found) == 1 and found[0].outputs[:1] == body.outputs else None


def _asked_for(name: str, producers: Mapping[str, Node], constants: Mapping[str, Array]) -> tuple[str, int] | None:
    """Return the tensor and the axis of which a condition asks whether its size is 1; None if it asks another thing."""
    equal = producers.get(name)
    if equal is None or equal.op != "Equal" or _number(equal.inputs[1:2], producers, constants) != 1:
        return None
    gather = producers.get(equal.inputs[0])
    shape = producers.get(gather.inputs[0]) if gather is not None and gather.op == "Gather" and gather.inputs else None
    if gather is None or shape is None or shape.op != "Shape" or shape.attributes or gather.attributes.get("axis", 0):
        return None
    axis = _number(gather.inputs[1:2], producers, constants)
    return None if axis is None or not shape.inputs else (shape.inputs[0], axis)


def _by_name(body: Body) -> dict[str, Node]:
    return {name: node for node in body.nodes for name in node.outputs}


def _number(names: tuple[str, ...], producers: Mapping[str, Node], constants: Mapping[str, Array]) -> int | None:
    """Return the integer that a tensor holds, of which there is one name or none; None if it is not constant."""
    for name in names:
        node = producers.get(name)
        value = constants.get(name) if node is None or node.op != "Constant" else node.attributes.get("value")
        return small_integer(value)  # type: ignore[arg-type]
    return None
