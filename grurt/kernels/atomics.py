"""Numbers in memory that several threads read and write: sequentially consistent.

As in `grurt.kernels.simd`, these are the definitions. In Python, a lock makes each of them indivisible.
"""

import threading
import time

from grurt.kernels.simd import load_i64, store_i64

_lock = threading.Lock()


def atomic_load(address: int) -> int:
    """``int64 at address``."""
    with _lock:
        return load_i64(address, 0)


def atomic_store(address: int, value: int) -> None:
    """Set the ``int64 at address``."""
    with _lock:
        store_i64(address, 0, value)


def compare_and_swap(address: int, expected: int, new: int) -> int:
    """Set the ``int64 at address`` if it is ``expected``; return what it was."""
    with _lock:
        found = load_i64(address, 0)
        if found == expected:
            store_i64(address, 0, new)
        return found


def pause() -> None:
    """Leave the core's units to its other thread for a moment, where the CPU has an instruction for that."""
    time.sleep(0)  # here: leave the GIL to another thread


def ticks() -> int:
    """What a clock of the CPU shows, in thirds of a nanosecond more or less; always 0 where it has none to read."""
    return 3 * time.perf_counter_ns()
