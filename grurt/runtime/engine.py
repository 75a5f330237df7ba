"""The engine that runs plans: kernels in a library that was compiled ahead of time, compiled by Numba, or in Python."""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock  # which is threading.Lock, and takes no time to import
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from grurt.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Advance: TypeAlias = "Callable[[NDArray[np.int64], Any, Any, Any], int]"
"""`grurt.kernels.entry.advance`, compiled or not."""

_lock = allocate_lock()
_entry_point: Advance | None = None
_is_compiled_here = False


def entry_point() -> Advance:
    """Return the entry point of the kernels: a callable without dispatching, and without any check.

    The environment variable ``GRURT_ENGINE`` chooses: ``native``, a library that `grurt compile` has built; ``jit``,
    Numba; ``python``, nothing that is compiled, for who wants to look inside (see docs/debugging.md). Without it, a
    library is used where one fits, else Numba.

    Raises
    ------
    EngineError
        If what was chosen is not there, or the GIL is off, under which a stream sees to it that one thread uses it.
    """
    global _entry_point
    if _entry_point is not None:  # without the lock, which an exception of a trace function may have left closed
        return _entry_point
    with _lock:
        if _entry_point is None:
            loaded = _load(_chosen())
            _expect_gil()  # now, because an import may have put it on
            _entry_point = loaded
    return _entry_point


def ready() -> None:
    """Make sure that the kernels are compiled and loaded: nothing is ever compiled after that."""
    entry_point()


def is_compiled_here() -> bool:
    """Return whether it is Numba that makes the kernels; nothing is compiled to know that."""
    if _entry_point is None:
        return _chosen() != "python" and _library(_chosen()) is None
    return _is_compiled_here


def is_interpreted() -> bool:
    """Return whether Python runs the kernels."""
    return _chosen() == "python"


def _chosen() -> str:
    return os.environ.get("GRURT_ENGINE", "")


def _load(chosen: str) -> Advance:
    global _is_compiled_here
    if (native := _library(chosen)) is not None:
        return native
    if chosen == "python":
        from grurt.kernels.interpreted import entry_point as interpreted

        return interpreted()
    compiled = _just_in_time("GRURT_ENGINE=jit" if chosen else "no library of kernels fits this grurt and this CPU")
    _is_compiled_here = True
    return compiled


def _library(chosen: str) -> Advance | None:
    """Return the entry point of a library; None if there is none, or something else was chosen."""
    if chosen not in ("", "native", "jit", "python"):
        raise EngineError(f'GRURT_ENGINE: expected "native", "jit" or "python", got {chosen!r}')
    if chosen in ("jit", "python"):
        return None
    from grurt.native import library

    found = library.entry_point()
    if found is None and chosen == "native":
        passed_by = "; ".join(library.passed_by()) or "none was found"
        raise EngineError(
            f"GRURT_ENGINE=native: no library of kernels fits this grurt and this CPU ({passed_by}): "
            f"build one with `grurt compile`, and name it in GRURT_NATIVE"
        )
    return found


def _just_in_time(why: str) -> Advance:
    """Return the kernels that Numba compiles; ``why`` it is needed begins the messages."""
    try:
        from numba.core import config

        from grurt.kernels.compiled import entry_point as compiled
    except ModuleNotFoundError as error:
        from grurt.installing import install_command

        raise EngineError(
            f"{why}, and {error.name}, which compiles the kernels, is not installed: `{install_command('jit')}`"
        ) from error
    if config.DISABLE_JIT:
        raise EngineError(
            f"{why}, and NUMBA_DISABLE_JIT forbids Numba to compile the kernels: unset it; "
            f"to run the kernels in Python, set GRURT_ENGINE=python"
        )
    return compiled()


def _expect_gil() -> None:
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise EngineError("expected a Python with its GIL, got it off: set PYTHON_GIL=1, or use another build")
