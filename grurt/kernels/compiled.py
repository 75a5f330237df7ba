"""Gets the entry point compiled: from the cache, or, once on a machine, by compiling it."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import int64, njit
from numba.core import config
from numpy.typing import NDArray

from grurt.kernels.cache import KernelCache
from grurt.kernels.entry import advance, object_address
from grurt.kernels.options import OPTIONS

Advance = Callable[[NDArray[np.int64], Any, Any, Any], int]

_SIGNATURE = int64(object_address, object_address, object_address, object_address)

_lock = threading.Lock()
_entry_point: Advance | None = None


def entry_point() -> Advance:
    """Return the compiled `grurt.kernels.entry.advance`: a callable without dispatching, and without any check.

    The first call in a process loads it from the cache, or compiles it: only then, two lines on stderr say so.
    """
    global _entry_point
    with _lock:
        if _entry_point is None:
            _entry_point = _load()
    return _entry_point


def ready() -> None:
    """Make sure that the kernels are compiled and loaded: nothing is ever compiled after that."""
    entry_point()


def _load() -> Advance:
    dispatcher: Any = njit(**OPTIONS)(advance)
    cache = _AnnouncingCache("advance")
    dispatcher._cache = cache
    dispatcher.compile(_SIGNATURE)
    dispatcher.disable_compile()
    cache.announce_end()
    (compiled,) = dispatcher.overloads.values()
    return compiled.entry_point  # type: ignore[no-any-return]


class _AnnouncingCache(KernelCache):
    """A cache that says on stderr what a user waits for."""

    _started: float | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        compiled = super().load_overload(sig, target_context)
        if not self.hit:
            self._started = time.perf_counter()
            cpu = config.CPU_NAME or target_context.codegen()._get_host_cpu_name()
            print(f"grurt: compiling the kernels for this CPU ({cpu}), once ...", file=sys.stderr, flush=True)
        return compiled

    def announce_end(self) -> None:
        if self._started is not None:
            seconds = time.perf_counter() - self._started
            kept = f"kept in {self.saved_in}" if self.saved_in else "not kept: no cache directory can be written"
            print(f"grurt: kernels compiled in {seconds:.1f} s, {kept}", file=sys.stderr, flush=True)
