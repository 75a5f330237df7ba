"""Activation functions of gates and candidates, also those that are spelled out in several operators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from grurt.converters.graph.nodes import Attribute, Node
from grurt.converters.graph.rewriting.matching import Matcher

_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "Sigmoid": (None, None),
    "Tanh": (None, None),
    "Relu": (None, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "Elu": (1.0, None),
    "HardSigmoid": (0.2, 0.5),
}
"""Operators that a GRU may have as activations, with alpha and beta where they are not said."""

_MAX_LINES = 8
"""How many sums and products may stand around a limit."""


@dataclass(frozen=True)
class Function:
    """An activation function of the operator GRU, with its parameters, where it has any."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    @property
    def is_symmetric(self) -> bool:
        """Whether ``f(-x) = 1 - f(x)``."""
        return self.name == "Sigmoid" or (self.name == "HardSigmoid" and self.beta == 0.5)


SIGMOID, TANH, IDENTITY = Function("Sigmoid"), Function("Tanh"), Function("Affine", 1.0, 0.0)


def attributes_of(functions: Iterable[Function]) -> dict[str, Attribute]:
    """Return the attributes that give a GRU these activations."""
    listed = list(functions)
    if listed == [SIGMOID, TANH]:
        return {}
    return {
        "activations": tuple(each.name for each in listed),
        "activation_alpha": tuple(each.alpha for each in listed if each.alpha is not None),
        "activation_beta": tuple(each.beta for each in listed if each.beta is not None),
    }


def function_of(name: str, matcher: Matcher) -> tuple[Function, str] | None:
    """Return the function that writes a tensor, and what it reads; None if none of a GRU's activations does."""
    node = matcher.producers.get(name)
    if node is None or not node.inputs:
        return None
    if node.op in _PARAMETERS:
        alpha, beta = _PARAMETERS[node.op]
        given = node.attributes.get("alpha", alpha), node.attributes.get("beta", beta)
        numbers = [number for number in given if number is None or isinstance(number, float)]
        return (Function(node.op, *numbers), node.inputs[0]) if len(numbers) == 2 else None
    return _hard_sigmoid(node, matcher)


def _hard_sigmoid(node: Node, matcher: Matcher) -> tuple[Function, str] | None:
    """Return ``clip(alpha * x + beta, 0, 1)``, which is written as scales and offsets around limits."""
    outer_scale, outer_offset, inner = _line(node.outputs[0], matcher)
    limits = _limits(inner, matcher)
    if limits is None or outer_scale <= 0:
        return None
    lowest, highest, limited = limits
    scale, offset, x = _line(limited, matcher)
    ends = (outer_scale * lowest + outer_offset, outer_scale * highest + outer_offset)
    if not np.allclose(ends, (0, 1), rtol=0, atol=1e-6):
        return None
    return Function("HardSigmoid", _float32(outer_scale * scale), _float32(outer_scale * offset + outer_offset)), x


def _line(name: str, matcher: Matcher) -> tuple[float, float, str]:
    """Return ``scale``, ``offset`` and ``x`` of a tensor that is ``scale * x + offset``: if need be, of itself."""
    scale, offset = 1.0, 0.0
    for _ in range(_MAX_LINES):
        node = matcher.producers.get(name)
        if node is None or len(node.inputs) != 2 or node.op not in ("Add", "Sub", "Mul", "Div"):
            break
        numbers = [matcher.number(each) for each in node.inputs]
        place = 1 if numbers[1] is not None else 0
        number, x = numbers[place], node.inputs[1 - place]
        if (
            number is None
            or numbers[1 - place] is not None
            or (node.op in ("Sub", "Div") and place == 0)
            or number == 0
        ):
            break
        match node.op:
            case "Add":
                offset += scale * number
            case "Sub":
                offset -= scale * number
            case "Mul":
                scale *= number
            case "Div":
                scale /= number
        name = x
    return scale, offset, name


def _limits(name: str, matcher: Matcher) -> tuple[float, float, str] | None:
    """Return the smallest and the largest value that a tensor is limited to, and the tensor before it was."""
    lowest, highest = -np.inf, np.inf
    for _ in range(2):
        node = matcher.producers.get(name)
        if node is None or node.op not in ("Clip", "Min", "Max") or not node.inputs:
            break
        if node.op == "Clip":
            given = [matcher.number(each) if each else None for each in (*node.inputs[1:], "", "")[:2]]
            bounds = [
                node.attributes.get(key) if value is None else value
                for key, value in zip(("min", "max"), given, strict=True)
            ]
            if not all(isinstance(bound, float) for bound in bounds):
                return None
            lowest, highest = (float(bound) for bound in bounds if isinstance(bound, float))
            return lowest, highest, node.inputs[0]
        numbers = [matcher.number(each) for each in node.inputs]
        if len(numbers) != 2 or (numbers[0] is None) == (numbers[1] is None):
            return None
        number = next(each for each in numbers if each is not None)
        if node.op == "Min":
            highest = min(highest, max(number, lowest))
        else:
            lowest = max(lowest, min(number, highest))
        name = node.inputs[numbers.index(None)]
    return (lowest, highest, name) if np.isfinite([lowest, highest]).all() else None


def _float32(number: float) -> float:
    """Return the number without what float32 constants have lost: 0.2, 1/6 and 0.5 as they were meant."""
    return float(np.float32(number))
