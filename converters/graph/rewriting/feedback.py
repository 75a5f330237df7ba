"""Why timesteps that are written out are no GRU: copies of a cell that are fed with their outputs, or a plain RNN."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.gates import SAME_DATA
from grurt.converters.graph.rewriting.sequences import SPLIT_PART
from grurt.errors import DesignReason, UnsupportedError

_MAX_CELLS = 16
"""How many cells of different weights are looked at: this explains a refusal, and need not be complete."""

_X, _WEIGHTS, _STATE = 0, slice(1, 4), 4

_PRODUCTS = ("MatMul", "Gemm")
_PICKS = ("Gather", "Slice", "Split", SPLIT_PART)


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


def plain_rnn(nodes: Sequence[Node], constants: Collection[str]) -> UnsupportedError | None:
    """Return the error for the steps of a plain RNN, ``h = f(W x + R h)``, written out; None if there are none.

    Parameters
    ----------
    nodes
        Those of a graph, each after those that it reads.
    constants
        The names of its constants.
    """
    uses = Counter(node.inputs[1] for node in nodes if node.op in _PRODUCTS and len(node.inputs) > 1)
    repeated = [name for name, count in uses.items() if count > 1 and name in constants]
    for name in repeated[:_MAX_CELLS]:
        step = _second_step(nodes, name, constants)
        if step is not None:
            return step.unsupported(
                "it multiplies the state of a plain RNN, whose timesteps are written out; grurt runs GRU networks",
                "train the model with a GRU",
                DesignReason.OTHER_RECURRENCE,
            )
    return None


def _second_step(nodes: Iterable[Node], weight: str, constants: Collection[str]) -> Node | None:
    """Return a product with a weight of what such a product has given, after a part of something else was added."""
    parts: set[str] = set()
    products: set[str] = set()
    states: set[str] = set()
    for node in nodes:
        given = [name for name in node.inputs if name and name not in constants]
        if node.op in _PRODUCTS and node.inputs[1:2] == (weight,):
            if node.inputs[0] in states:
                return node
            products.update(node.outputs)
        elif len(given) == 2 and node.op == "Add" and set(given) & products and set(given) & parts:
            states.update(node.outputs)
        elif len(given) == 1:
            found = next((each for each in (states, products, parts) if given[0] in each), None)
            found = parts if found is None and node.op in _PICKS else found
            if found is not None:
                found.update(node.outputs)
    return None
