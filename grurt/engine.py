"""The engine that runs plans: kernels in a library that was compiled ahead of time, or compiled by Numba."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.errors import EngineError

Advance = Callable[[NDArray[np.int64], Any, Any, Any], int]
"""`grurt.kernels.entry.advance`, compiled."""

_lock = threading.Lock()
_entry_point: Advance | None = None


def entry_point() -> Advance:
    """Return the compiled entry point of the kernels: a callable without dispatching, and without any check.

    The environment variable ``GRURT_ENGINE`` chooses: ``native``, a library that `grurt compile` has built; ``jit``,
    Numba. Without it, a library is used where one fits, else Numba.

    Raises
    ------
    EngineError
        If what was chosen is not there.
    """
    global _entry_point
    with _lock:
        if _entry_point is None:
            _entry_point = _load(os.environ.get("GRURT_ENGINE", ""))
    return _entry_point


def ready() -> None:
    """Make sure that the kernels are compiled and loaded: nothing is ever compiled after that."""
    entry_point()


def _load(chosen: str) -> Advance:
    if chosen not in ("", "native", "jit"):
        raise EngineError(f'GRURT_ENGINE: expected "native" or "jit", got {chosen!r}')
    if chosen != "jit":
        from grurt.native import library

        if (native := library.entry_point()) is not None:
            return native
        if chosen == "native":
            raise EngineError(
                "GRURT_ENGINE=native: no library of kernels fits this grurt and this CPU: "
                "build one with `grurt compile`, and name it in GRURT_NATIVE"
            )
    try:
        from grurt.kernels.compiled import entry_point as just_in_time
    except ModuleNotFoundError as error:
        raise EngineError(
            f"no library of kernels fits this grurt and this CPU, and {error.name}, which compiles them, is not "
            f'installed: `pip install "grurt[jit]"`'
        ) from error
    return just_in_time()
