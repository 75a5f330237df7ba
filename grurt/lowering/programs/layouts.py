"""In which order the axes of a value had better lie in memory: that in which those who read it go through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from grurt.network import operators as op

if TYPE_CHECKING:
    from grurt.network.layers.program import ProgramState
    from grurt.network.operators.base import Shape

Order = tuple[int, ...]
"""The axes of a value, from the outermost in memory to the innermost."""


def row_major(rank: int) -> Order:
    """Return the axes in order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return the axes of ``(1, channels, *sizes)`` with the channels behind the sizes."""
    return (0, *range(2, rank), 1)


def wished_orders(
    operators: Sequence[op.Operator], shapes: Mapping[str, Shape], states: Sequence[ProgramState]
) -> dict[str, Order]:
    """Return the orders that the first reader of each value, through operators that only move, wishes; if it has one.

    What becomes a state lies best as the state does.
    """
    wishes: dict[str, Order] = {}
    for _ in range(2 if states else 1):
        wishes |= {state.result: wishes[state.name] for state in states if state.name in wishes}
        for operator in reversed(operators):
            for place, name in enumerate(operator.inputs):
                wish = _wish(operator, place, shapes, wishes)
                if wish is not None:
                    wishes[name] = wish
    return wishes


def _wish(operator: op.Operator, place: int, shapes: Mapping[str, Shape], wishes: Mapping[str, Order]) -> Order | None:
    """Return the order that an operator wishes of a value that it reads."""
    shape = shapes[operator.inputs[place]]
    rank = len(shape)
    match operator:
        case op.Conv() | op.ConvTranspose():
            return channels_last(rank) if place == 0 else None
        case op.GRU() | op.LSTM() | op.RNN() | op.MatMul():
            return row_major(rank)
        case op.Reduce():  # of whose result axes are of size 1, which lie anywhere
            return None
        case op.Normalize(axes=axes):
            return (*(axis for axis in range(rank) if axis not in axes), *sorted(axes))
    written = wishes.get(operator.outputs[0])
    if written is None:
        return None
    match operator:
        case op.Transpose(perm=perm):
            return tuple(perm[axis] for axis in written)
        case op.Reshape(shape=reshaped):
            return _before_reshape(shape, reshaped, written)
    added = len(written) - rank  # axes in front, that broadcasting adds
    return tuple(axis - added for axis in written if axis >= added) if added >= 0 else None


def _before_reshape(shape: Shape, reshaped: Shape, written: Order) -> Order:
    """Return the order before a reshape that makes an order behind it.

    What is cut into axes that are to lie apart goes to where the largest of them is to be.
    """
    groups = [group for group in _aligned(shape, reshaped) if group[1]]
    largest = [max(group[1], key=lambda axis: reshaped[axis]) for group in groups]
    ordered = sorted(range(len(groups)), key=lambda number: written.index(largest[number]))
    order = [axis for number in ordered for axis in groups[number][0]]
    return tuple([axis for axis in range(len(shape)) if axis not in order] + order)


def _aligned(shape: Shape, reshaped: Shape) -> list[tuple[Order, Order]]:
    """Return which axes of one shape are, together, which of another one of as many numbers."""
    groups = []
    i = k = 0
    while i < len(shape) or k < len(reshaped):
        first, other = i, k
        size, size_there = 1, 1
        if i < len(shape):
            size, i = shape[i], i + 1
        if k < len(reshaped):
            size_there, k = reshaped[k], k + 1
        while size != size_there:
            if size < size_there:
                size, i = size * shape[i], i + 1
            else:
                size_there, k = size_there * reshaped[k], k + 1
        groups.append((tuple(range(first, i)), tuple(range(other, k))))
    return groups
