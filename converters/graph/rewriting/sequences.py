"""ONNX's sequences of tensors, as PyTorch's scripts write lists, replaced by operators on tensors.

A list is what a tensor is split into, of which elements are read; or what a loop collects, joined behind its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.counting import Carried
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.tracing.parameters import small_integer

SPLIT_PART = "grurt.SplitPart"
"""One output of a Split: inputs and ``axis`` of that, and its ``index``."""


@dataclass(frozen=True)
class Collected:
    """What a loop appends to a list at each timestep, or puts before its first element."""

    timestep: str
    reversed: int


def collected(carried: Carried, body: Mapping[str, Node], around: Mapping[str, Node]) -> Collected | None:
    """Return what a loop collects in a list that it carries; None if it carries something else.

    Parameters
    ----------
    carried
        The list.
    body, around
        The nodes of the loop's body and of the graph around it, by what they write.
    """
    empty, insert = around.get(carried.initial), body.get(carried.handed_on)
    if empty is None or empty.op != "SequenceEmpty" or insert is None or insert.op != "SequenceInsert":
        return None
    if len(insert.inputs) < 2 or insert.inputs[0] != carried.name:
        return None
    if len(insert.inputs) == 2 or not insert.inputs[2]:
        return Collected(insert.inputs[1], reversed=0)
    position = body.get(insert.inputs[2], around.get(insert.inputs[2]))
    first = None if position is None else small_integer(position.attributes.get("value"))  # type: ignore[arg-type]
    return Collected(insert.inputs[1], reversed=1) if first == 0 else None


def without_lists(nodes: Iterable[Node], matcher: Matcher) -> list[Node]:
    """Return nodes that read elements of split tensors, and their number, as nodes that read the tensors."""
    return [part for node in nodes for part in _on_tensors(node, matcher)]


def _on_tensors(node: Node, matcher: Matcher) -> tuple[Node, ...]:
    count = {"SequenceAt": 2, "SequenceLength": 1}.get(node.op, 0)
    split = matcher.producers.get(node.inputs[0]) if node.inputs and len(node.inputs) == count else None
    if split is None or split.op != "SplitToSequence" or not split.inputs or len(node.outputs) != 1:
        return (node,)
    axis, source = split.attributes.get("axis", 0), split.inputs[0]
    if not isinstance(axis, int):
        return (node,)
    sizes = matcher.array(split.inputs[1]) if len(split.inputs) > 1 and split.inputs[1] else None
    is_single = len(split.inputs) < 2 or (sizes is not None and sizes.ndim == 0 and sizes == 1)
    if node.op == "SequenceLength":
        shape = replace(node, op="Shape", inputs=(source,), attributes={"start": axis, "end": axis + 1})
        return (shape,) if is_single and axis >= 0 else (node,)
    if not is_single:
        index = small_integer(matcher.array(node.inputs[1]))
        if index is None:
            return (node,)
        attributes = {"axis": axis, "index": index}
        return (replace(node, op=SPLIT_PART, inputs=(source, split.inputs[1]), attributes=attributes),)
    gather = replace(node, op="Gather", inputs=(source, node.inputs[1]), attributes={"axis": axis})
    if split.attributes.get("keepdims", 1) == 0:
        return (gather,)
    element = f"{node.outputs[0]}/element"
    kept = replace(node, op="Unsqueeze", inputs=(element,), attributes={"axes": (axis,)})
    return (replace(gather, outputs=(element,)), kept)
