"""Where the storages of a program lie in its arena: memory of what is no longer read is used again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.steps import Step
from grurt.lowering.programs.views import Storage
from grurt.network.vectors import padded

if TYPE_CHECKING:
    from numpy.typing import NDArray


def place_storages(steps: Sequence[Step], head: int, room: Callable[[int], int] = padded) -> int:
    """Place the storages that steps use in the arena, behind its first ``head`` float32; return where they end.

    Each lies where none does that is in use at the same time: from the first step that touches it to the last. Large
    ones are placed first. Numbers take as much as ``room`` says: by default whole vectors.
    """
    used = _in_use(steps)
    storages = sorted(used, key=lambda storage: -storage.size)
    in_use = np.array([(used[storage].start, used[storage].stop) for storage in storages]).reshape(-1, 2)
    places = np.zeros_like(in_use)
    for number, storage in enumerate(storages):
        first, last = in_use[number]
        beside = (in_use[:number, 0] < last) & (first < in_use[:number, 1])
        storage.offset = _first_gap(places[:number][beside], room(storage.size), head)
        places[number] = storage.offset, storage.offset + room(storage.size)
    return max((storage.offset + room(storage.size) for storage in used), default=head)


def _in_use(steps: Iterable[Step]) -> dict[Storage, range]:
    used: dict[Storage, range] = {}
    for number, step in enumerate(steps):
        for storage in step.storages:
            if storage.base == codes.BASE_ARENA:
                first = used[storage].start if storage in used else number
                used[storage] = range(first, number + 1)
    return used


def _first_gap(taken: NDArray[np.int64], size: int, start: int) -> int:
    """Return where the first gap of a size between parts ``(begin, end)`` begins."""
    ordered = taken[np.argsort(taken[:, 0])]
    reached = np.maximum.accumulate([start, *ordered[:, 1]])
    fitting = np.flatnonzero(ordered[:, 0] - reached[:-1] >= size)
    return int(reached[fitting[0]] if fitting.size else reached[-1])
