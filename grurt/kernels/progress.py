"""How far the compilation of the kernels is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event
from numba.core.dispatcher import Dispatcher

_SHARE_OF_FUNCTIONS = 75
"""Percent of the time; in the rest, LLVM optimizes them all as one program."""


class _Count(event.Listener):  # type: ignore[misc]
    """Tells of each function that Numba is done with how far that is."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._done, self._total, self._tell = 0, total, tell

    def on_start(self, event: Any) -> None:
        pass

    def on_end(self, event: Any) -> None:
        self._done += 1
        self._tell(f"{min(self._done, self._total) * _SHARE_OF_FUNCTIONS // self._total:3} %")


@contextmanager
def counted(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell how far it is, in percent, whenever Numba has compiled one of the kernels that are imported."""
    with event.install_listener("numba:compile", _Count(max(1, len(_kernels())), tell)):
        yield


def _kernels() -> set[int]:
    modules = [vars(module) for name, module in sys.modules.items() if name.startswith(__package__ or "")]
    return {id(value) for names in modules for value in names.values() if isinstance(value, Dispatcher)}
