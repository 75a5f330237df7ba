"""Operators that compute nothing: numbers in another order, fewer of them, or more."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

from grurt.network.operators.base import Operator, Shape
from grurt.network.vectors import padded

__all__ = ["Concat", "Expand", "Gather", "Pad", "Reshape", "Slice", "Transpose", "Update"]


class Movement(Operator, frozen=True, kw_only=True):
    """Base class of the operators that compute nothing."""

    moves: ClassVar[bool] = True


class View(Movement, frozen=True, kw_only=True):
    """Base class of those that show what they read in another way."""

    def n_steps(self, *inputs: Shape) -> int:
        return 0

    def packed_numbers(self, *inputs: Shape) -> int:
        return 0

    def scratch_numbers(self, *inputs: Shape) -> int:
        return 0


class Part(Movement, frozen=True, kw_only=True):
    """Base class of those that do so too, but may have to copy it before."""

    def packed_numbers(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0])

    def scratch_numbers(self, *inputs: Shape) -> int:
        return padded(math.prod(inputs[0]))


class Transpose(View, frozen=True, kw_only=True):
    """The axes in another order: axis i of the output is axis ``perm[i]`` of the input (ONNX ``Transpose``)."""

    perm: tuple[int, ...]

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        if sorted(self.perm) != list(range(len(inputs[0]))):
            raise self.misfit(f"expected an order of {len(inputs[0])} axes, got {self.perm}")
        return (tuple(inputs[0][axis] for axis in self.perm),)


class Reshape(Part, frozen=True, kw_only=True):
    """The same numbers, row-major, in another shape (ONNX ``Reshape``, ``Squeeze``, ``Unsqueeze``, ``Flatten``)."""

    shape: Shape

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        if math.prod(self.shape) != math.prod(inputs[0]):
            raise self.misfit(f"expected a shape of {math.prod(inputs[0])} numbers, got {self.shape}")
        return (self.shape,)


class Expand(View, frozen=True, kw_only=True):
    """Repeated along new axes in front, and axes of size 1, to a shape (ONNX ``Expand``)."""

    shape: Shape

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        aligned = (1,) * (len(self.shape) - len(inputs[0])) + inputs[0]
        fits = len(aligned) == len(self.shape)
        if not fits or any(old not in (1, new) for old, new in zip(aligned, self.shape, strict=True)):
            raise self.misfit(f"a value of shape {inputs[0]} cannot be expanded to {self.shape}")
        return (self.shape,)


class Slice(Part, frozen=True, kw_only=True):
    """Along every axis ``sizes`` places, the first at ``starts``, each ``steps`` behind the last one (ONNX ``Slice``).

    A step may be negative.
    """

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        if not len(self.starts) == len(self.sizes) == len(self.steps) == len(inputs[0]):
            raise self.misfit(f"expected a start, a size and a step for each of {len(inputs[0])} axes")
        for start, size, step, whole in zip(self.starts, self.sizes, self.steps, inputs[0], strict=True):
            last = start + (size - 1) * step
            if size < 1 or step == 0 or not (0 <= start < whole and 0 <= last < whole):
                raise self.misfit(f"places {start} to {last} are not along an axis of {whole}")
        return (self.sizes,)


class Gather(Movement, frozen=True, kw_only=True):
    """The given places along an axis, in their order (ONNX ``Gather`` with constant indices, ``Resize`` to nearest)."""

    lists: ClassVar[tuple[str, ...]] = ("places",)

    axis: int
    places: tuple[int, ...]

    def n_steps(self, *inputs: Shape) -> int:
        return 2 + sum(place != last + 1 for last, place in pairwise(self.places))

    def packed_numbers(self, *inputs: Shape) -> int:
        return 2 * math.prod(inputs[0]) + super().packed_numbers(*inputs)

    def scratch_numbers(self, *inputs: Shape) -> int:
        return padded(math.prod(inputs[0])) + super().scratch_numbers(*inputs)

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        axis = self.checked_axis(self.axis, inputs[0])
        if not self.places or min(self.places) < 0 or max(self.places) >= inputs[0][axis]:
            raise self.misfit(f"expected places in [0, {inputs[0][axis]}) of axis {axis}")
        return ((*inputs[0][:axis], len(self.places), *inputs[0][axis + 1 :]),)


class Concat(Movement, frozen=True, kw_only=True):
    """Values one after the other along an axis (ONNX ``Concat``)."""

    n_inputs: ClassVar[tuple[int, int]] = (2, 4096)

    axis: int

    def n_steps(self, *inputs: Shape) -> int:
        return len(inputs)

    def packed_numbers(self, *inputs: Shape) -> int:
        return 2 * sum(map(math.prod, inputs))

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        axis = self.checked_axis(self.axis, inputs[0])
        for shape in inputs[1:]:
            if len(shape) != len(inputs[0]) or any(
                a != b for i, (a, b) in enumerate(zip(shape, inputs[0], strict=True)) if i != axis
            ):
                raise self.misfit(f"shapes {inputs[0]} and {shape} do not fit along axis {axis}")
        return ((*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :]),)


class Pad(Movement, frozen=True, kw_only=True):
    """``before`` and ``after`` so many places of one number along each axis (ONNX ``Pad``, mode ``constant``).

    The number is finite: for infinities, `Update` a constant.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def n_steps(self, *inputs: Shape) -> int:
        return 1 + 2 * len(inputs[0])

    def packed_numbers(self, *inputs: Shape) -> int:
        (out,) = self.shapes(*inputs)
        borders = [
            math.prod(out) // size * (before + after)
            for size, before, after in zip(out, self.before, self.after, strict=True)
        ]
        return 2 * (math.prod(inputs[0]) + sum(borders))

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        if not len(self.before) == len(self.after) == len(inputs[0]) or min(self.before + self.after, default=0) < 0:
            raise self.misfit(f"expected padding from 0 for each of {len(inputs[0])} axes")
        return (tuple(b + n + a for b, n, a in zip(self.before, inputs[0], self.after, strict=True)),)


class Update(Movement, frozen=True, kw_only=True):
    """The first value, with the second one in place of what begins at ``starts`` (ONNX ``ScatterND`` onto a slab)."""

    n_inputs: ClassVar[tuple[int, int]] = (2, 2)

    starts: tuple[int, ...]

    def n_steps(self, *inputs: Shape) -> int:
        return 2

    def packed_numbers(self, *inputs: Shape) -> int:
        return 2 * sum(map(math.prod, inputs))

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        base, update = inputs
        if not len(self.starts) == len(base) == len(update):
            raise self.misfit(f"expected a start for each of {len(base)} axes, and as many axes of what is put there")
        for start, size, whole in zip(self.starts, update, base, strict=True):
            if start < 0 or start + size > whole:
                raise self.misfit(f"places {start} to {start + size - 1} are not along an axis of {whole}")
        return (base,)
