"""Gets the entry point compiled: from the cache, or, once on a machine, by compiling it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import config
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from grurt import trust
from grurt.kernels import cache, machine_code
from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.fastcall import just_in_time
from grurt.kernels.turns import turn
from grurt.notices import say, saying

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
    codegen = cpu_target.target_context.codegen()
    name = cache.entry_name("advance", SIGNATURE, codegen)
    address, _path = cache.load(name) or _compile_in_turn(name, codegen)
    return just_in_time(codegen, address, "advance")


def _compile_in_turn(entry_name: str, codegen: Any) -> tuple[int, Path | None]:
    with turn() as has_waited:
        found = cache.load(entry_name) if has_waited else None
        return found or _compile(entry_name, codegen)


def _compile(entry_name: str, codegen: Any) -> tuple[int, Path | None]:
    """Compile and keep the entry point; return its address, and where it is kept. Say on stderr what one waits for."""
    # Imported here, because a start from the cache has no time for all kernels.
    from grurt.kernels.entry import advance
    from grurt.kernels.options import kernel
    from grurt.kernels.progress import counted

    started = time.perf_counter()
    cpu = config.CPU_NAME or codegen._get_host_cpu_name()
    with saying(f"compiling the kernels for this CPU ({cpu}), once ...") as tell, counted(tell):
        code = machine_code.compiled(kernel(advance), SIGNATURE)
    path = cache.keep(entry_name, code)
    seconds = time.perf_counter() - started
    say(f"kernels compiled in {seconds:.1f} s, {f'kept in {path.parent}' if path else f'not kept: {_why_not_kept()}'}")
    return machine_code.loaded(code), path


def _why_not_kept() -> str:
    if trust.has_passed_by():
        return "no cache directory that can be written is safe from others"
    return "no cache directory can be written"
