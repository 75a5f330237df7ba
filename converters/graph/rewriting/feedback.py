"""Why copies of a cell, one for each timestep, are no GRU over a sequence: what they give is changed or fed back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.gates import SAME_DATA
from grurt.errors import DesignReason, UnsupportedError

_MAX_CELLS = 16
"""How many cells of different weights are looked at: this explains a refusal, and need not be complete."""

_X, _WEIGHTS, _STATE = 0, slice(1, 4), 4


def fed_back(nodes: Sequence[Node]) -> UnsupportedError | None:
    """Return the error for copies of a cell that read what an earlier one gave; None if there are none.

    ``nodes`` stand each after those that they read.
    """
    if any(node.op == "If" for node in nodes):  # which says by itself why it is refused
        return None
    copies: dict[tuple[str, ...], list[Node]] = defaultdict(list)
    for node in nodes:
        if node.op == CELL:
            copies[node.inputs[_WEIGHTS]].append(node)
    repeated = [cells for cells in copies.values() if len(cells) > 1]
    for cells in repeated[:_MAX_CELLS]:
        error = _of_one_cell(nodes, cells)
        if error is not None:
            return error
    return None


def _of_one_cell(nodes: Iterable[Node], cells: Sequence[Node]) -> UnsupportedError | None:
    """Return why copies of one cell are no loop over a sequence; None if nothing tells."""
    own = {id(node) for node in cells}
    states: set[str] = set()
    computed: set[str] = set()
    for node in nodes:
        if id(node) in own:
            if node.inputs[_X] in computed | states:
                return node.unsupported(
                    "it reads, at a timestep, what was computed of its output at the timestep before",
                    "a network that feeds its output back is run step by step: export a single timestep, and call it "
                    "in a loop of your own",
                    DesignReason.DATA_DEPENDENT,
                )
            if node.inputs[_STATE] in computed:
                return node.unsupported(
                    "its state is that of the timestep before, changed by other operators",
                    "a GRU hands its state on as it is",
                    DesignReason.FED_BACK_STATE,
                )
            states.update(node.outputs)
        elif any(name in states for name in node.inputs[:1]) and node.op in SAME_DATA:
            states.update(node.outputs)
        elif any(name in states or name in computed for name in node.inputs):
            computed.update(node.outputs)
    return None
