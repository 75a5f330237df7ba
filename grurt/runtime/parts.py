"""Long runs in several calls into the kernels: Ctrl-C is noticed between two of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

MAX_STEPS = 256
"""Timesteps of a call into the kernels at first."""

_SHORT_CALL = 0.02
"""Seconds. After a call that took less, the next one has twice as many timesteps."""


def parts_of(n_steps: int) -> Iterator[int]:
    """Yield how many timesteps the next call has, of so many: few enough that it is short, and its costs do not count.

    How long a call takes is how long the caller keeps what is yielded.
    """
    size = MAX_STEPS
    while n_steps > size:
        begun = time.perf_counter()
        yield size
        n_steps -= size
        if time.perf_counter() - begun < _SHORT_CALL:
            size *= 2
    if n_steps > 0:
        yield n_steps
