"""Functions of mathematics that several frameworks have and grurt has not, by the layers that it has.

Every converter asks here, so that a function means the same wherever it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from grurt.converters.layer_builder import LayerBuilder
from grurt.network.functions import (
    Abs,
    Affine,
    AnyFunction,
    Cos,
    Erf,
    Exp,
    Floor,
    Log,
    Reciprocal,
    Sign,
    Sin,
    Softplus,
    Sqrt,
)
from grurt.network.layers import Add, Binary, Mul

Operation = Literal["sub", "div", "pow", "min", "max", "less", "less_or_equal", "equal"]


class Formula:
    """Adds the layers of a formula.

    Parameters
    ----------
    build
        Takes the layers.
    name
        Gives names to layers, from what they do.
    """

    def __init__(self, build: LayerBuilder, name: Callable[[str], str]) -> None:
        self._build = build
        self._name = name

    def of(self, value: str, *functions: AnyFunction) -> str:
        """Return functions of a value, applied one after the other."""
        return self._build.in_turn(value, functions, self._name)

    def binary(self, operation: Operation, first: str, second: str) -> str:
        """Return an operation on two values, see `Binary`."""
        name = self._name(operation)
        return self._build.add(Binary(name=name, inputs=(first, second), operation=operation))

    def add(self, *values: str) -> str:
        """Return the sum of values."""
        return self._build.add(Add(name=self._name("add"), inputs=values))

    def multiply(self, *values: str) -> str:
        """Return the product of values."""
        return self._build.add(Mul(name=self._name("mul"), inputs=values))


def truncated(formula: Formula, x: str) -> str:
    """Return x rounded towards zero: ``sign(x) * floor(|x|)``."""
    return formula.multiply(formula.of(x, Sign()), formula.of(x, Abs(), Floor()))


def tangent(formula: Formula, x: str) -> str:
    """Return ``sin(x) / cos(x)``."""
    return formula.binary("div", formula.of(x, Sin()), formula.of(x, Cos()))


def hyperbolic_sine(formula: Formula, x: str) -> str:
    """Return ``(exp(x) - exp(-x)) / 2``."""
    return formula.of(formula.binary("sub", formula.of(x, Exp()), formula.of(x, _NEGATIVE, Exp())), _HALF)


def hyperbolic_cosine(formula: Formula, x: str) -> str:
    """Return ``(exp(x) + exp(-x)) / 2``."""
    return formula.of(formula.add(formula.of(x, Exp()), formula.of(x, _NEGATIVE, Exp())), _HALF)


def inverse_hyperbolic_sine(formula: Formula, x: str) -> str:
    """Return ``sign(x) * log(|x| + sqrt(x * x + 1))``."""
    root = formula.of(formula.multiply(x, x), Affine(1.0, 1.0), Sqrt())
    return formula.multiply(formula.of(x, Sign()), formula.of(formula.add(formula.of(x, Abs()), root), Log()))


def inverse_hyperbolic_cosine(formula: Formula, x: str) -> str:
    """Return ``log(x + sqrt(x * x - 1))``."""
    root = formula.of(formula.multiply(x, x), Affine(1.0, -1.0), Sqrt())
    return formula.of(formula.add(x, root), Log())


def inverse_hyperbolic_tangent(formula: Formula, x: str) -> str:
    """Return ``log((1 + x) / (1 - x)) / 2``."""
    quotient = formula.binary("div", formula.of(x, Affine(1.0, 1.0)), formula.of(x, Affine(-1.0, 1.0)))
    return formula.of(quotient, Log(), _HALF)


def remainder(formula: Formula, x: str, y: str) -> str:
    """Return ``x - y * floor(x / y)``, which has the sign of y (Python's ``%``, PyTorch's and Keras's remainder)."""
    return formula.binary("sub", x, formula.multiply(y, floor_division(formula, x, y)))


def truncated_remainder(formula: Formula, x: str, y: str) -> str:
    """Return ``x - y * trunc(x / y)``, which has the sign of x (C's ``fmod``)."""
    return formula.binary("sub", x, formula.multiply(y, truncated(formula, formula.binary("div", x, y))))


def floor_division(formula: Formula, x: str, y: str) -> str:
    """Return ``floor(x / y)``."""
    return formula.of(formula.binary("div", x, y), Floor())


def hypotenuse(formula: Formula, x: str, y: str) -> str:
    """Return ``sqrt(x * x + y * y)``."""
    return formula.of(formula.add(formula.multiply(x, x), formula.multiply(y, y)), Sqrt())


def log_of_sum(formula: Formula, x: str, y: str) -> str:
    """Return ``log(exp(x) + exp(y))``, as the larger one and a softplus."""
    distance = formula.of(formula.binary("sub", x, y), Abs(), _NEGATIVE, Softplus())
    return formula.add(formula.binary("max", x, y), distance)


_NEGATIVE, _HALF = Affine(-1.0, 0.0), Affine(0.5, 0.0)

OF_ONE: Mapping[str, Callable[[Formula, str], str]] = {
    "trunc": truncated,
    "tan": tangent,
    "sinh": hyperbolic_sine,
    "cosh": hyperbolic_cosine,
    "asinh": inverse_hyperbolic_sine,
    "acosh": inverse_hyperbolic_cosine,
    "atanh": inverse_hyperbolic_tangent,
    "exp2": lambda formula, x: formula.of(x, Affine(math.log(2), 0.0), Exp()),
    "expm1": lambda formula, x: formula.of(x, Exp(), Affine(1.0, -1.0)),
    "log1p": lambda formula, x: formula.of(x, Affine(1.0, 1.0), Log()),
    "log2": lambda formula, x: formula.of(x, Log(), Affine(1 / math.log(2), 0.0)),
    "log10": lambda formula, x: formula.of(x, Log(), Affine(1 / math.log(10), 0.0)),
    "rsqrt": lambda formula, x: formula.of(x, Sqrt(), Reciprocal()),
    "erfc": lambda formula, x: formula.of(x, Erf(), Affine(-1.0, 1.0)),
}
"""Functions of one number, by the names that NumPy and its kin have for them."""

OF_TWO: Mapping[str, Callable[[Formula, str, str], str]] = {
    "remainder": remainder,
    "fmod": truncated_remainder,
    "floor_divide": floor_division,
    "hypot": hypotenuse,
    "logaddexp": log_of_sum,
}
"""Functions of two numbers."""
