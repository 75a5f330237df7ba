"""What every operator answers about itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from grurt.errors import ModelError
from grurt.escaping import described
from grurt.network.functions import Function, snake_case
from grurt.network.ranges import MAX_AXES, MAX_SIZE, check_finite, check_function, check_range
from grurt.network.vectors import padded

Shape = tuple[int, ...]


class Operator(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="operator", tag=snake_case
):
    """Base class of the operators of a step program: pure functions of arrays of fixed shapes.

    Parameters
    ----------
    inputs
        Names of the values that it reads: inputs, states and constants of the program, or what earlier operators write.
    outputs
        Names of the values that it writes, which are new; an empty name where a value of several is not wanted.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    n_inputs: ClassVar[tuple[int, int]] = (1, 1)
    """Fewest and most values that it reads."""
    n_outputs: ClassVar[int] = 1
    constants: ClassVar[tuple[int, ...]] = ()
    """Places among its inputs where it reads constants, which the engine lays out anew."""
    lists: ClassVar[tuple[str, ...]] = ()
    """Fields that are lists of any length; others have a number for each axis."""
    moves: ClassVar[bool] = False
    """Whether each number that it writes is one that it reads, or a constant."""

    @property
    def kind(self) -> str:
        """The operator's kind as it stands in files, e.g. ``"conv_transpose"``."""
        return str(self.__struct_config__.tag)

    @property
    def where(self) -> str:
        """The operator, as error messages name it."""
        return f"{self.kind} {next(filter(None, self.outputs), '')!r}"

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the values that it writes, from those that it reads; ModelError if they do not fit."""
        raise NotImplementedError

    def multiply_adds(self, *inputs: Shape) -> int:
        """Multiplications with weights, or of two values in a product."""
        return 0

    def n_steps(self, *inputs: Shape) -> int:
        """How many steps of the engine it is, at most."""
        return 1

    def packed_numbers(self, *inputs: Shape) -> int:
        """How many float32 the engine keeps for it at most, beside what every step takes: weights and tables.

        The tables of a step say where rows begin, of what it writes and of all that it reads, and in the worst case
        each number is a row. Constants that are read like other values are not among them.
        """
        return (1 + len(inputs)) * sum(math.prod(shape) for shape in self.shapes(*inputs))

    def matrices(self, *inputs: Shape) -> Mapping[int, tuple[int, ...]]:
        """Return the axes that products with weight matrices sum over, by the places of these among the inputs.

        Constants in these places may be quantized, all of an operator in one format.
        """
        return {}

    def record_numbers(self, *inputs: Shape) -> int:
        """How many float32 of working memory integer weights take besides: for what they are multiplied with."""
        return 0

    def scratch_numbers(self, *inputs: Shape) -> int:
        """How many float32 of working memory it takes, at most: what it writes, and copies of what it reads."""
        return sum(padded(math.prod(shape)) for shape in self.shapes(*inputs))

    @property
    def has_poles(self) -> bool:
        """Whether it makes infinities, or NaN, of numbers that are neither, and of no great size."""
        return False

    def check(self) -> None:
        """Raise ModelError unless its names are as many as it reads and writes, and its numbers within their ranges.

        What they have to be for what it reads, `shapes` checks.
        """
        fewest, most = self.n_inputs
        if not fewest <= len(self.inputs) <= most:
            wanted = f"{fewest} to {most}" if fewest < most else f"{fewest}"
            raise self.misfit(f"expected {wanted} inputs, got {len(self.inputs)}")
        if len(self.outputs) != self.n_outputs or not any(self.outputs):
            raise self.misfit(f"expected names for {self.n_outputs} outputs, got {list(self.outputs)}")
        for name in self.__struct_fields__:
            if name not in ("inputs", "outputs"):
                self._check_field(name, getattr(self, name))

    def _check_field(self, name: str, value: object) -> None:
        where = f"{self.where}: {name}"
        if isinstance(value, Function):
            check_function(where, value)
        elif isinstance(value, float):
            check_finite(where, value)
        elif isinstance(value, int):
            check_range(where, value, -MAX_SIZE)
        elif isinstance(value, tuple) and value:
            if len(value) > (MAX_SIZE if name in self.lists else MAX_AXES):
                raise self.misfit(f"{name}: expected a number for each axis, got {len(value):,}")
            check_range(where, min(value), -MAX_SIZE)
            check_range(where, max(value), -MAX_SIZE)

    def checked_axis(self, axis: int, shape: Shape) -> int:
        """Return an axis of a shape, which has to have it; ModelError if it does not."""
        if not 0 <= axis < len(shape):
            raise self.misfit(f"expected an axis in [0, {len(shape)}), got {axis}")
        return axis

    def misfit(self, text: str) -> ModelError:
        """Return the error that something about the operator is not as it has to be."""
        return ModelError(f"{self.where}: {text}")


MAX_CONSTANT = 1 << 28
"""The most numbers that a constant can have: its file has them all."""


def broadcast(operator: Operator, *shapes: Shape) -> Shape:
    """Return the shape that values of some shapes are broadcast to, as NumPy does; ModelError if they do not fit."""
    rank = max(map(len, shapes))
    aligned = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = [max(column) for column in zip(*aligned, strict=True)]
    if any(size not in (1, widest) for shape in aligned for size, widest in zip(shape, sizes, strict=True)):
        raise operator.misfit(f"shapes {', '.join(map(str, shapes))} cannot be broadcast together")
    return tuple(sizes)


def check_shape(where: str, shape: Shape, most: int = MAX_SIZE) -> None:
    """Raise ModelError unless a shape is one that a value can have: axes of at least 1, not too many numbers in all."""
    if len(shape) > MAX_AXES:
        raise ModelError(f"{where}: expected at most {MAX_AXES} axes, got {len(shape):,}")
    if any(not 1 <= size <= MAX_SIZE for size in shape) or math.prod(shape) > most:
        sizes = ", ".join(map(described, shape))
        raise ModelError(f"{where}: expected axes of at least 1 and at most {most} numbers, got shape ({sizes})")
