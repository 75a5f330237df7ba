"""GRU cells that are spelled out in single operators, as exporters write ``torch.nn.GRUCell``, found again.

Each becomes a `CELL` node. A graph with one copy of a cell computes a single timestep. Where copies with the same
weights hand their state on, a loop over the timesteps was unrolled, and `steps` makes one GRU of them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.gates import zrn_from_rzn
from grurt.converters.graph.nodes import Attribute, Node
from grurt.converters.graph.rewriting.functions import attributes_of
from grurt.converters.graph.rewriting.gates import Gates, origin
from grurt.converters.graph.rewriting.handwritten import Handwritten, handwritten_cell
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.errors import DesignReason

CELL = "grurt.GRUCell"
"""A cell at one timestep. Inputs: x, W, R, B, h, and a mask, if any; output: the new h. Weights as those of GRU.

Where the mask is 0, the new h is the old one.
"""


@dataclass(frozen=True)
class Cell:
    """A cell: its last node, and what it computes."""

    node: Node
    handwritten: Handwritten


def find_cells(nodes: Iterable[Node], matcher: Matcher) -> dict[int, Cell]:
    """Return the cells of a graph by the identity of their last node, the one that writes the new state.

    First timesteps that an exporter has folded get the weights of the ones behind them.

    Raises
    ------
    UnsupportedError
        If nothing is behind a folded timestep.
    """
    found = [Cell(node, cell) for node in nodes if (cell := handwritten_cell(node, matcher)) is not None]
    following = {origin(each.handwritten.state, matcher): each.handwritten for each in found}
    cells = {}
    for each in found:
        cell, after = each.handwritten, following.get(each.node.outputs[0])
        if cell.folded:
            state = matcher.constant(cell.state)
            agrees = after is not None and state is not None and cell.agrees(after, state)
            if not agrees and not cell.has_reset:
                continue
            if after is None or not agrees:
                raise each.node.unsupported(
                    "it ends a GRU cell whose state is a constant, and the exporter left out the recurrent weights",
                    "give the state as an input of the model and its new value as an output, and export again",
                    DesignReason.NOT_SAID,
                )
            of_input = replace(after.of_input, source=cell.of_input.source)
            cell = replace(after, of_input=of_input, state=cell.state)
        cells[id(each.node)] = Cell(each.node, cell)
    return cells


def is_unrolled(cells: Collection[Cell], matcher: Matcher) -> bool:
    """Say whether cells hand their state on to others with the same weights."""
    weights = {each.node.outputs[0]: each.handwritten.of_state.key for each in cells}
    cells_read = ((origin(each.handwritten.state, matcher), each.handwritten.of_state.key) for each in cells)
    return any(weights.get(state) == key for state, key in cells_read)


class CellWriter:
    """Writes cells as nodes of one operator; cells with the same weights share their constants.

    Parameters
    ----------
    matcher
        Keeps account of what is created.
    unrolled
        Whether they are the timesteps of a loop.
    """

    def __init__(self, matcher: Matcher, *, unrolled: bool) -> None:
        self._matcher = matcher
        self.constants: dict[str, Array] = {}
        self._unrolled = unrolled
        self._names: dict[object, str] = {}

    def write(self, cell: Cell) -> Node:
        """Return the node that stands for a cell."""
        node, found = cell.node, cell.handwritten
        inputs = (found.of_input.source, *self._weights(node, found.of_input, found.of_state), found.state)
        attributes: dict[str, Attribute] = {
            "linear_before_reset": int(found.linear_before_reset),
            "projected": int(found.projected),
            "unrolled": int(self._unrolled),
            **attributes_of(found.functions),
        }
        return Node(node.name, CELL, inputs, node.outputs[:1], attributes, node.module)

    def _weights(self, node: Node, *sides: Gates) -> tuple[str, str, str]:
        hidden_size = sides[1].weight.shape[1]
        key = (hidden_size, *(gates.key for gates in sides))
        if key not in self._names:
            self._names[key] = stem = f"{node.outputs[0]}/weights"
            n_bytes = sum(gates.weight.nbytes + 24 * hidden_size for gates in sides)
            self._matcher.budget.create(n_bytes, node)
            self.constants[f"{stem}/W"], self.constants[f"{stem}/R"] = (
                zrn_from_rzn(gates.weight)[None] for gates in sides
            )
            if any(gates.bias is not None for gates in sides):
                zeros = np.zeros(3 * hidden_size, np.float32)
                biases = [zrn_from_rzn(zeros if gates.bias is None else gates.bias) for gates in sides]
                self.constants[f"{stem}/B"] = np.concatenate(biases)[None]
        stem = self._names[key]
        return f"{stem}/W", f"{stem}/R", f"{stem}/B" if f"{stem}/B" in self.constants else ""
