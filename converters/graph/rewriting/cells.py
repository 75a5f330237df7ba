"""GRU cells that are spelled out in single operators, as exporters write ``torch.nn.GRUCell``, found again.

Each becomes a `CELL` node. A graph with one copy of a cell computes a single timestep. Where copies with the same
weights hand their state on, a loop over the timesteps was unrolled, and `steps` makes one GRU of them all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.gates import zrn_from_rzn
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.gates import (
    FOLDED_TOLERANCE,
    Gates,
    constant_gates,
    find_gates,
    gates_before_reset,
    linear,
    origin,
    same_data,
    thirds_of,
)
from grurt.converters.graph.rewriting.handwritten import Handwritten, handwritten_cell
from grurt.converters.graph.rewriting.matching import AnyOf, Bindings, Matcher, Template, Var, op
from grurt.errors import DesignReason

CELL = "grurt.GRUCell"
"""A cell at one timestep. Inputs: x, W, R, B, h; output: the new h. Weights as those of GRU."""

_RESET = op("Sigmoid", op("Add", Var("i_r"), Var("h_r")))
_UPDATE = op("Sigmoid", op("Add", Var("i_z"), Var("h_z")))
_RESET_STATE = op("Mul", _RESET, Var("h"))
_CANDIDATES = (
    op("Tanh", op("Add", Var("i_n"), op("Mul", Var("h_n"), _RESET))),
    op("Tanh", op("Add", Var("i_n"), Var("h_n"))),
)
"""With the reset gate behind the linear transformation of the state, and before it: ``h_n`` is of `_RESET_STATE`."""


def _mixed(one: Template, other: Template) -> AnyOf:
    """Return templates of ``one + z * (other - one)``, as PyTorch has it, and ``(1 - z) * one + z * other``."""
    return AnyOf(
        (
            op("Add", op("Mul", op("Sub", other, one), _UPDATE), one),
            op("Add", op("Mul", op("Sub", 1.0, _UPDATE), one), op("Mul", _UPDATE, other)),
        )
    )


@dataclass(frozen=True)
class _Equation:
    """A way to write a GRU; i_* and h_* are products of the input and of the state."""

    new_state: Template
    linear_before_reset: bool
    negated: bool
    """Whether z takes the place of 1 - z: the same network with the weights of z negated."""


_EQUATIONS = tuple(
    _Equation(
        _mixed(Var("h"), candidate) if negated else _mixed(candidate, Var("h")),
        linear_before_reset=candidate is _CANDIDATES[0],
        negated=negated,
    )
    for candidate in _CANDIDATES
    for negated in (False, True)
)


@dataclass(frozen=True)
class Cell:
    """A cell: its last node, what its gates are computed from, and the tensor that holds its state."""

    node: Node
    of_input: Gates
    of_state: Gates
    state: str
    linear_before_reset: bool
    projected: bool
    """Whether the input's gates are computed elsewhere, for all timesteps at once; ``of_input`` is an identity then."""


@dataclass(frozen=True)
class _Candidate:
    node: Node
    of_input: Gates
    of_state: Gates | Array
    state: str
    linear_before_reset: bool
    projected: bool
    handwritten: Handwritten | None = None


def find_cells(nodes: Iterable[Node], matcher: Matcher) -> dict[int, Cell]:
    """Return the cells of a graph by the identity of their last node, the one that writes the new state."""
    candidates = [found for node in nodes if (found := _candidate(node, matcher)) is not None]
    by_state: dict[str, Gates] = {
        origin(each.state, matcher): each.of_state for each in candidates if isinstance(each.of_state, Gates)
    }
    cells = {}
    for each in _with_folded_steps(candidates, matcher):
        gates = each.of_state
        if not isinstance(gates, Gates):
            recurrent = by_state.get(each.node.outputs[0])
            if recurrent is None or not _gives(recurrent, each.state, gates, matcher):
                raise each.node.unsupported(
                    "it ends a GRU cell whose state is a constant, and the exporter left out the recurrent weights",
                    "give the state as an input of the model and its new value as an output, and export again",
                    DesignReason.NOT_SAID,
                )
            gates = recurrent
        cells[id(each.node)] = Cell(
            each.node, each.of_input, gates, each.state, each.linear_before_reset, each.projected
        )
    return cells


def _with_folded_steps(candidates: Sequence[_Candidate], matcher: Matcher) -> Iterator[_Candidate]:
    """Yield the candidates; first timesteps that an exporter has folded get the weights of the ones behind them."""
    following = {origin(each.state, matcher): each for each in candidates}
    for each in candidates:
        cell, after = each.handwritten, following.get(each.node.outputs[0])
        if cell is None or not cell.folded:
            yield each
        elif after is not None and _is_folded(cell, after, matcher.constant(each.state)):
            of_input = replace(after.of_input, source=each.of_input.source)
            yield replace(after, node=each.node, of_input=of_input, state=each.state)


def _is_folded(cell: Handwritten, after: _Candidate, state: Array | None) -> bool:
    other = after.handwritten
    if other is None and isinstance(after.of_state, Gates) and not after.projected:
        other = Handwritten(after.of_input, after.of_state, after.state, after.linear_before_reset, folded=False)
    return other is not None and state is not None and cell.agrees(other, state)


