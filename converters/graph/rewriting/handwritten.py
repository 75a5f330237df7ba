"""GRU cells as papers and people write them: gates of the joined input and state, joined gates, in any order.

With ``[h, x]`` the state and the input side by side::

    z = sigmoid(W_z [h, x] + b_z)        r = sigmoid(W_r [h, x] + b_r)
    n = tanh(W_n [r * h, x] + b_n)       or tanh(W_n x + b_n + r * (R_n h + c_n))
    h' = (1 - z) * n + z * h             or (1 - z) * h + z * n

The gates may come from a linear layer each, from one for several of them, or from sums of these. Other activations may
stand for sigmoid and tanh.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.affine import CUTS, Affine, Product, affine, constant_row, part_of, picked_rows
from grurt.converters.graph.rewriting.functions import IDENTITY, SIGMOID, TANH, Function, function_of
from grurt.converters.graph.rewriting.gates import FOLDED_TOLERANCE, Gates, address, same_data
from grurt.converters.graph.rewriting.matching import AnyOf, Matcher, Var, op

_Z, _A, _B = Var("z"), Var("a"), Var("b")
_REST = AnyOf((op("Sub", 1.0, _Z), op("Add", op("Neg", _Z), 1.0)))
_DIFFERENCE = op("Sub", _A, _B)
_STEP = op("Add", op("Mul", _DIFFERENCE, _Z), _B)
MIXED = AnyOf(
    (
        op("Add", op("Mul", _REST, _B), op("Mul", _Z, _A)),
        op("Add", op("Sub", _B, op("Mul", _Z, _B)), op("Mul", _Z, _A)),
        _STEP,
        op("Where", op("Less", _Z, 0.5), _STEP, op("Sub", _A, op("Mul", _DIFFERENCE, op("Sub", 1.0, _Z)))),
    )
)
"""``z * a + (1 - z) * b``; the last is how PyTorch writes ``torch.lerp(b, a, z)``."""

LAST_OPERATORS = ("Add", "Where")


@dataclass(frozen=True)
class Handwritten:
    """A cell: what its gates are computed from, and the tensor that holds its state."""

    of_input: Gates
    of_state: Gates
    state: str
    linear_before_reset: bool
    functions: tuple[Function, Function]
    """The activations of the gates and of the candidate."""
    projected: bool
    """Whether the input's gates are computed elsewhere; ``of_input`` picks them then."""
    folded: bool
    """Whether the state is a constant, and an exporter may have computed some of what is made of it: see `agrees`."""
    has_reset: bool = True
    """Whether something tells that there is a reset gate."""

    def with_update_negated(self, matcher: Matcher) -> Handwritten:
        """Return the cell with 1 - z in the place of z."""
        sides = self.of_input.with_update_negated(matcher), self.of_state.with_update_negated(matcher)
        return replace(self, of_input=sides[0], of_state=sides[1])

    def agrees(self, other: Handwritten, state: Array) -> bool:
        """Whether another cell gives the same new states as this one, from a constant state."""
        forms = [(cell.of_input.weight.shape, cell.functions) for cell in (self, other)]
        if (
            forms[0] != forms[1]
            or self.functions != (SIGMOID, TANH)
            or state.shape[-1:] != other.of_state.weight.shape[1:]
        ):
            return False
        xs = np.random.default_rng(0).standard_normal((3, self.of_input.weight.shape[1]))
        h = state.reshape(-1, state.shape[-1])[:1]
        return np.allclose(self._step(xs, h), other._step(xs, h), rtol=0, atol=FOLDED_TOLERANCE)

    def _step(self, xs: Array, h: Array) -> Array:
        size = self.of_state.weight.shape[1]
        of_x, of_h = _times(self.of_input, xs), _times(self.of_state, h)
        r, z = (1 / (1 + np.exp(-(of_x[:, rows] + of_h[:, rows]))) for rows in (slice(size), slice(size, 2 * size)))
        if self.linear_before_reset:
            n = np.tanh(of_x[:, 2 * size :] + r * of_h[:, 2 * size :])
        else:
            n = np.tanh(of_x[:, 2 * size :] + _times(self.of_state, r * h)[:, 2 * size :])
        return np.asarray((1 - z) * n + z * h)


