"""Where the values of a program lie: in memory of their own, or in their place in a larger value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        self._writers = {name: operator for operator in operators for name in operator.outputs if name}
        self._slabs: dict[str, View] = {}
        self._parts: dict[str, list[View]] = {}
        self._placed = self._find_placed(operators)

    def __getitem__(self, name: str) -> View:
        """Return the view of a value that has been written."""
        return self.views[name]

    def bind(self, name: str, view: View) -> None:
        """Say where a value is."""
        self.views[name] = view

    def constant(self, name: str, numbers: Floats) -> None:
        """Say what a constant is."""
        storage = Storage(numbers.size, codes.BASE_WEIGHTS, numbers=np.ascontiguousarray(numbers).ravel())
        self.bind(name, whole(storage, numbers.shape))

    def new(self, name: str, like: View | None = None, order: Order | None = None) -> View:
        """Bind a value that is to be written, and return where: at its place in a larger one, or in the arena.

        There it lies in the order that is wished, else that of another view, else row-major; a given order overrules.
        """
        view = self._slabs.get(name) or self._place_of(name) or self._own(name, like, order)
        self.bind(name, view)
        return view

    def part(self, slab: op.Concat | op.Pad, place: int) -> View:
        """Return where in what a `Concat` or `Pad` writes one of its inputs belongs."""
        return self.parts(slab)[place]

    def parts(self, slab: op.Concat | op.Pad) -> list[View]:
        """Return where in what a `Concat` or `Pad` writes its inputs belong, and then the borders of the `Pad`."""
        name = slab.outputs[0]
        if name not in self._slabs:
            place = self._place_of(name)
            is_cut = place is not None and None not in self._cut(slab, place)
            self._slabs[name] = place if place is not None and is_cut else self._own(name, None, None)
            self._parts[name] = [certain(part) for part in self._cut(slab, self._slabs[name])]
        return self._parts[name]

    def _cut(self, slab: op.Concat | op.Pad, view: View) -> list[View | None]:
        """Return the parts of what a `Concat` or `Pad` writes; None for those that do not lie in digits."""
        if isinstance(slab, op.Concat):
            sizes = [self.shapes[name][slab.axis] for name in slab.inputs]
            return [view.sliced(slab.axis, sum(sizes[:place]), size) for place, size in enumerate(sizes)]
        inner: View | None = view
        borders = []
        for axis, (before, after, size) in enumerate(zip(slab.before, slab.after, view.shape, strict=True)):
            borders += [view.sliced(axis, start, n) for start, n in ((0, before), (size - after, after)) if n]
            if inner is not None and before + after:
                inner = inner.sliced(axis, before, size - before - after)
        return [inner, *borders]

    def arena(self, shape: Shape, order: Order | None = None) -> View:
        """Return memory for an array of some shape."""
        return whole(Storage(math.prod(shape), codes.BASE_ARENA), shape, order)

    def _own(self, name: str, like: View | None, order: Order | None) -> View:
        shape = self.shapes[name]
        wished = self._wishes.get(name)
        if order is None and like is not None and len(like.axes) == len(shape):
            alike = dense_like(like, codes.BASE_ARENA) if like.shape == shape else None
            if alike is not None and (wished is None or _lie_alike(alike, whole(alike.storage, shape, wished))):
                return alike
            order = wished or memory_order(like)
        return self.arena(shape, order or wished)

    def _find_placed(self, operators: Sequence[op.Operator]) -> dict[str, _Place]:
        """Return for values that are computed which `Concat` or `Pad` they go into, where, and through which others."""
        placed: dict[str, _Place] = {}
        for slab in operators:
            if not isinstance(slab, _SLABS):
                continue
            for place, name in enumerate(slab.inputs):
                through: list[op.Operator] = []
                writer = self._writers.get(name)
                while isinstance(writer, _INVERTIBLE):
                    through.append(writer)
                    name = writer.inputs[0]
                    writer = self._writers.get(name)
                computes = writer is not None and (not writer.moves or isinstance(writer, _SLABS))
                if computes and name not in placed:
                    placed[name] = (slab, place, through)
        return placed

    def _place_of(self, name: str) -> View | None:
        """Return the place of a value in a larger one; None if it has none, or if it does not lie there in digits."""
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
        return view


def _lie_alike(a: View, b: View) -> bool:
    """Return whether the axes of two views lie in one order in memory, those of one number aside."""
    long = [axis for axis in range(len(a.axes)) if a.axes[axis]]
    return [axis for axis in memory_order(a) if axis in long] == [axis for axis in memory_order(b) if axis in long]
