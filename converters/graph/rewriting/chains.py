"""GRUs over one timestep each that hand their state on, as a loop over ``x[:, t : t + 1]`` writes them: cells.

``gru(x, h)`` with the same weights and the state of the call before is one timestep of an unrolled loop, and becomes a
`CELL`. That the input is one timestep, the cell makes sure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.tracing.parameters import small_integer

_MOVES = ("Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
_MAX_MOVES = 64
"""How many nodes may stand between a state and the GRU that reads it."""

_FEWEST = 2
_STATE = 5
"""Which input of a GRU is its state."""

_ACTIVATIONS = ("activations", "activation_alpha", "activation_beta")
_DIRECTION = "grurt.chains/direction"


def with_chained_cells(graph: Graph) -> Graph:
    """Return the graph with cells in place of GRUs that read the state of one with the same weights."""
    if sum(node.op == "GRU" for node in graph.nodes) < _FEWEST:
        return graph
    chains = _Chains(graph)
    if not chains.steps:
        return graph
    nodes = [part for node in graph.nodes for part in (chains.cell(node) if id(node) in chains.steps else [node])]
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, _DIRECTION: np.array([1])})


class _Chains:
    """The GRUs of a graph that are the timesteps of a loop."""

    def __init__(self, graph: Graph) -> None:
        self._producers = graph.producers()
        self._constants = graph.constants
        groups: dict[tuple[object, ...], list[Node]] = defaultdict(list)
        for node in graph.nodes:
            if _is_plain(node) and not self._is_of_several_timesteps(node.inputs[0]):
                groups[tuple(id(graph.constants.get(name, name)) for name in node.inputs[1:4])].append(node)
        chained = [group for group in groups.values() if len(group) >= _FEWEST and self._are_chained(group)]
        self.steps = {id(node) for group in chained for node in group}

    def cell(self, node: Node) -> list[Node]:
        """Return the cell of a timestep, whose inputs have an axis of size 1 before the batch, and its outputs."""
        outputs, last = node.outputs[0], next(iter(node.outputs[1:]), "")
        state = last or f"{outputs}/state"
        attributes = {name: node.attributes[name] for name in _ACTIVATIONS if name in node.attributes}
        attributes |= {"linear_before_reset": node.attributes.get("linear_before_reset", 0), "unrolled": 1}
        inputs = (*node.inputs[:4], self._of_stack(node.inputs[_STATE]))
        cell = Node(node.name, CELL, inputs, (state,), attributes, node.module)
        if not outputs:
            return [cell]
        return [cell, Node(node.name, "Unsqueeze", (state, _DIRECTION), (outputs,), {}, node.module)]

    def _are_chained(self, group: Sequence[Node]) -> bool:
        """Say whether all GRUs but the first read the state of one of them, moved at most."""
        own = {id(node) for node in group}
        return all(self._reads_state(node, own) for node in group[1:])

    def _reads_state(self, node: Node, group: set[int]) -> bool:
        todo, seen = [node.inputs[_STATE]], 0
        while todo and seen < _MAX_MOVES:
            source = self._producers.get(todo.pop())
            seen += 1
            if source is not None and id(source) in group:
                return True
            if source is not None and source.op in _MOVES:
                todo += source.inputs if source.op == "Concat" else source.inputs[:1]
        return False

    def _of_stack(self, state: str) -> str:
        """Return the state of one layer that is cut out of the stack of those of all, or of one, if it is."""
        node = self._producers.get(state)
        bounds = self._bounds(node) if node is not None and node.op == "Slice" else None
        if node is None or bounds is None or bounds[2] != 0:
            return state
        stack = self._producers.get(node.inputs[0])
        is_stack = stack is not None and stack.op == "Concat" and stack.attributes.get("axis") == 0
        states = stack.inputs if stack is not None and is_stack else node.inputs[:1]
        start, end, _ = bounds
        is_one = all(map(self._is_state, states)) and end == start + 1 and 0 <= start < len(states)
        return states[start] if is_one else state

    def _is_state(self, name: str) -> bool:
        """Say whether a tensor is the last state of a GRU that has one direction."""
        source = self._producers.get(name)
        return source is not None and _is_plain(source) and source.outputs[1:] == (name,)

    def _is_of_several_timesteps(self, name: str) -> bool:
        """Say whether a tensor is cut out of a sequence, and is more than one timestep of it."""
        node = self._producers.get(name)
        if node is not None and node.op == "Transpose":
            node = self._producers.get(node.inputs[0])
        bounds = self._bounds(node) if node is not None and node.op == "Slice" else None
        return bounds is not None and bounds[1] - bounds[0] != 1 and bounds[:1] != (-1,)

    def _bounds(self, node: Node) -> tuple[int, int, int] | None:
        """Return the start, end and axis of a Slice of one axis, with a step of 1; None of others."""
        numbers = [small_integer(self._constants.get(name)) for name in node.inputs[1:]]
        match numbers:
            case [int() as start, int() as end, int() as axis, *steps] if steps in ([], [1]):
                return start, end, axis
            case _:
                return None


def _is_plain(node: Node) -> bool:
    known = {"hidden_size", "direction", "layout", "linear_before_reset", *_ACTIVATIONS}
    is_forward = node.attributes.get("direction", "forward") == "forward" and not node.attributes.get("layout", 0)
    has_state = len(node.inputs) > _STATE and node.inputs[_STATE] and not node.inputs[4] and node.outputs
    return bool(node.op == "GRU" and is_forward and has_state and set(node.attributes) <= known)
