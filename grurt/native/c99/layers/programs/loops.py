"""Places in memory as nested loops: where several views are gone through together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Loop(NamedTuple):
    """How often it runs, and how far apart the places of each view are from one turn to the next."""

    size: int
    strides: tuple[int, ...]


def loops_through(places: NDArray[np.int64]) -> list[Loop] | None:
    """Return loops that go through places ``(count, views)`` in their order, outermost first; None if none do.

    Examples
    --------
    >>> loops_through(np.array([[0, 7], [1, 7], [10, 8], [11, 8]]))
    [Loop(size=2, strides=(10, 1)), Loop(size=2, strides=(1, 0))]
    >>> loops_through(np.array([[0], [1], [5]])) is None
    True
    """
    loops: list[Loop] = []
    while len(places) > 1:
        size = _inner_size(places)
        if size == 1:
            return None
        loops.append(Loop(size, tuple((places[1] - places[0]).tolist())))
        places = places[::size]
    return loops[::-1]


def _inner_size(places: NDArray[np.int64]) -> int:
    """Return how often the innermost loop runs; 1 if there is none."""
    count = len(places)
    is_next = (np.diff(places, axis=0) == places[1] - places[0]).all(axis=1)
    breaks = np.flatnonzero(~is_next) + 1
    longest = int(breaks[0]) if breaks.size else count
    fitting = (size for size in range(longest, 1, -1) if count % size == 0 and not (breaks % size).any())
    return next(fitting, 1)
