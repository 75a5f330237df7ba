"""Convolutions of sequences that were made images of one row, as TensorFlow convolves them, made flat again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grurt.array_types import Array
from grurt.converters.graph.nodes import Attribute, Graph, Node
from grurt.converters.graph.rewriting.matching import Matcher

_PER_AXIS = ("dilations", "kernel_shape", "strides")


def with_flat_convolutions(graph: Graph, matcher: Matcher) -> Graph:
    """Return the graph with ``Squeeze(Conv(Transpose(Unsqueeze(x))))`` as a Conv of one axis."""
    constants: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        found = _flat(node, matcher) if node.op == "Squeeze" else None
        if found is None:
            nodes.append(node)
        else:
            nodes += found[0]
            constants.update(found[1])
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, **constants})


def _flat(squeeze: Node, matcher: Matcher) -> tuple[list[Node], Mapping[str, Array]] | None:
    """Return the nodes that compute what a Squeeze gives without the axis of the one row, and their weights."""
    conv = _source(squeeze, "Conv", matcher)
    transpose = None if conv is None else _source(conv, "Transpose", matcher)
    unsqueeze = None if transpose is None else _source(transpose, "Unsqueeze", matcher)
    if conv is None or transpose is None or unsqueeze is None or len(conv.inputs) < 2:
        return None
    weight, perm = matcher.array(conv.inputs[1]), transpose.attributes.get("perm")
    added, removed = _axis(unsqueeze, matcher), _axis(squeeze, matcher)
    if weight is None or weight.ndim != 4 or not isinstance(perm, tuple) or sorted(perm) != [0, 1, 2, 3]:
        return None
    if added is None or removed not in (2, 3) or perm[removed] != added or weight.shape[removed] != 1:
        return None
    attributes = _of_one_axis(conv.attributes, kept=3 - removed, removed=removed - 2)
    if attributes is None:
        return None
    stem = squeeze.outputs[0]
    flat = tuple(axis - (axis > added) for axis in map(int, perm) if axis != added)
    names = f"{stem}/transposed", f"{stem}/weight"
    moved = replace(transpose, inputs=unsqueeze.inputs[:1], outputs=names[:1], attributes={"perm": flat})
    inputs = (*names, *conv.inputs[2:])
    return [moved, replace(conv, inputs=inputs, outputs=squeeze.outputs, attributes=attributes)], {
        names[1]: weight.squeeze(axis=removed)
    }


def _source(node: Node, op: str, matcher: Matcher) -> Node | None:
    """Return the node that writes what another reads first, if it is of this operator."""
    found = matcher.producers.get(node.inputs[0]) if node.inputs else None
    return found if found is not None and found.op == op and found.inputs and len(node.outputs) == 1 else None


def _axis(node: Node, matcher: Matcher) -> int | None:
    """Return the one axis, of four, that a Squeeze removes or an Unsqueeze adds."""
    axes = matcher.integers(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes")
    if not isinstance(axes, tuple) or len(axes) != 1 or not isinstance(axes[0], int):
        return None
    return axes[0] % 4


def _of_one_axis(given: Mapping[str, Attribute], kept: int, removed: int) -> dict[str, Attribute] | None:
    """Return the attributes of a Conv for one of its two axes; None if it does something along the other."""
    attributes = dict(given)
    for name in _PER_AXIS:
        values = attributes.get(name)
        if isinstance(values, tuple) and len(values) == 2:
            attributes[name] = (values[kept],)  # type: ignore[assignment]
    pads = attributes.get("pads")
    if isinstance(pads, tuple) and len(pads) == 4:
        if pads[removed] or pads[2 + removed]:
            return None
        attributes["pads"] = (pads[kept], pads[2 + kept])  # type: ignore[assignment]
    return attributes
