"""Where the numbers of a program's values lie: views of storage, whose axes are digits.

An axis of a view is a list of digits ``(size, stride)``, the most significant first, as a place along the axis is
counted: place p of an axis of digits (2, 100), (3, 1) lies at ``100 * (p // 3) + p % 3``. So axes that lie apart in
memory can be merged without a copy, and so can be cut what was merged before. Offsets and strides count float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.network.operators.base import Shape

T = TypeVar("T")

Digit = tuple[int, int]
Digits = tuple[Digit, ...]


@dataclass(eq=False)
class Storage:
    """Memory that one value, or several, lie in.

    Parameters
    ----------
    size
        How many float32.
    base
        From which of the kernels' bases it is addressed: see `grurt.kernels.codes`.
    offset
        Where it begins, from that base; of what lies in the arena, known only when all steps are.
    numbers
        What is in it if that is constant.
    """

    size: int
    base: int
    offset: int = 0
    numbers: Floats | None = None


ROW = 16
"""A row is padded to a multiple of so many numbers, however many lanes the kernels' vectors have.

Where numbers lie, and in what steps, decides in which order they are added up, and that is one order on every CPU.
"""


def padded_row(size: int) -> int:
    """Return how many numbers a row of values takes that is padded to whole vectors."""
    return -(-size // ROW) * ROW


class View(NamedTuple):
    """Numbers in a storage, as an array of some shape."""

    storage: Storage
    offset: int
    axes: tuple[Digits, ...]

    @property
    def shape(self) -> Shape:
        """The sizes of the axes."""
        return tuple(math.prod(size for size, _ in axis) for axis in self.axes)

    @property
    def size(self) -> int:
        """How many numbers it shows."""
        return math.prod(self.shape)

    @property
    def digits(self) -> Digits:
        """The digits of all axes, row-major."""
        return tuple(digit for axis in self.axes for digit in axis)

    @property
    def address(self) -> int:
        """Where its first number lies, from the storage's base."""
        return self.storage.offset + self.offset

    def places(self) -> NDArray[np.int64]:
        """Return where in its storage each of its numbers lies, row-major."""
        return offsets(self.digits) + self.offset

    def rows(self) -> NDArray[np.int64]:
        """Return where in its storage all places of the axes but the last begin, row-major."""
        return offsets([digit for axis in self.axes[:-1] for digit in axis]) + self.offset

    def at(self, axis: int, place: int) -> View:
        """Return one place along an axis, which is kept with size 1."""
        return certain(self.sliced(axis, place, 1))

    def transposed(self, perm: Iterable[int]) -> View:
        """Return its axes in another order."""
        return View(self.storage, self.offset, tuple(self.axes[axis] for axis in perm))

    def reshaped(self, shape: Shape) -> View | None:
        """Return it in another shape; None if its digits cannot be brought into it."""
        digits = list(merged_digits(self.digits))
        axes = []
        for size in shape:
            axis: list[Digit] = []
            left = size
            while left > 1:
                digit, stride = digits[0]
                if left % digit == 0:
                    axis.append(digits.pop(0))
                    left //= digit
                elif digit % left == 0:
                    inner = digit // left
                    axis.append((left, stride * inner))
                    digits[0] = (inner, stride)
                    left = 1
                else:
                    return None
            axes.append(tuple(axis))
        return View(self.storage, self.offset, tuple(axes))

    def sliced(self, axis: int, start: int, size: int, step: int = 1) -> View | None:
        """Return ``size`` places along an axis, from ``start`` on; None if they do not lie in digits."""
        found = _sliced(self.axes[axis], start, size, step)
        if found is None:
            return None
        offset, digits = found
        return View(self.storage, self.offset + offset, (*self.axes[:axis], digits, *self.axes[axis + 1 :]))

    def expanded(self, shape: Shape) -> View:
        """Return it broadcast to a shape."""
        missing = len(shape) - len(self.axes)
        axes = [
            () if size == 1 else axis or ((size, 0),)
            for axis, size in zip(((),) * missing + self.axes, shape, strict=True)
        ]
        return View(self.storage, self.offset, tuple(axes))

    def strides(self) -> tuple[int, ...] | None:
        """Return a stride for each axis; None if one does not have a single one."""
        merged = [merged_digits(axis) for axis in self.axes]
        if any(len(axis) > 1 for axis in merged):
            return None
        return tuple(axis[0][1] if axis else 0 for axis in merged)


