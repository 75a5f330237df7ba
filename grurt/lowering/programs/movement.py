"""Operators that compute nothing: most of them become views."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.base import Lowering
from grurt.lowering.programs.views import View, certain, is_one_to_one, memory_order
from grurt.network import operators as op

_MAX_LOOKS = 64
"""At what may still be read, before something is copied unseen: looking at all of it again and again takes long."""


class Movement(Lowering):
    """Lowers what only moves numbers, or repeats them."""

    def transpose(self, operator: op.Transpose) -> None:
        self.values.bind(operator.outputs[0], self.values[operator.inputs[0]].transposed(operator.perm))

    def reshape(self, operator: op.Reshape) -> None:
        x = self.values[operator.inputs[0]]
        view = x.reshaped(operator.shape)
        if view is None:  # it lies apart, and would have to lie together
            view = certain(self.copied(x).reshaped(operator.shape))
        self.values.bind(operator.outputs[0], view)

    def expand(self, operator: op.Expand) -> None:
        self.values.bind(operator.outputs[0], self.values[operator.inputs[0]].expanded(operator.shape))

    def slice(self, operator: op.Slice) -> None:
        x = self.values[operator.inputs[0]]
        view = _sliced(x, operator)
        if view is None:
            view = certain(_sliced(self.copied(x, memory_order(x)), operator))
        self.values.bind(operator.outputs[0], view)

    def gather(self, operator: op.Gather) -> None:
        (name,), axis = operator.outputs, operator.axis
        x = self.values[operator.inputs[0]]
        view = _windows(x, axis, operator.places)
        if view is not None:
            self.values.bind(name, view)
            return
        out = self.values.new(name, x)
        for first, last in _stretches(operator.places):
            part, source = out.sliced(axis, first, last - first), x.sliced(axis, operator.places[first], last - first)
            if part is None or source is None:
                x = self.copied(x, memory_order(x))
                source = x.sliced(axis, operator.places[first], last - first)
            self.copy(certain(part), certain(source))

    def concat(self, operator: op.Concat) -> None:
        for place, name in enumerate(operator.inputs):
            self.copy(self.values.part(operator, place), self.values[name])
        self.values.new(operator.outputs[0])

    def pad(self, operator: op.Pad) -> None:
        self.copy(self.values.part(operator, 0), self.values[operator.inputs[0]])
        out = self.values.new(operator.outputs[0])
        for axis, (before, after) in enumerate(zip(operator.before, operator.after, strict=True)):
            for start, size in ((0, before), (out.shape[axis] - after, after)):
                if size:
                    self.filled(certain(out.sliced(axis, start, size)), operator.value)

    def update(self, operator: op.Update) -> None:
        base, x = (self.values[name] for name in operator.inputs)
        place = _at(base, operator.starts, x.shape)
        if place is None or x.storage is base.storage or self._is_read_later(base, place):
            base = self.copied(base, memory_order(base))
            place = _at(base, operator.starts, x.shape)
        self.copy(certain(place), x)
        self.values.bind(operator.outputs[0], base)

    def _is_read_later(self, base: View, place: View) -> bool:
        """Return whether somebody wants what an update would overwrite, or whether it must not be overwritten.

        So it is too where that takes long to find out.
        """
        is_own = base.storage.base in (codes.BASE_ARENA, codes.BASE_STATE)
        if not is_own or not is_one_to_one(base):  # several places are one
            return True
        is_overwritten = np.zeros(base.storage.size, bool)
        is_overwritten[place.places()] = True
        views = list(islice(self._wanted(base), _MAX_LOOKS + 1))
        return len(views) > _MAX_LOOKS or any(view is None or is_overwritten[view.places()].any() for view in views)

    def _wanted(self, base: View) -> Iterator[View | None]:
        """Yield what is still to be read of the storage of a view; None for a part that does not lie in digits."""
        named = self.values.named
        named[base.storage] = [name for name in named[base.storage] if self._readers[name][-1] > self.number]
        for name in named[base.storage]:
            view, readers = self.values[name], self._readers[name]
            for number in readers[bisect(readers, self.number) :]:
                reader = self.operators[number] if number < len(self.operators) else None
                yield _sliced(view, reader) if isinstance(reader, op.Slice) else view


def _windows(x: View, axis: int, places: Sequence[int]) -> View | None:
    """Return places along an axis that are evenly spaced, or windows of them that are; None if they are not."""
    steps = np.diff(places)
    uneven = np.flatnonzero(steps != steps[0]) if steps.size else steps
    size = int(uneven[0]) + 1 if uneven.size else len(places)
    starts = places[::size]
    regular = np.add.outer(starts, np.subtract(places[:size], places[0])).ravel()
    if len(set(np.diff(starts).tolist())) > 1 or not np.array_equal(regular, places):
        return None
    window = x.sliced(axis, places[0], size, int(steps[0]) if steps.size else 1)
    if window is None or size == len(places):
        return window
    outer = x.sliced(axis, starts[0], len(starts), starts[1] - starts[0])
    if outer is None or outer.offset != window.offset:
        return None
    return View(x.storage, window.offset, (*x.axes[:axis], outer.axes[axis] + window.axes[axis], *x.axes[axis + 1 :]))


def _sliced(x: View, operator: op.Slice) -> View | None:
    view: View | None = x
    for axis, (start, size, step) in enumerate(zip(operator.starts, operator.sizes, operator.steps, strict=True)):
        if view is not None and (start, size, step) != (0, view.shape[axis], 1):
            view = view.sliced(axis, start, size, step)
    return view


def _at(base: View, starts: Sequence[int], shape: Sequence[int]) -> View | None:
    """Return the part of a view of some shape that begins at some places."""
    view: View | None = base
    for axis, (start, size) in enumerate(zip(starts, shape, strict=True)):
        if view is not None and size != view.shape[axis]:
            view = view.sliced(axis, start, size)
    return view


def _stretches(places: Sequence[int]) -> list[tuple[int, int]]:
    """Return the parts of a list of places that are one place after the other, by where they begin and end."""
    ends = [i + 1 for i in range(len(places) - 1) if places[i + 1] != places[i] + 1]
    return list(zip([0, *ends], [*ends, len(places)], strict=True))
