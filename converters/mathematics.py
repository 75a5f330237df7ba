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
    Clip,
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


def arc_tangent(formula: Formula, x: str) -> str:
    """Return ``atan(x)``, relative error below 4e-7: ``2 atan(u)`` with ``u = x / (1 + sqrt(1 + x * x))``."""
    limited = formula.of(x, Clip(minimum=-_LARGE_TANGENT, maximum=_LARGE_TANGENT))
    root = formula.of(formula.multiply(limited, limited), _PLUS_ONE, Sqrt(), _PLUS_ONE)
    return formula.of(_of_half(formula, formula.binary("div", limited, root)), _DOUBLE)


def arc_sine(formula: Formula, x: str) -> str:
    """Return ``asin(x)``: ``2 atan(u)`` with ``u = x / (1 + sqrt((1 - x) * (1 + x)))``."""
    cosine = formula.of(formula.multiply(formula.of(x, Affine(-1.0, 1.0)), formula.of(x, _PLUS_ONE)), Sqrt())
    return formula.of(_of_half(formula, formula.binary("div", x, formula.of(cosine, _PLUS_ONE))), _DOUBLE)


def arc_cosine(formula: Formula, x: str) -> str:
    """Return ``pi / 2 - asin(x)``."""
    return formula.of(arc_sine(formula, x), Affine(-1.0, math.pi / 2))


def _of_half(formula: Formula, u: str) -> str:
    """Return ``atan(u)`` for u in [-1, 1]: ``2 v P(v * v)`` with ``v = u / (1 + sqrt(1 + u * u))``."""
    root = formula.of(formula.multiply(u, u), _PLUS_ONE, Sqrt(), _PLUS_ONE)
    v = formula.binary("div", u, root)
    square = formula.multiply(v, v)
    highest, *lower = _ARC_TANGENT
    p = formula.of(square, Affine(highest, lower[0]))
    for coefficient in lower[1:]:
        p = formula.of(formula.multiply(p, square), Affine(1.0, coefficient))
    return formula.of(formula.multiply(v, p), _DOUBLE)


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


_NEGATIVE, _HALF, _DOUBLE, _PLUS_ONE = Affine(-1.0, 0.0), Affine(0.5, 0.0), Affine(2.0, 0.0), Affine(1.0, 1.0)

_LARGE_TANGENT = 1e15
"""From here on, an arc tangent is that of infinity, to the precision of float32; the square is finite."""

_ARC_TANGENT = (0.0799364447593689, -0.13854457437992096, 0.1997472494840622, -0.3333280682563782, 1.0)
"""Coefficients of ``atan(v) / v`` in ``v * v``, the highest power first: a minimax polynomial for ``v <= tan(pi / 8)``,
with an error below 2e-8."""

OF_ONE: Mapping[str, Callable[[Formula, str], str]] = {
    "trunc": truncated,
    "tan": tangent,
    "sinh": hyperbolic_sine,
    "cosh": hyperbolic_cosine,
    "asinh": inverse_hyperbolic_sine,
    "acosh": inverse_hyperbolic_cosine,
    "atanh": inverse_hyperbolic_tangent,
    "asin": arc_sine,
    "acos": arc_cosine,
    "atan": arc_tangent,
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