def handwritten_cell(node: Node, matcher: Matcher) -> Handwritten | None:
    """Return the cell whose new state a node writes; None if it writes something else."""
    if node.op not in LAST_OPERATORS:
        return None
    for bindings in matcher.match(MIXED, node.outputs[0]):
        update = gate_of(bindings["z"], matcher)
        for candidate, state, is_negated in (("b", "a", False), ("a", "b", True)):
            if update is not None and update.inner.size:
                size = update.inner.size
                cell = _Reader(bindings[state], size, matcher).cell(bindings[candidate], update, is_negated)
                if cell is not None:
                    return cell
    return None


@dataclass(frozen=True)
class Activated:
    """What a gate is a function of."""

    inner: Affine
    function: Function


@dataclass(frozen=True)
class _Gate:
    """A gate's weights for the input and for the state, None where it reads none of it, and its biases."""

    of_input: Product | None
    of_state: Product | None
    bias: Array | None
    state_bias: Array | None = None


class _Reader:
    """Reads the gates of one cell.

    Parameters
    ----------
    state
        The tensor that holds the state.
    size
        How many features it has.
    matcher
        Of the graph.
    """

    def __init__(self, state: str, size: int, matcher: Matcher) -> None:
        self._state = state
        self._size = size
        self._matcher = matcher
        self._is_constant = matcher.constant(state) is not None

    def cell(self, candidate: str, update: Activated, is_negated: bool) -> Handwritten | None:
        """Return the cell with this candidate and update gate; None if there is none."""
        if is_negated and not update.function.is_symmetric:
            return None
        function, name = function_of(candidate, self._matcher) or (IDENTITY, candidate)
        inner = affine(name, self._matcher)
        for found, is_after in ((self._reset_after(inner), True), (self._reset_before(inner), False)):
            for reset, n in found:
                r, z = (self._split(gate.inner, self._state) for gate in (reset, update))
                if reset.function != update.function or r is None or z is None or n is None:
                    continue
                cell = self._stacked(r, z, n, is_after, (update.function, function))
                if cell is not None:
                    return cell.with_update_negated(self._matcher) if is_negated else cell
        cell = self._without_reset(update, inner, function)
        return cell.with_update_negated(self._matcher) if cell is not None and is_negated else cell

    def _without_reset(self, update: Activated, inner: Affine, function: Function) -> Handwritten | None:
        """Return the cell of a constant state of which nothing tells any more that a reset gate has multiplied it."""
        if not self._is_constant:
            return None
        z, n = self._split(update.inner, self._state), self._split(self._with_constants_added(inner), "")
        if z is None or n is None:
            return None
        cell = self._stacked(_Gate(None, None, None), z, n, False, (update.function, function))
        return None if cell is None else replace(cell, has_reset=False)

    def _with_constants_added(self, inner: Affine) -> Affine:
        """Return a sum with its products of constants in its bias."""
        products, bias = [], inner.bias
        for product in inner.products:
            rows = [constant_row(source, self._matcher) for source in product.sources]
            given = [row for row in rows if row is not None]
            if len(rows) != 2 or len(given) != 1 or given[0].shape != (self._size,):
                products.append(product)
                continue
            for part, row in zip(product.columns(self._size, [row is not None for row in rows]), rows, strict=True):
                if row is None:
                    products.append(part)
                else:
                    self._matcher.budget.create(part.weight.nbytes, self._matcher.node(product.whole))
                    bias = part.weight @ row + (0 if bias is None else bias)
        return replace(inner, products=tuple(products), bias=bias)

    def _reset_after(self, inner: Affine) -> Iterator[tuple[Activated, _Gate | None]]:
        """Yield the reset gate and the candidate, where it multiplies what is computed from the state."""
        for product in inner.others:
            rest = replace(inner, others=tuple(other for other in inner.others if other != product))
            for bindings in self._matcher.match(op("Mul", Var("r"), Var("u")), product):
                reset, given = gate_of(bindings["r"], self._matcher), affine(bindings["u"], self._matcher)
                of_input, of_state = self._split(rest, ""), self._split(given, self._state)
                if reset is not None and of_input is not None and of_state is not None and of_state.of_input is None:
                    yield reset, _Gate(of_input.of_input, of_state.of_state, of_input.bias, of_state.bias)

    def _reset_before(self, inner: Affine) -> Iterator[tuple[Activated, _Gate | None]]:
        """Yield the reset gate and the candidate, where it multiplies the state itself."""
        for name in dict.fromkeys(source for product in inner.products for source in product.sources):
            for bindings in self._matcher.match(op("Mul", Var("r"), Var("h")), name):
                reset = gate_of(bindings["r"], self._matcher)
                if reset is not None and same_data(bindings["h"], self._state, self._matcher):
                    yield reset, self._split(inner, name)

    def _split(self, gate: Affine, state: str) -> _Gate | None:
        """Return a gate's parts; None if it is not the sum of one product of the input and one of the state.

        In the place of a product of the input there may be a part of what was computed elsewhere for all three gates.
        """
        picked = [picked_rows(name, 3 * self._size, self._matcher) for name in gate.others]
        if any(product is None for product in picked):
            return None
        gate = replace(gate, products=(*gate.products, *(each for each in picked if each is not None)), others=())
        of_input: list[Product] = []
        of_state: list[Product] = []
        for product in gate.products:
            is_state = [bool(state) and same_data(source, state, self._matcher) for source in product.sources]
            if not any(is_state):
                of_input.append(product.unjoined())
                continue
            if len(is_state) > 2 or sum(is_state) > 1:
                return None
            for part, belongs in zip(product.columns(self._size, is_state), is_state, strict=True):
                (of_state if belongs else of_input).append(part)
        if len(of_state) == 2 and not of_input:  # a cell that reads its state as its input
            of_input.append(of_state.pop())
        sizes = {product.weight.shape[0] for product in gate.products} - {self._size}
        if sizes or len(of_input) > 1 or len(of_state) > 1:
            return None
        bias = gate.bias
        if bias is not None and bias.size == 1:
            bias = np.broadcast_to(bias, (self._size,))
        if bias is not None and bias.shape != (self._size,):
            return None
        return _Gate(of_input[0] if of_input else None, of_state[0] if of_state else None, bias)

    def _stacked(
        self, r: _Gate, z: _Gate, n: _Gate, linear_before_reset: bool, functions: tuple[Function, Function]
    ) -> Handwritten | None:
        inputs = [gate.of_input.sources[0] for gate in (r, z, n) if gate.of_input is not None]
        if not inputs or not all(same_data(inputs[0], other, self._matcher) for other in inputs[1:]):
            return None
        states = [gate.of_state for gate in (r, z, n)]
        of_input = self._gates(inputs[0], [gate.of_input for gate in (r, z, n)], [gate.bias for gate in (r, z, n)])
        of_state = self._gates(self._state, states, [gate.state_bias for gate in (r, z, n)])
        if of_input is None or of_state is None or of_state.weight.shape[1] != self._size:
            return None
        folded = self._is_constant and None in states
        projected = any(gate.of_input is not None and gate.of_input.is_picked for gate in (r, z, n))
        return Handwritten(of_input, of_state, self._state, linear_before_reset, functions, projected, folded)

    def _gates(self, source: str, products: list[Product | None], biases: list[Array | None]) -> Gates | None:
        sizes = {product.weight.shape[1] for product in products if product is not None} or {self._size}
        if len(sizes) > 1 or (all(product is None for product in products) and not self._is_constant):
            return None
        (columns,) = sizes
        weights = [None if product is None else product.weight for product in products]
        keys = [None if product is None else product.key for product in products]
        key = ("handwritten", self._size, columns, *keys)
        weight = self._joined(key, weights, (self._size, columns))
        if all(bias is None for bias in biases):
            return Gates(source, weight, None, key)
        key_of_bias = ("bias", self._size, *map(address, biases))
        return Gates(source, weight, self._joined(key_of_bias, biases, (self._size,)), key)

    def _joined(self, key: object, parts: Sequence[Array | None], shape: tuple[int, ...]) -> Array:
        """Return three parts of a shape one after the other, zeros where there is none."""
        n_bytes = 4 * len(parts) * math.prod(shape)
        return self._matcher.made(
            key,
            n_bytes,
            self._state,
            lambda: np.concatenate([np.zeros(shape, np.float32) if part is None else part for part in parts]),
        )


def gate_of(name: str, matcher: Matcher) -> Activated | None:
    """Return what a gate is a function of: of its own sum, or of a part of one for several gates."""
    found = function_of(name, matcher)
    if found is not None:
        function, inner = found
        return Activated(affine(inner, matcher), function)
    node = matcher.producers.get(name)
    whole = gate_of(node.inputs[0], matcher) if node is not None and node.op in CUTS else None
    if node is None or whole is None:
        return None
    part = part_of(node, name, whole.inner, matcher)
    return None if part is None else replace(whole, inner=part)


def _times(gates: Gates, xs: Array) -> Array:
    product = xs.astype(np.float64) @ gates.weight.T.astype(np.float64)
    return product if gates.bias is None else product + gates.bias
