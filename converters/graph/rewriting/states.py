"""What loops carry from one timestep to the next, found to be the states of cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph, Node, live_order
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.counting import Carried
from grurt.converters.graph.rewriting.gates import SAME_DATA, origin
from grurt.converters.graph.rewriting.loops import Inlined
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.rewriting.mismatch import mismatch
from grurt.errors import DesignReason

_STATE = 4
"""Which input of a cell its state is."""

_ADVICE = "inside of a loop, the state of a GRU cell is all that may be carried from one timestep to the next"


def with_states_of_cells(graph: Graph, loops: Inlined, budget: Budget) -> Graph:
    """Return the graph, where the cells of loops begin with the state that their loop begins with.

    Parameters
    ----------
    graph
        The graph of `loops`, in which cells were found.
    loops
        What they carry.
    budget
        What may be looked through.

    Raises
    ------
    UnsupportedError
        If a loop carries something that is not the state of a cell, which reads nothing but that.
    """
    if not loops.given:
        return graph
    wanted = [*(port.name for port in graph.outputs), *(each.initial for _, each in loops.carried)]
    given = [*graph.constants, *(port.name for port in graph.inputs), *loops.given]
    nodes = live_order(graph.nodes, given, wanted)
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name].append(node)
    matcher = Matcher(graph, budget)
    initial: dict[str, str] = {}
    for loop, carried in loops.carried:
        if readers[carried.name]:
            _check_is_state(loop, carried, readers, matcher)
            initial[carried.name] = carried.initial
    for name in loops.given:
        if readers[name] and name not in initial:
            raise readers[name][0].unsupported(
                "it computes with the number of the timestep", "a GRU does the same at every timestep"
            )
    begun = (replace(node, inputs=tuple(initial.get(name, name) for name in node.inputs)) for node in graph.nodes)
    return replace(graph, nodes=tuple(begun))


def _check_is_state(loop: Node, carried: Carried, readers: Mapping[str, list[Node]], matcher: Matcher) -> None:
    node = matcher.producers.get(origin(carried.handed_on, matcher))
    if node is None or node.op != CELL:
        raise loop.unsupported(f"it carries what is no state of a GRU cell: {mismatch(node, matcher)}", _ADVICE)
    states, others = _copies(carried.name, readers)
    for reader in others:
        if reader is not node or any(place in states for place in (*node.inputs[:_STATE], *node.inputs[_STATE + 1 :])):
            raise reader.unsupported(
                f"it reads what {loop} carries from the timestep before, which is the state of a GRU cell",
                "read the state that the cell gives; a network that feeds its output back is run in a loop of your own",
                DesignReason.DATA_DEPENDENT,
            )


def _copies(name: str, readers: Mapping[str, list[Node]]) -> tuple[set[str], list[Node]]:
    """Return the names of a tensor and of its reshaped copies, and the nodes that read any of these."""
    names, others, todo = {name}, [], [name]
    while todo:
        for node in readers.get(todo.pop(), ()):
            if node.op in SAME_DATA and node.inputs[0] in names:
                names.update(node.outputs)
                todo += node.outputs
            else:
                others.append(node)
    return names, others
