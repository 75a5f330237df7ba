"""One form for what may be written in several, before anything is looked for in a graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Attribute, Graph, Node

_WITH_SIDE_RESULTS = ("Dropout", "LayerNormalization", "RMSNormalization")
"""Operators that also write a mask, or statistics, which do not change what else they do."""

_LONGEST_LIST = 1 << 10
_END = np.iinfo(np.int64).max


def canonical(graph: Graph, kept: Collection[str] = ()) -> Graph:
    """Return a graph that computes the same, written in one way.

    What copies a tensor is left out, and what nobody reads of a mask or of statistics. A Gemm that adds a value, as
    optimizers make it, becomes a product and a sum. Lists of tensors that a graph takes apart, or puts together, itself
    become slices, or a concatenation. Tensors that are ``kept`` do not vanish.
    """
    graph = replace(graph, nodes=tuple(_without_copies(graph, kept)))
    writer = _Writer(graph)
    nodes = [part for node in graph.nodes for part in writer.rewritten(node)]
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, **writer.constants})


def _without_copies(graph: Graph, kept: Collection[str]) -> Iterator[Node]:
    """Yield the nodes, each after those that it reads, without Identity, and Dropout in inference."""
    shown = {*kept, *(port.name for port in graph.outputs)}
    read = {name for node in graph.nodes for name in node.inputs} | shown
    sources: dict[str, str] = {}
    for node in graph.nodes:
        inputs = tuple(sources.get(name, name) for name in node.inputs)
        is_alone = node.op in _WITH_SIDE_RESULTS and not read & set(node.outputs[1:])
        outputs = node.outputs[:1] if is_alone else node.outputs
        if len(outputs) != 1 or not _is_copy(node, graph.constants):
            is_same = (inputs, outputs) == (node.inputs, node.outputs)
            yield node if is_same else replace(node, inputs=inputs, outputs=outputs, _read=set())
        elif outputs[0] in shown:
            yield Node(node.name, "Identity", inputs[:1], outputs, {}, node.module)
        else:
            sources[outputs[0]] = inputs[0]


def _is_copy(node: Node, constants: Mapping[str, Array]) -> bool:
    if not node.inputs or not node.inputs[0]:
        return False
    if node.op != "Dropout" or not set(node.attributes) <= {"ratio", "seed"}:
        return node.op == "Identity" and not node.attributes
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    return not training or (training in constants and not constants[training].any())


class _Writer:
    """Writes nodes in place of others.

    Parameters
    ----------
    graph
        The graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.constants: dict[str, Array] = {}
        self._given = graph.constants
        self._lists = {node.outputs[0]: node for node in graph.nodes if node.op in _LISTS and node.outputs}
        self._taken = {*graph.constants, *(port.name for port in graph.inputs)}
        self._taken.update(name for node in graph.nodes for name in node.outputs)

    def rewritten(self, node: Node) -> Iterator[Node]:
        """Yield what stands for a node: itself in most cases."""
        rewrite = _REWRITES.get(node.op)
        parts = rewrite(node, self) if rewrite is not None and node.outputs and node.inputs else None
        yield from [node] if parts is None else parts

    def new(self, stem: str) -> str:
        """Return a name that nothing has."""
        while stem in self._taken:
            stem += "_"
        self._taken.add(stem)
        return stem

    def integers(self, node: Node, what: str, *numbers: int) -> str:
        """Return the name of a list of integers, made for a node."""
        name = self.new(f"{node.outputs[0]}/{what}")
        self.constants[name] = np.array(numbers, np.int64)
        return name

    def is_constant(self, name: str) -> bool:
        """Say whether a tensor is a constant."""
        return name in self._given

    def known(self, name: str) -> Array | None:
        """Return the few integers of a constant; None if it is none."""
        array = self._given.get(name)
        return array if array is not None and array.dtype.kind == "i" and 0 < array.size <= _LONGEST_LIST else None

    def list(self, name: str, op: str) -> Node | None:
        """Return the operator of a kind that writes a list of tensors."""
        node = self._lists.get(name)
        return node if node is not None and node.op == op else None


