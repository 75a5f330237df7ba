"""Values added, multiplied, compared, joined, cut and reduced."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from grurt.errors import ModelError
from grurt.network.layers.base import Layer, Shape, SizedLayer

__all__ = ["Add", "Binary", "Concat", "Constant", "Mul", "Reduce", "Slice", "Where"]


class Arithmetic(Layer, frozen=True, kw_only=True):
    """Base class of the operations on two or more values of one size, feature by feature, from left to right."""

    max_inputs: ClassVar[int] = 64

    def operation_count(self) -> int:
        return len(self.inputs) - 1

    def passes(self) -> int:
        return self.operation_count()

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        for size in input_sizes[1:]:
            self._expect_input_size(input_sizes[0], size)
        return input_sizes[0]


class Add(Arithmetic, frozen=True, kw_only=True):
    """Element-wise sum of two or more values of one size, added from left to right."""


class Mul(Arithmetic, frozen=True, kw_only=True):
    """Element-wise product of two or more values of one size, multiplied from left to right."""


class Binary(Arithmetic, frozen=True, kw_only=True):
    """An operation on two values of one size, feature by feature; ``min`` and ``max`` also on more.

    ``sub``, ``div`` and ``pow`` are ``a - b``, ``a / b`` and ``a ** b``; ``less``, ``less_or_equal`` and ``equal`` are
    1 where that holds of a and b, and 0 elsewhere. A minimum or maximum with a NaN is NaN, and a comparison with one 0.
    """

    file_version: ClassVar[int] = 2

    operation: Literal["sub", "div", "pow", "min", "max", "less", "less_or_equal", "equal"]

    def input_counts(self) -> tuple[int, int]:
        return 2, self.max_inputs if self.operation in ("min", "max") else 2

    @property
    def has_poles(self) -> bool:
        return self.operation in ("div", "pow")


class Where(Arithmetic, frozen=True, kw_only=True):
    """Features of the second value where those of the first, the condition, are not 0, else of the third."""

    file_version: ClassVar[int] = 2
    max_inputs: ClassVar[int] = 3

    def input_counts(self) -> tuple[int, int]:
        return 3, 3


class Constant(SizedLayer, frozen=True, kw_only=True):
    """The ``weight (size,)`` at every timestep of the value that it reads, whose features are not looked at."""

    file_version: ClassVar[int] = 2

    def weight_shapes(self) -> Mapping[str, Shape]:
        return {"weight": (self.size,)}

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return self.size

    def first_input(self, name: str) -> None:
        return None


class Reduce(Layer, frozen=True, kw_only=True):
    """One number of the features of a timestep.

    ``sum``, ``mean``, ``prod``, ``max`` and ``min``; the norms ``l1``, ``sum(|x|)``, and ``l2``, ``sqrt(sum(x * x))``;
    ``log_sum_exp``, ``log(sum(exp(x)))`` without overflow; and ``argmax`` and ``argmin``, the place of the largest or
    smallest feature, counted from 0, of several the first.
    """

    file_version: ClassVar[int] = 2
    reads_all: ClassVar[bool] = True

    operation: Literal["sum", "mean", "prod", "max", "min", "l1", "l2", "log_sum_exp", "argmax", "argmin"]

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return 1


class Concat(Layer, frozen=True, kw_only=True):
    """The features of two or more values, one after the other."""

    max_inputs: ClassVar[int] = 64

    def operation_count(self) -> int:
        return len(self.inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return sum(input_sizes)


class Slice(Layer, frozen=True, kw_only=True):
    """Features ``start`` to ``stop - 1`` of a value (ONNX ``Slice``, ``Split``; PyTorch ``narrow``, ``chunk``)."""

    from_zero: ClassVar[tuple[str, ...]] = ("start",)

    start: int
    stop: int

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        if not self.start < self.stop <= input_sizes[0]:
            raise ModelError(
                f"layer {self.name!r}: expected start < stop <= {input_sizes[0]}, the size of its input, "
                f"got start={self.start}, stop={self.stop}"
            )
        return self.stop - self.start