def is_unrolled(cells: Collection[Cell], matcher: Matcher) -> bool:
    """Say whether cells hand their state on to others with the same weights."""
    weights = {cell.node.outputs[0]: cell.of_state.key for cell in cells}
    return any(weights.get(origin(cell.state, matcher)) == cell.of_state.key for cell in cells)


def _candidate(node: Node, matcher: Matcher) -> _Candidate | None:
    if not node.outputs:
        return None
    for equation in _EQUATIONS if node.op == "Add" else ():
        for bindings in matcher.match(equation.new_state, node.outputs[0]):
            found = _with_gates(node, bindings, equation, matcher)
            if found is not None:
                return found
    cell = handwritten_cell(node, matcher)
    if cell is None:
        return None
    gates = cell.of_input, cell.of_state
    return _Candidate(node, *gates, cell.state, cell.linear_before_reset, projected=False, handwritten=cell)


def _with_gates(node: Node, bindings: Bindings, equation: _Equation, matcher: Matcher) -> _Candidate | None:
    if not equation.linear_before_reset:
        bound = _of_reset_state(bindings, matcher)
        if bound is None:
            return None
        bindings = bound
    names_x, names_h = (tuple(bindings[f"{side}_{gate}"] for gate in "rzn") for side in "ih")
    if equation.linear_before_reset:
        of_state: Gates | Array | None = find_gates(names_h, matcher)
    else:
        of_state = gates_before_reset(names_h, matcher)
    if isinstance(of_state, Gates):
        hidden_size = of_state.weight.shape[1]
        if not same_data(of_state.source, bindings["h"], matcher) or of_state.weight.shape[0] != 3 * hidden_size:
            return None
    else:
        of_state = constant_gates(names_h, matcher)
        if of_state is None or of_state.shape[1] % 3:
            return None
        hidden_size = of_state.shape[1] // 3
    of_input = find_gates(names_x, matcher)
    projected = of_input is None and thirds_of(names_x, matcher)
    if projected:
        rows = 3 * hidden_size
        identity = matcher.made(("identity", rows), 4 * rows**2, names_x[0], lambda: np.eye(rows, dtype=np.float32))
        of_input = Gates(projected, identity, None, None)
    if of_input is None or of_input.weight.shape[0] != 3 * hidden_size:
        return None
    if equation.negated:
        if projected or not isinstance(of_state, Gates):
            return None
        of_input, of_state = of_input.with_update_negated(matcher), of_state.with_update_negated(matcher)
    return _Candidate(node, of_input, of_state, bindings["h"], equation.linear_before_reset, bool(projected))


def _of_reset_state(bindings: Bindings, matcher: Matcher) -> Bindings | None:
    """Return the bindings with the reset gate, where the candidate's part of the state is computed from ``r * h``."""
    of_state = linear(bindings["h_n"], matcher)
    return None if of_state is None else next(matcher.match(_RESET_STATE, of_state.source, bindings), None)


def _gives(gates: Gates, name: str, expected: Array, matcher: Matcher) -> bool:
    """Say whether a constant state, of this name, gives these gates."""
    state = matcher.constant(name)
    if state is None or state.shape[-1:] != gates.weight.shape[1:]:
        return False
    rows = state.reshape(math.prod(state.shape[:-1]), state.shape[-1])
    if expected.shape != (len(rows), len(gates.weight)):
        return False
    matcher.budget.read(len(rows) * gates.weight.nbytes, matcher.node(name))
    found = rows @ gates.weight.T + (0 if gates.bias is None else gates.bias)
    return np.allclose(found, expected, rtol=0, atol=FOLDED_TOLERANCE)


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
        node = cell.node
        inputs = (cell.of_input.source, *self._weights(cell), cell.state)
        attributes = {
            "linear_before_reset": int(cell.linear_before_reset),
            "projected": int(cell.projected),
            "unrolled": int(self._unrolled),
        }
        return Node(node.name, CELL, inputs, node.outputs[:1], attributes, node.module)

    def _weights(self, cell: Cell) -> tuple[str, str, str]:
        hidden_size = cell.of_state.weight.shape[1]
        sides = (cell.of_input, cell.of_state)
        key = (hidden_size, *(gates.key for gates in sides))
        if key not in self._names:
            self._names[key] = stem = f"{cell.node.outputs[0]}/weights"
            n_bytes = sum(gates.weight.nbytes + 24 * hidden_size for gates in sides)
            self._matcher.budget.create(n_bytes, cell.node)
            self.constants[f"{stem}/W"] = zrn_from_rzn(cell.of_input.weight)[None]
            self.constants[f"{stem}/R"] = zrn_from_rzn(cell.of_state.weight)[None]
            if any(gates.bias is not None for gates in sides):
                zeros = np.zeros(3 * hidden_size, np.float32)
                biases = [zrn_from_rzn(zeros if gates.bias is None else gates.bias) for gates in sides]
                self.constants[f"{stem}/B"] = np.concatenate(biases)[None]
        stem = self._names[key]
        return f"{stem}/W", f"{stem}/R", f"{stem}/B" if f"{stem}/B" in self.constants else ""
