"""Gets the entry point compiled: from the cache, or, once on a machine, by compiling it."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import config
from numpy.typing import NDArray

from grurt.kernels.cache import KernelCache
from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.entry import advance
from grurt.kernels.fastcall import just_in_time
from grurt.kernels.options import kernel
from grurt.kernels.whole_program import whole_program

Advance = Callable[[NDArray[np.int64], Any, Any, Any], int]

_lock = threading.Lock()
_entry_point: Advance | None = None
_path: Path | None = None


def entry_point() -> Advance:
    """Return the compiled `grurt.kernels.entry.advance`: a callable without dispatching, and without any check.

    The first call in a process loads it from the cache, or compiles it: only then, two lines on stderr say so.
    """
    global _entry_point
    if _entry_point is not None:
        return _entry_point
    with _lock:
        if _entry_point is None:
            _entry_point = _load()
    return _entry_point


def cached_in() -> Path | None:
    """Return the file that the next process loads the kernels from; None if none can be written."""
    entry_point()
    return _path


def _load() -> Advance:
    global _path
    dispatcher: Any = kernel(advance)
    cache = _AnnouncingCache("advance")
    dispatcher._cache = cache
    with whole_program(dispatcher.targetctx, advance.__qualname__):
        dispatcher.compile(SIGNATURE)
    dispatcher.disable_compile()
    cache.announce_end()
    _path = cache.path
    (compiled,) = dispatcher.overloads.values()
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return just_in_time(dispatcher.targetctx.codegen(), address, advance.__name__)


class _AnnouncingCache(KernelCache):
    """A cache that says on stderr what a user waits for."""

    _started: float | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        compiled = super().load_overload(sig, target_context)
        if not self.hit:
            self._started = time.perf_counter()
            cpu = config.CPU_NAME or target_context.codegen()._get_host_cpu_name()
            _say(f"compiling the kernels for this CPU ({cpu}), once ...")
        return compiled

    def announce_end(self) -> None:
        if self._started is not None:
            seconds = time.perf_counter() - self._started
            kept = f"kept in {self.path.parent}" if self.path else "not kept: no cache directory can be written"
            _say(f"kernels compiled in {seconds:.1f} s, {kept}")


def _say(message: str) -> None:
    """Write a line to stderr, where there is one: a service without it starts as well."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"grurt: {message}", file=sys.stderr, flush=True)
