"""Operators on one number after the other, of values that are broadcast to one shape."""

from __future__ import annotations

from typing import ClassVar, Literal

from grurt.network.functions import ElementwiseFunction, MathematicalFunction
from grurt.network.operators.base import Operator, Shape, broadcast

__all__ = ["Apply", "Combine", "PRelu", "Where"]


class Apply(Operator, frozen=True, kw_only=True):
    """A function of every number (ONNX ``Relu``, ``Sigmoid``, ``Exp`` ...)."""

    function: ElementwiseFunction | MathematicalFunction

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        return (inputs[0],)

    @property
    def has_poles(self) -> bool:
        return self.function.has_poles


class Combine(Operator, frozen=True, kw_only=True):
    """An operation on two values (ONNX ``Add``, ``Sub``, ``Mul``, ``Div``, ``Pow``, ``Min``, ``Max``, ``Less`` ...).

    ``less``, ``less_or_equal`` and ``equal`` are 1 where that holds of a and b, and 0 elsewhere. A minimum or maximum
    with a NaN is NaN, and a comparison with one 0.
    """

    n_inputs: ClassVar[tuple[int, int]] = (2, 2)

    operation: Literal["add", "sub", "mul", "div", "pow", "min", "max", "less", "less_or_equal", "equal"]

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        return (broadcast(self, *inputs),)

    @property
    def has_poles(self) -> bool:
        return self.operation in ("div", "pow")


class Where(Operator, frozen=True, kw_only=True):
    """The second value where the first, the condition, is not 0, else the third (ONNX ``Where``)."""

    n_inputs: ClassVar[tuple[int, int]] = (3, 3)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        return (broadcast(self, *inputs),)


class PRelu(Operator, frozen=True, kw_only=True):
    """``x if x >= 0 else slope * x``, of x and slope (ONNX ``PRelu``)."""

    n_inputs: ClassVar[tuple[int, int]] = (2, 2)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        return (broadcast(self, *inputs),)
