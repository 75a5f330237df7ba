"""Where the values of a program lie: in memory of their own, or in their place in a larger value."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.layouts import Order
from grurt.lowering.programs.views import Storage, View, certain, dense_like, memory_order, whole
from grurt.network import operators as op

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.network.operators.base import Shape

_SLABS = (op.Concat, op.Pad)
"""Operators that write nothing if what they read already lies where they want it."""

_INVERTIBLE = (op.Transpose, op.Reshape)
"""Operators through which a place behind them is one before them."""

_Place: TypeAlias = "tuple[op.Concat | op.Pad, int, list[op.Operator]]"
"""A larger value by who writes it, a place among the inputs of that, and the operators on the way, from the last."""


class Values:
    """The views of a program's values.

    Parameters
    ----------
    operators
        The operators, in order.
    shapes
        The shapes of all values.
    wishes
        The orders that values had better have in memory.
    """

    def __init__(
        self, operators: Sequence[op.Operator], shapes: Mapping[str, Shape], wishes: Mapping[str, Order]
    ) -> None:
        self.shapes = shapes
        self.views: dict[str, View] = {}
        self._wishes = wishes
        self.named: defaultdict[Storage, list[str]] = defaultdict(list)
        """The names of the values so far that lie in a storage."""
        self._placed = _find_placed(operators)
        self._slabs: dict[str, View] = {}
        self._starts: dict[str, list[int]] = {}
        for operator in reversed(operators):  # larger ones come later
            if isinstance(operator, _SLABS):
                name = operator.outputs[0]
                self._slabs[name] = self._place_of(name) or self._own(name)
            if isinstance(operator, op.Concat):
                sizes = [shapes[each][operator.axis] for each in operator.inputs]
                self._starts[name] = list(accumulate(sizes, initial=0))

    def __getitem__(self, name: str) -> View:
        """Return the view of a value that has been written."""
        return self.views[name]

    def bind(self, name: str, view: View) -> None:
        """Say where a value is."""
        self.views[name] = view
        self.named[view.storage].append(name)

    def constant(self, name: str, numbers: Floats) -> None:
        """Say what a constant is."""
        storage = Storage(numbers.size, codes.BASE_WEIGHTS, numbers=np.ascontiguousarray(numbers).ravel())
        self.bind(name, whole(storage, numbers.shape))

    def new(
        self, name: str, like: View | None = None, order: Order | None = None, *, in_any_digits: bool = False
    ) -> View:
        """Bind a value that is to be written, and return where: at its place in a larger one, or in the arena.

        There it lies in the order that is wished, else that of another view, else row-major; a given order overrules.
        Each of its axes has one stride, unless any digits will do.
        """
        view = self._slabs.get(name) or self._place_of(name, in_any_digits=in_any_digits)
        view = view or (in_any_digits and self._alike(name, like)) or self._own(name, like, order)
        self.bind(name, view)
        return view

    def part(self, slab: op.Concat | op.Pad, place: int) -> View:
        """Return where in what a `Concat` or `Pad` writes one of its inputs belongs."""
        view = self._slabs[slab.outputs[0]]
        shape = self.shapes[slab.inputs[place]]
        if isinstance(slab, op.Concat):
            return certain(view.sliced(slab.axis, self._starts[slab.outputs[0]][place], shape[slab.axis]))
        for axis, (start, size) in enumerate(zip(slab.before, shape, strict=True)):
            if size != view.shape[axis]:
                view = certain(view.sliced(axis, start, size))
        return view

    def arena(self, shape: Shape, order: Order | None = None) -> View:
        """Return memory for an array of some shape."""
        return whole(Storage(math.prod(shape), codes.BASE_ARENA), shape, order)

    def _own(self, name: str, like: View | None = None, order: Order | None = None) -> View:
        """Return memory for a value in the order that is given, or wished, or that of another view."""
        shape = self.shapes[name]
        order = order or self._wishes.get(name)
        if order is None and like is not None and len(like.axes) == len(shape):
            order = memory_order(like)
        return self.arena(shape, order)

    def _alike(self, name: str, like: View | None) -> View | None:
        """Return memory in which a value lies as a view does, unless it should lie in another order."""
        shape, wished = self.shapes[name], self._wishes.get(name)
        alike = dense_like(like, codes.BASE_ARENA) if like is not None and like.shape == shape else None
        if alike is None or (wished is not None and not _lie_alike(alike, whole(alike.storage, shape, wished))):
            return None
        return alike

    def _place_of(self, name: str, *, in_any_digits: bool = False) -> View | None:
        """Return the place of a value in a larger one; None if it has none, or does not lie there as it has to."""
        if name not in self._placed:
            return None
        slab, place, through = self._placed[name]
        view: View | None = self.part(slab, place)
        for operator in through:
            if view is None:
                return None
            if isinstance(operator, op.Transpose):
                view = view.transposed(np.argsort(operator.perm).tolist())
            else:
                view = view.reshaped(self.shapes[operator.inputs[0]])
        return view if view is not None and (in_any_digits or view.strides() is not None) else None


def _find_placed(operators: Sequence[op.Operator]) -> dict[str, _Place]:
    """Return for values that are computed which `Concat` or `Pad` they go into, where, and through which others."""
    placed: dict[str, _Place] = {}
    writers = {name: operator for operator in operators for name in operator.outputs if name}
    origins: dict[str, str] = {}
    for operator in operators:
        if isinstance(operator, _INVERTIBLE):
            origins[operator.outputs[0]] = origins.get(operator.inputs[0], operator.inputs[0])
        if not isinstance(operator, _SLABS):
            continue
        for place, name in enumerate(operator.inputs):
            origin = origins.get(name, name)
            writer = writers.get(origin)
            computes = writer is not None and (not writer.moves or isinstance(writer, _SLABS))
            if computes and origin not in placed:
                through = []
                while name != origin:
                    through.append(writers[name])
                    (name,) = writers[name].inputs
                placed[origin] = operator, place, through
    return placed


def _lie_alike(a: View, b: View) -> bool:
    """Return whether the axes of two views lie in one order in memory, those of one number aside."""
    long = [axis for axis in range(len(a.axes)) if a.axes[axis]]
    return [axis for axis in memory_order(a) if axis in long] == [axis for axis in memory_order(b) if axis in long]
