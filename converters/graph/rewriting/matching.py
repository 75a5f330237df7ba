"""Finds expressions in a graph: which nodes compute, say, ``x / (1 + |x|)``, in whatever order their operands stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Attribute, Graph

Bindings = Mapping[str, str]
"""Names of tensors by the variables of a template."""

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
    """Matches templates against the tensors of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.producers = graph.producers()
        self._constants = graph.constants

    def match(self, template: Template, tensor: str, bound: Bindings | None = None) -> Iterator[Bindings]:
        """Yield every binding of variables under which the tensor is what the template says."""
        bound = {} if bound is None else bound
        match template:
            case Var(name):
                if name not in bound or self.is_same(bound[name], tensor):
                    yield {**bound, name: bound.get(name, tensor)}
            case Num(value):
                number = self.constant(tensor)
                if number is not None and number.size == 1 and math.isclose(float(number.flat[0]), value, rel_tol=1e-6):
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

    def is_same(self, one: str, other: str) -> bool:
        """Whether two names are of one tensor, or of equal constants, as exporters write a state of zeros."""
        if one == other:
            return True
        first, second = self.constant(one), self.constant(other)
        return first is not None and second is not None and np.array_equal(first, second)

    def constant(self, tensor: str) -> Array | None:
        """Return the floating-point numbers that a tensor holds in every run; None if it is not constant."""
        array = self._array(tensor)
        return array if array is not None and array.dtype.kind == "f" else None

    def integers(self, tensor: str) -> tuple[int, ...] | None:
        """Return the integers that a tensor holds in every run; None if it is not constant."""
        array = self._array(tensor)
        return tuple(map(int, array.flat)) if array is not None and array.dtype.kind == "i" else None

    def _array(self, tensor: str) -> Array | None:
        node = self.producers.get(tensor)
        while node is not None and node.op == "Identity" and node.inputs:
            tensor = node.inputs[0]
            node = self.producers.get(tensor)
        if node is not None and node.op == "Constant":
            value = node.attributes.get("value")
            return value if isinstance(value, np.ndarray) else None
        return self._constants.get(tensor)

    def _match_operands(
        self, templates: tuple[Template, ...], tensors: tuple[str, ...], bound: Bindings
    ) -> Iterator[Bindings]:
        if not templates:
            yield bound
            return
        for extended in self.match(templates[0], tensors[0], bound):
            yield from self._match_operands(templates[1:], tensors[1:], extended)


def _is_same(one: Attribute, other: Attribute) -> bool:
    return not isinstance(one, np.ndarray) and one == other
