"""Cells that skip timesteps: where a mask is 0, the state stays as it is, and is given once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.choices import Choice, choice, without_casts
from grurt.converters.graph.rewriting.counting import Carried
from grurt.converters.graph.rewriting.gates import SAME_DATA, origin
from grurt.converters.graph.rewriting.matching import Matcher

_STATE = 4
_CHOICES = ("Where", "Add")
_COPIES = ("Expand", *SAME_DATA)
_MOST_COPIES = 8
_MOST_NODES = 64


def with_masked_cells(graph: Graph, carried: Sequence[Carried], budget: Budget) -> Graph:
    """Return the graph, where cells read as a mask by what their new state is chosen before the old one.

    Parameters
    ----------
    graph
        The graph, whose nodes stand each after those that it reads.
    carried
        What its loops carry.
    budget
        What may be looked through.

    Raises
    ------
    UnsupportedError
        If something else reads what such a cell computes where the mask is 0.
    """
    masks = _Masks(graph, carried, budget)
    for node in graph.nodes:
        masks.find_state(node)
    for node in graph.nodes:
        masks.find_output(node)
    return masks.applied()


class _Masks:
    def __init__(self, graph: Graph, carried: Sequence[Carried], budget: Budget) -> None:
        self._graph = graph
        self._carried = {each.name: each for each in carried}
        self._matcher = Matcher(graph, budget)
        self._conditions: dict[str, str] = {}
        """By what the cells write."""
        self._given: dict[str, str] = {}
        """The names of what masked cells give, by those of what is chosen."""

    def find_state(self, node: Node) -> None:
        """Take note of a node that chooses between the new state of a cell and its old one."""
        found, cell = self._choice(node)
        if found is None or cell is None:
            return
        other, state = self._resolved(found.other), self._resolved(cell.inputs[_STATE])
        if other == state or (self._is_zero(other) and self._is_zero(state)):
            self._note(node, found, cell)

    def find_output(self, node: Node) -> None:
        """Take note of a node that chooses between the new state of a masked cell and what it chose before.

        That is the state, if both begin with zeros.
        """
        found, cell = self._choice(node)
        if found is None or cell is None or self._conditions.get(cell.outputs[0]) != found.condition:
            return
        other, state = self._resolved(found.other), self._resolved(cell.inputs[_STATE])
        before, begin = self._carried.get(other), self._carried.get(state)
        repeats = before is not None and origin(before.handed_on, self._matcher) == node.outputs[0]
        if before is not None and begin is not None and repeats:
            if self._is_zero(before.initial) and self._is_zero(begin.initial):
                self._note(node, found, cell)
        elif other == state:
            self._note(node, found, cell)

    def applied(self) -> Graph:
        """Return the graph with what was found."""
        if not self._conditions:
            return self._graph
        self._check_readers()
        return replace(self._graph, nodes=tuple(map(self._applied, self._graph.nodes)))

    def _applied(self, node: Node) -> Node:
        given = next((self._given[name] for name in node.outputs if name in self._given), None)
        if given is not None:
            return Node(node.name, "Identity", (given,), node.outputs, {}, node.module)
        condition = self._conditions.get(node.outputs[0]) if node.outputs else None
        return node if condition is None else replace(node, inputs=(*node.inputs, condition))

    def _choice(self, node: Node) -> tuple[Choice | None, Node | None]:
        """Return what a node chooses, and the cell that gives the first of it."""
        found = choice(node.outputs[0], self._matcher) if len(node.outputs) == 1 and node.op in _CHOICES else None
        if found is not None and not self._is_data(found.condition):
            return None, None
        cell = None if found is None else self._matcher.producers.get(origin(found.one, self._matcher))
        return found, cell if cell is not None and cell.op == CELL else None

    def _note(self, node: Node, found: Choice, cell: Node) -> None:
        if self._conditions.setdefault(cell.outputs[0], found.condition) == found.condition:
            self._given[node.outputs[0]] = cell.outputs[0]

    def _is_data(self, name: str) -> bool:
        """Say whether a tensor depends on more than the shapes of others, so far as few nodes show that."""
        todo, seen = [name], {name}
        while todo and len(seen) < _MOST_NODES:
            node = self._matcher.producers.get(todo.pop())
            if node is None:
                return True
            inputs = [each for each in node.inputs if each and self._matcher.array(each) is None and each not in seen]
            todo += inputs if node.op != "Shape" else []
            seen.update(inputs)
        return bool(todo)

    def _resolved(self, name: str) -> str:
        name = origin(name, self._matcher)
        return self._given.get(name, name)

    def _is_zero(self, name: str) -> bool:
        """Say whether a tensor is zero, whatever its size."""
        for _ in range(_MOST_COPIES):
            array, node = self._matcher.array(name), self._matcher.producers.get(name)
            if array is not None:
                return not array.any()
            if node is None or not node.inputs:
                return False
            if node.op == "ConstantOfShape":
                value = node.attributes.get("value")
                return not isinstance(value, np.ndarray) or not value.any()
            if node.op not in _COPIES:
                return False
            name = node.inputs[0]
        return False

    def _check_readers(self) -> None:
        """Raise UnsupportedError for nodes that read a new state where it is masked."""
        for node in self._graph.nodes:
            for name in node.inputs:
                condition = self._conditions.get(origin(name, self._matcher))
                if condition is None or node.op in SAME_DATA or node.outputs[0] in self._given:
                    continue
                if not _hides(node, name, condition, self._matcher):
                    raise node.unsupported(
                        "it reads what a GRU cell computes at timesteps that are masked",
                        "read the state that is handed on",
                    )


def _hides(node: Node, name: str, condition: str, matcher: Matcher) -> bool:
    """Say whether a node gives nothing of a tensor where a condition does not hold."""
    if node.op == "Where":
        return node.inputs[0] == condition and node.inputs[2] != name
    others = [each for each in node.inputs if each != name]
    return node.op == "Mul" and len(others) == 1 and without_casts(others[0], matcher) == condition != others[0]
