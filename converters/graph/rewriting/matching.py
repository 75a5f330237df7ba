"""Finds expressions in a graph: which nodes compute, say, ``x / (1 + |x|)``, in whatever order their operands stand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.graph.nodes import Attribute, Graph, Node
from grurt.converters.graph.tracing.folding import Folder, is_foldable
from grurt.converters.graph.tracing.folds import products
from grurt.errors import ConversionError

Bindings = Mapping[str, str]
"""Names of tensors by the variables of a template."""

_MAX_DEPTH = 64
"""How long a chain of computed constants may be."""

_MAX_SHAPE_DEPTH = 16
"""How long a chain of what is computed from a shape may be."""

_COMMUTATIVE = frozenset({"Add", "Mul"})


@dataclass(frozen=True)
class Var:
    """Any tensor; the same one wherever the variable stands."""

    name: str


@dataclass(frozen=True)
class Num:
    """A constant of one element with this value, to a relative accuracy of 1e-6."""

    value: float


@dataclass(frozen=True)
class Op:
    """What an operator with just these attributes writes, from operands that match; of Add and Mul in either order."""

    name: str
    operands: tuple[Template, ...]
    attributes: tuple[tuple[str, Attribute], ...] = ()


@dataclass(frozen=True)
class AnyOf:
    """One of several templates."""

    templates: tuple[Template, ...]


Template = Var | Num | Op | AnyOf


def op(name: str, *operands: Template | float, **attributes: Attribute) -> Op:
    """Return a template of an operator, with numbers as constants."""
    return Op(name, tuple(Num(x) if isinstance(x, float) else x for x in operands), tuple(attributes.items()))


class Matcher:
    """Matches templates against the tensors of one graph.

    Parameters
    ----------
    graph
        The graph, whose nodes do not read each other in a circle.
    budget
        What may be created, by those who ask.
    """

    def __init__(self, graph: Graph, budget: Budget) -> None:
        self.producers = graph.producers()
        self.budget = budget
        self._constants = graph.constants
        self._folded: dict[str, Array | None] = {}
        self._given: dict[tuple[str, tuple[int, ...]], dict[str, Array | None]] = defaultdict(dict)
        self._origins: dict[frozenset[str], dict[str, str]] = defaultdict(dict)
        self._made: dict[object, Array] = {}

    def match(self, template: Template, tensor: str, bound: Bindings | None = None) -> Iterator[Bindings]:
        """Yield every binding of variables under which the tensor is what the template says."""
        bound = {} if bound is None else bound
        match template:
            case Var(name):
                if name not in bound or self.is_same(bound[name], tensor):
                    yield {**bound, name: bound.get(name, tensor)}
            case Num(value):
                number = self.number(tensor)
                if number is not None and math.isclose(number, value, rel_tol=1e-6):
                    yield bound
            case AnyOf(templates):
                for alternative in templates:
                    yield from self.match(alternative, tensor, bound)
            case Op(name, operands, attributes):
                node = self.producers.get(tensor)
                if node is None or node.op != name or len(node.inputs) != len(operands):
                    return
                if len(node.attributes) == len(attributes) and all(
                    key in node.attributes and _is_same(node.attributes[key], value) for key, value in attributes
                ):
                    yield from self._match_operands(operands, node.inputs, bound)
                    if name in _COMMUTATIVE:
                        yield from self._match_operands(operands, node.inputs[::-1], bound)

    def is_same(self, one: str, other: str, *, in_any_shape: bool = False) -> bool:
        """Whether two names are of one tensor, or of equal constants, as exporters write a state of zeros."""
        if one == other:
            return True
        first, second = self.constant(one), self.constant(other)
        if first is None or second is None or first.size != second.size:
            return False
        self.budget.read(first.nbytes, self.node(one))
        if in_any_shape:
            return np.array_equal(first.reshape(-1), second.reshape(-1))
        return np.array_equal(first, second)

    def constant(self, tensor: str) -> Array | None:
        """Return the floating-point numbers that a tensor holds in every run; None if it is not constant."""
        array = self.array(tensor)
        return array if array is not None and array.dtype.kind == "f" else None

    def number(self, tensor: str) -> float | None:
        """Return the one floating-point number that a tensor holds in every run; None if it holds no such one."""
        array = self.constant(tensor)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def integers(self, tensor: str) -> tuple[int, ...] | None:
        """Return the few integers that a tensor holds in every run, none of many; None if it is not constant."""
        array = self.array(tensor)
        if array is None or array.dtype.kind != "i":
            return None
        return tuple(map(int, array.reshape(-1))) if array.size <= MAX_RANK else ()

    def origin(self, tensor: str, through: frozenset[str]) -> str:
        """Return the tensor that a tensor is made of by nothing but operators of these names."""
        known = self._origins[through]
        passed = []
        while tensor not in known:
            node = self.producers.get(tensor)
            if node is None or node.op not in through or not node.inputs:
                known[tensor] = tensor
                break
            passed.append(tensor)
            tensor = node.inputs[0]
        known.update(dict.fromkeys(passed, known[tensor]))
        return known[tensor]

    def node(self, tensor: str) -> Node:
        """Return the node that writes a tensor; for a constant of the file, one to speak of in errors."""
        return self.producers.get(tensor) or Node("", "Constant", (), (tensor,))

    def made(self, key: object, n_bytes: int, tensor: str, make: Callable[[], Array]) -> Array:
        """Return what ``make`` returned when it was first called for this key: an array of so many bytes.

        ``tensor`` is what it is made for.
        """
        if key not in self._made:
            self.budget.create(n_bytes, self.node(tensor))
            self._made[key] = make()
        return self._made[key]

    def array(self, tensor: str) -> Array | None:
        """Return what a tensor holds in every run, computed from constants if need be; None if it is not constant."""
        if tensor in self._constants:
            return self._constants[tensor]
        todo = [tensor]
        while todo:
            node = self.producers.get(todo[-1])
            known = todo[-1] in self._folded
            missing = [] if known or node is None else self._missing(node)
            if missing and len(todo) < _MAX_DEPTH:
                todo += missing
                continue
            if not known:
                self._folded[todo[-1]] = None
            if not known and node is not None and not missing:
                self._folded.update(self._results(node))
            todo.pop()
        return self._folded[tensor]

    def array_given(self, tensor: str, other: str, shape: tuple[int, ...]) -> Array | None:
        """Return what a tensor holds if another has this shape, of which it is computed; None if it is not so."""
        known = self._given[other, shape]

        def value_of(name: str, depth: int) -> Array | None:
            node = self.producers.get(name)
            if name not in known:
                known[name] = array = self.array(name)
                if array is None and node is not None and depth > 0 and _is_looked_into(node):
                    if node.op == "Shape":
                        values = [_view_of_shape(shape) if each == other else None for each in node.inputs]
                    else:
                        values = [value_of(each, depth - 1) for each in node.inputs]
                    known.update(self._results_of(node, values))
            return known[name]

        return value_of(tensor, _MAX_SHAPE_DEPTH)

    def _missing(self, node: Node) -> list[str]:
        """Return the inputs of a node of which it is not known whether they are constant; none where that is no use."""
        inputs = [name for name in node.inputs if name and name not in self._constants]
        if not _is_looked_into(node) or any(name in self._folded and self._folded[name] is None for name in inputs):
            return []
        return [name for name in inputs if name not in self._folded]

    def _results(self, node: Node) -> dict[str, Array | None]:
        """Return what a node writes whose inputs are constants, by name; nothing for others."""
        return self._results_of(node, [self._constants.get(name, self._folded.get(name)) for name in node.inputs])

    def _results_of(self, node: Node, values: Sequence[Array | None]) -> dict[str, Array | None]:
        if not _is_looked_into(node) or any(
            value is None for value, name in zip(values, node.inputs, strict=True) if name
        ):
            return {}
        try:
            results = Folder(self.budget).fold(node, tuple(values))
        except ConversionError:  # whoever interprets the graph says what is wrong with it
            return {}
        return dict(zip(node.outputs, results, strict=False))

    def _match_operands(
        self, templates: tuple[Template, ...], tensors: tuple[str, ...], bound: Bindings
    ) -> Iterator[Bindings]:
        if not templates:
            yield bound
            return
        for extended in self.match(templates[0], tensors[0], bound):
            yield from self._match_operands(templates[1:], tensors[1:], extended)


def _view_of_shape(shape: tuple[int, ...]) -> Array | None:
    """Return an array of a shape that takes no memory; None if there is none, as the file may say any sizes."""
    with suppress(ValueError):
        return np.broadcast_to(np.float32(0), shape)
    return None


def _is_same(one: Attribute, other: Attribute) -> bool:
    return not isinstance(one, np.ndarray) and one == other


def _is_looked_into(node: Node) -> bool:
    """Say whether what a node makes of constants is one: but for products, by which cells of zeros are found."""
    return is_foldable(node) and node.op not in products.RULES
