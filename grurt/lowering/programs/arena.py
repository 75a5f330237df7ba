"""Where the storages of a program lie in its arena: memory of what is no longer read is used again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grurt.kernels import codes
from grurt.lowering.programs.steps import Step
from grurt.lowering.programs.views import Storage
from grurt.network.vectors import padded


def place_storages(steps: Sequence[Step], head: int) -> int:
    """Place the storages that steps use in the arena, behind its first ``head`` float32; return the size of it.

    Each lies where none does that is in use at the same time: from the first step that touches it to the last. Large
    ones are placed first.
    """
    placed: list[tuple[Storage, range]] = []
    used = _in_use(steps)
    for storage in sorted(used, key=lambda storage: -storage.size):
        others = sorted(
            (other.offset, other.offset + padded(other.size))
            for other, steps_of_other in placed
            if _overlap(steps_of_other, used[storage])
        )
        storage.offset = _first_gap(others, padded(storage.size), head)
        placed.append((storage, used[storage]))
    # A vector may be read that begins with the last number.
    return max((storage.offset + padded(storage.size) for storage in used), default=head) + padded(1)


def _in_use(steps: Iterable[Step]) -> dict[Storage, range]:
    used: dict[Storage, range] = {}
    for number, step in enumerate(steps):
        for storage in step.storages:
            if storage.base == codes.BASE_ARENA:
                first = used[storage].start if storage in used else number
                used[storage] = range(first, number + 1)
    return used


def _overlap(a: range, b: range) -> bool:
    return a.start < b.stop and b.start < a.stop


def _first_gap(taken: Iterable[tuple[int, int]], size: int, start: int) -> int:
    """Return where the first gap of a size between sorted parts begins."""
    for begin, end in taken:
        if begin - start >= size:
            return start
        start = max(start, end)
    return start