def certain(found: T | None) -> T:
    """Return what is there for certain: for instance a part of an array that lies densely."""
    assert found is not None, "a view does not lie in digits"  # noqa: S101 - no file can cause it
    return found


def whole(storage: Storage, shape: Shape, order: Sequence[int] | None = None) -> View:
    """Return a view of a storage in which an array lies densely, its axes in some order of memory, outermost first."""
    axes: list[Digits] = [()] * len(shape)
    stride = 1
    for axis in reversed(range(len(shape)) if order is None else order):
        if shape[axis] > 1:
            axes[axis] = ((shape[axis], stride),)
        stride *= shape[axis]
    return View(storage, 0, tuple(axes))


def dense_like(view: View, base: int) -> View | None:
    """Return memory of its own for an array that lies as a view does, digit by digit, but densely.

    None if several of the view's places are one, or some lie backwards.
    """
    digits = [(axis, place) for axis, digits in enumerate(view.axes) for place in range(len(digits))]
    if any(stride < 1 for _, stride in view.digits) or not is_one_to_one(view):
        return None
    axes = [list(axis) for axis in view.axes]
    dense = 1
    for axis, place in sorted(digits, key=lambda digit: view.axes[digit[0]][digit[1]][1]):
        size, _ = view.axes[axis][place]
        axes[axis][place] = (size, dense)
        dense *= size
    return View(Storage(dense, base), 0, tuple(map(tuple, axes)))


def offsets(digits: Iterable[Digit]) -> NDArray[np.int64]:
    """Return the offsets that digits count through, the last one fastest."""
    result = np.zeros(1, np.int64)
    for size, stride in digits:
        result = (result[:, np.newaxis] + np.arange(size) * stride).ravel()
    return result


def merged_digits(digits: Iterable[Digit]) -> Digits:
    """Return digits with those merged that count on where the one behind them ends."""
    merged: list[Digit] = []
    for size, stride in digits:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def is_dense(axis: Digits) -> bool:
    """Return whether the places of an axis lie side by side."""
    digits = merged_digits(axis)
    return not digits or (len(digits) == 1 and digits[0][1] == 1)


def is_same(a: View, b: View) -> bool:
    """Return whether two views of one shape are the same numbers."""
    same_place = a.storage is b.storage and a.offset == b.offset
    return same_place and merged_digits(a.digits) == merged_digits(b.digits)


def is_one_to_one(view: View) -> bool:
    """Return whether no two places of a view are one, as far as that shows in its digits."""
    reached = 0
    for size, stride in sorted(view.digits, key=lambda digit: abs(digit[1])):
        if abs(stride) <= reached:
            return False
        reached += (size - 1) * abs(stride)
    return True


def memory_order(view: View) -> tuple[int, ...]:
    """Return the axes of a view in the order in which they lie in memory, outermost first."""
    return tuple(sorted(range(len(view.axes)), key=lambda axis: -max((s for _, s in view.axes[axis]), default=1 << 62)))


def _sliced(axis: Digits, start: int, size: int, step: int) -> tuple[int, Digits] | None:
    """Return where places of an axis begin, and their digits."""
    if size == 1:
        offset = 0
        for digit, stride in reversed(axis):
            offset += start % digit * stride
            start //= digit
        return offset, ()
    if step == 0:
        offset, _ = _sliced(axis, start, 1, 1) or (0, ())
        return offset, ((size, 0),)
    if len(axis) == 1:
        return start * axis[0][1], ((size, step * axis[0][1]),)
    inner = math.prod(digit for digit, _ in axis[1:])
    (_, stride), rest = axis[0], axis[1:]
    if step == 1 and start % inner == 0 and size % inner == 0:
        return start // inner * stride, ((size // inner, stride), *rest)
    if step == 1 and start // inner == (start + size - 1) // inner:
        found = _sliced(rest, start % inner, size, 1)
        return None if found is None else (start // inner * stride + found[0], found[1])
    return None
