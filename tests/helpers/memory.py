"""How much memory this process holds."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_stays_flat(slack: int = 4096) -> Iterator[None]:
    """Check that neither Python, NumPy nor the kernels hold more memory at the end than at the beginning."""
    gc.collect()
    tracemalloc.start()
    try:
        resident = resident_bytes()
        before, _ = tracemalloc.get_traced_memory()
        yield
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < slack
        assert resident_bytes() - resident < 1 << 20
    finally:
        tracemalloc.stop()


def resident_bytes() -> int:
    """Return the memory of this process that is in use; 0 where that is not known."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """What Python and NumPy held at most while `memory_peak` looked, beyond what they held before."""

    bytes: int


@contextmanager
def memory_peak() -> Iterator[Peak]:
    """Look at the memory that is asked for, whether it is touched or not."""
    peak = Peak()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
