"""One process at a time compiles the kernels: those that start meanwhile wait for what it keeps.

The system takes a lock on a file away from a process that ends, however that does. Waiting has an end: what cannot be
locked, or is locked for longer, is compiled by everybody, as if there were no lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grurt.kernels.places import directory_to_write
from grurt.notices import say

LONGEST_WAIT = 120.0
"""Seconds, at most: some two to four times what compiling takes."""

LOCK = "compiling.lock"
_LOOK_EVERY = 0.05


@contextmanager
def turn() -> Iterator[bool]:
    """Wait until no other process compiles; yield whether one did.

    The lock's file lies where the kernels will be kept. Nobody else can open it: a neighbour could hold it for ever.
    """
    descriptor = _open()
    if descriptor is None:
        yield False
        return
    try:
        yield _waits(descriptor)
    finally:
        os.close(descriptor)


def _open() -> int | None:
    directory = directory_to_write()
    if directory is None or os.name != "posix":
        return None
    with suppress(OSError):
        return os.open(Path(directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    return None


def _waits(descriptor: int) -> bool:
    """Lock a file; return whether another process had it locked."""
    import fcntl

    end = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return end is not None
        except BlockingIOError:
            pass
        except OSError:  # of a file system without locks
            return False
        if end is None:
            say("another process is compiling the kernels: waiting for it ...")
            end = time.monotonic() + LONGEST_WAIT
        elif time.monotonic() > end:
            return True
        time.sleep(_LOOK_EVERY)