_Rewrite = Callable[[Node, _Writer], list[Node] | None]


def _sum_of_product(node: Node, writer: _Writer) -> list[Node] | None:
    """Gemm, where it adds a value: a product, and a sum."""
    adds_value = len(node.inputs) == 3 and node.inputs[2] and not writer.is_constant(node.inputs[2])
    if not adds_value or node.attributes.get("beta", 1.0) != 1.0:
        return None
    product = writer.new(f"{node.outputs[0]}/product")
    return [
        replace(node, inputs=node.inputs[:2], outputs=(product,), _read=set()),
        Node(node.name, "Add", (product, node.inputs[2]), node.outputs[:1], {}, node.module),
    ]


def _part(node: Node, writer: _Writer) -> list[Node] | None:
    """SequenceAt of a SplitToSequence: a slice, or one position."""
    split = writer.list(node.inputs[0], "SplitToSequence")
    place = writer.known(node.inputs[1]) if len(node.inputs) == 2 else None
    if split is None or place is None or place.size != 1 or not set(split.attributes) <= {"axis", "keepdims"}:
        return None
    index, axis = int(place.reshape(-1)[0]), split.attributes.get("axis", 0)
    sizes = writer.known(split.inputs[1]) if len(split.inputs) > 1 and split.inputs[1] else np.array(1)
    if sizes is None or not isinstance(axis, int):
        return None
    if len(split.inputs) < 2 and not split.attributes.get("keepdims", 1):
        position = writer.new(f"{node.outputs[0]}/place")
        writer.constants[position] = np.array(index, np.int64)
        return [_written(node, "Gather", (split.inputs[0], position), {"axis": axis})]
    bounds = _bounds(sizes, index)
    if bounds is None:
        return None
    names = [writer.integers(node, what, number) for what, number in zip(("start", "end"), bounds, strict=True)]
    return [_written(node, "Slice", (split.inputs[0], *names, writer.integers(node, "axis", axis)), {})]


def _bounds(sizes: Array, index: int) -> tuple[int, int] | None:
    """Return where a part begins and ends, of parts of one size or of sizes that are listed."""
    if sizes.ndim:
        ends = [0, *np.cumsum(sizes).tolist()]
        places = range(sizes.size)[index : index + 1 or None]
        return (ends[places[0]], ends[places[0] + 1]) if places else None
    size = int(sizes)
    if index >= 0:
        return index * size, (index + 1) * size
    return (index, index + 1 or _END) if size == 1 else None  # the last part of others may be smaller


def _joined(node: Node, writer: _Writer) -> list[Node] | None:
    """ConcatFromSequence of a SequenceConstruct: a Concat, along an axis that may be new."""
    parts = writer.list(node.inputs[0], "SequenceConstruct")
    axis = node.attributes.get("axis")
    if parts is None or not isinstance(axis, int) or not set(node.attributes) <= {"axis", "new_axis"}:
        return None
    if not node.attributes.get("new_axis", 0):
        return [_written(node, "Concat", parts.inputs, {"axis": axis})]
    axes = writer.integers(node, "axis", axis)
    names = [writer.new(f"{node.outputs[0]}/part") for _ in parts.inputs]
    wide = [
        Node(node.name, "Unsqueeze", (source, axes), (name,), {}, node.module)
        for source, name in zip(parts.inputs, names, strict=True)
    ]
    return [*wide, _written(node, "Concat", tuple(names), {"axis": axis})]


def _written(node: Node, op: str, inputs: tuple[str, ...], attributes: dict[str, Attribute]) -> Node:
    return Node(node.name, op, inputs, node.outputs[:1], attributes, node.module)


_LISTS = ("SplitToSequence", "SequenceConstruct")
_REWRITES: dict[str, _Rewrite] = {"Gemm": _sum_of_product, "SequenceAt": _part, "ConcatFromSequence": _joined}
