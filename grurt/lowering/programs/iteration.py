"""How a step goes through views of one shape together: row by row, and in a row number by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from grurt.lowering.programs.views import ROW, Digit, View, offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray


_ROW_COST = 6
_VECTOR_COST = 3
"""What a row and a vector take, in times of what moving one number takes."""


class Operand(NamedTuple):
    """A view: where its rows begin, from its first number on, and how far apart the numbers of a row are."""

    view: View
    rows: NDArray[np.int64]
    stride: int


class Iteration(NamedTuple):
    """Rows of so many numbers, of several views."""

    n_rows: int
    size: int
    operands: tuple[Operand, ...]


class _Loop(NamedTuple):
    """A digit that all views have: its size, and the stride of each."""

    size: int
    strides: tuple[int, ...]


def iterate(out: View, inputs: Sequence[View], *, in_rows: bool = True) -> Iteration:
    """Return how to go through an output and inputs that are broadcast to its shape.

    The numbers of a row are those of the digit along which most of the views are dense, or constant; rows go through
    all others in the order in which the output lies in memory. With ``in_rows=False``, each number is a row.
    """
    views = (out, *(view.expanded(out.shape) for view in inputs))
    common = _common(views)
    if common is None:
        return Iteration(out.size, 1, tuple(Operand(view, view.places() - view.offset, 1) for view in views))
    loops = _merged(sorted(common, key=lambda loop: -abs(loop.strides[0])))
    inner = _Loop(1, (1,) * len(views))
    if loops and in_rows:
        best = min(range(len(loops)), key=lambda i: (_cost(loops[i]), -i))
        inner = loops.pop(best)
    operands = tuple(
        Operand(view, offsets([(loop.size, loop.strides[i]) for loop in loops]), inner.strides[i])
        for i, view in enumerate(views)
    )
    return Iteration(math.prod(loop.size for loop in loops), inner.size, operands)


def _cost(loop: _Loop) -> float:
    """Return about how long a number takes in a row along a loop: numbers that lie apart are moved one by one."""
    apart = sum(stride not in (0, 1) for stride in loop.strides[1:]) + (loop.strides[0] != 1)
    return (_ROW_COST + _VECTOR_COST * -(-loop.size // ROW) + loop.size * apart) / loop.size


def _common(views: Sequence[View]) -> list[_Loop] | None:
    """Return the digits of the axes, cut where those of any of the views end; None if they cannot be cut so."""
    loops = []
    for axis in range(len(views[0].axes)):
        cuts = {1, views[0].shape[axis]}
        for view in views:
            inner = 1
            for size, _ in reversed(view.axes[axis]):
                inner *= size
                cuts.add(inner)
        ends = sorted(cuts)
        for low, high in pairwise(ends):
            if high % low:
                return None
            loops.append(_Loop(high // low, tuple(_stride_at(view.axes[axis], low) for view in views)))
    return loops


def _stride_at(digits: Sequence[Digit], place: int) -> int:
    """Return how far apart places of an axis are that are so many places apart."""
    inner = 1
    for size, stride in reversed(digits):
        if place < inner * size:
            return stride * (place // inner)
        inner *= size
    return 0


def _merged(loops: Sequence[_Loop]) -> list[_Loop]:
    merged: list[_Loop] = []
    for loop in loops:
        if loop.size == 1:
            continue
        last = merged[-1] if merged else None
        if last and all(a == b * loop.size for a, b in zip(last.strides, loop.strides, strict=True)):
            merged[-1] = _Loop(last.size * loop.size, loop.strides)
        else:
            merged.append(loop)
    return merged
