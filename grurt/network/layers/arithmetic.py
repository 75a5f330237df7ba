"""Values added, multiplied, joined and cut."""

from typing import ClassVar

from grurt.errors import ModelError
from grurt.network.layers.base import Layer

__all__ = ["Add", "Concat", "Mul", "Slice"]


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
