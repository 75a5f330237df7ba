"""Nodes that read nothing but constants, evaluated once, before anything is looked for in a graph.

So weights are found where an exporter has transposed, cast, scaled or dequantized them. Those of which it wrote copies,
as for each timestep of a loop, are one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph, Node, is_weight
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
    return replace(graph, nodes=tuple(kept), constants=_shared(constants))


def _shared(constants: Mapping[str, Array]) -> dict[str, Array]:
    """Return the constants, with one array for all weights of the same numbers: the first one."""
    layouts = {name: _layout(array) for name, array in constants.items()}
    counts = Counter(layouts.values())
    known: dict[object, Array] = {}
    shared = {}
    for name, array in constants.items():
        if layouts[name] is not None and counts[layouts[name]] > 1:
            digest = crc32(np.ascontiguousarray(array).data)
            first = known.setdefault((layouts[name], digest), array)
            array = first if np.array_equal(first, array) else array
        shared[name] = array
    return shared


def _layout(array: Array) -> object:
    """Return what weights that are alike have in common; None for what is no weight, or repeats itself."""
    return (array.dtype, array.shape) if is_weight(array) and 0 not in array.strides else None


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
