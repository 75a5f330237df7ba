"""Products that scale the initial states of GRUs, as reset masks do: ``gru(x, h * mask)``.

A product of two inputs does not tell which of them is a state. What reads it does, so such products are marked before
the graph is interpreted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.cells import CELL

SCALED_STATE = "grurt.ScaledState"
"""A Mul or Where, as its attribute ``of`` says, behind which nothing but moves of data leads to the state of a GRU."""

_STATES = {"GRU": 5, CELL: 4}
"""Which input of an operator is its state."""

_MOVES = frozenset(
    (
        "Cast",
        "Concat",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    )
)


def with_scaled_states(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes, with those as `SCALED_STATE` that scale the state of a GRU before its first timestep."""
    producers = {name: node for node in nodes for name in node.outputs if name}
    states = [
        node.inputs[place]
        for node in nodes
        for place in (_STATES.get(node.op),)
        if place is not None and place < len(node.inputs)
    ]
    scaling: set[int] = set()
    seen: set[str] = set()
    while states:
        name = states.pop()
        node = producers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op in ("Mul", "Where"):
            scaling.add(id(node))
        elif node.op in _MOVES:
            states.extend(node.inputs if node.op == "Concat" else node.inputs[:1])
    return [
        replace(node, op=SCALED_STATE, attributes={**node.attributes, "of": node.op}) if id(node) in scaling else node
        for node in nodes
    ]
