"""Buffers that a loop fills position by position, ``y[:, t] = h``: what is written there, side by side."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.rewriting.recompose import rewrites
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.values import MAX_STACK

_BYTES_PER_STEP = 4096
"""What following one step of a chain is worth, of looking through bytes."""


@rewrites("ScatterElements")
def filled_buffer(node: Node, matcher: Matcher) -> Node | None:
    """Return the Concat of what is written into a constant, where that is overwritten at every position of an axis."""
    axis = node.attributes.get("axis", 0)
    parts: dict[int, str] = {}
    indices: list[Array] = []
    each: Node | None = node
    base = ""
    while each is not None and each.op == "ScatterElements" and len(parts) < MAX_STACK:
        index = matcher.array(each.inputs[1]) if len(each.inputs) == 3 else None
        is_plain = each.attributes.get("reduction", "none") == "none" and each.attributes.get("axis", 0) == axis
        if index is None or not index.size or not is_plain:
            return None
        compact = without_repeats(index)
        matcher.budget.read(_BYTES_PER_STEP + compact.nbytes, node)
        if np.ptp(compact):
            return None
        parts.setdefault(int(compact.flat[0]), each.inputs[2])  # what is written last comes first here
        indices.append(index)
        base = each.inputs[0]
        each = matcher.producers.get(base)
    buffer = matcher.array(base)
    if buffer is None or not isinstance(axis, int) or not 0 <= axis < buffer.ndim:
        return None
    written = (*buffer.shape[:axis], 1, *buffer.shape[axis + 1 :])
    if set(parts) != set(range(buffer.shape[axis])) or any(index.shape != written for index in indices):
        return None
    return Node(node.name, "Concat", tuple(parts[place] for place in sorted(parts)), node.outputs[:1], {"axis": axis})
