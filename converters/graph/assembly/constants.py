"""Nodes that read nothing but constants, evaluated once, before anything is looked for in a graph.

So weights are found where an exporter has transposed, cast, scaled or dequantized them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.folding import Folder
from grurt.errors import UnsupportedError

_LARGEST_REPEATED = 1 << 16
"""Elements of an array that repeats a smaller one and is made a constant all the same: who looks for something in a
graph looks through its constants, and does not see that they repeat themselves."""


def with_constants_folded(graph: Graph, nodes: Sequence[Node], budget: Budget) -> Graph:
    """Return a graph of these nodes, each after those that it reads, with what is constant computed.

    What cannot be computed is left for the interpretation to refuse.
    """
    folder = Folder(budget)
    constants = dict(graph.constants)
    kept = []
    for node in nodes:
        results = _evaluated(node, constants, folder)
        if results is None:
            kept.append(node)
        else:
            constants.update((name, array) for name, array in zip(node.outputs, results, strict=False) if name)
    return replace(graph, nodes=tuple(kept), constants=constants)


def _evaluated(node: Node, constants: dict[str, Array], folder: Folder) -> tuple[Array, ...] | None:
    if not folder.folds_early(node) or any(name and name not in constants for name in node.inputs):
        return None
    try:
        results = folder.fold(node, tuple(constants[name] if name else None for name in node.inputs))
    except UnsupportedError:
        return None
    is_whole = len(results) >= len(list(filter(None, node.outputs))) and not node.unread()
    return results if is_whole and not any(map(_repeats_much, results)) else None


def _repeats_much(array: Array) -> bool:
    return array.size > _LARGEST_REPEATED and without_repeats(array).size < array.size
