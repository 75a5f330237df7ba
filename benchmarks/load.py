"""Other work for the machine: what neighbours do while a service must answer."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NEIGHBOUR = """
import os, sys
import numpy as np
os.sched_setaffinity(0, {int(sys.argv[1])})
values = np.ones(1 << 24, np.float32)
print("ready", flush=True)
while True:
    values *= np.float32(0.999)
    values += np.float32(0.001)
"""
"""Computes without pause on 64 MiB, so that it also takes the caches and the memory that cores share."""


@contextmanager
def other_cores_busy() -> Iterator[None]:
    """Keep every core busy but those that this process runs on."""
    others = sorted(set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0))
    commands = [[sys.executable, "-c", NEIGHBOUR, str(core)] for core in others]
    neighbours = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    try:
        for neighbour in neighbours:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.communicate()
