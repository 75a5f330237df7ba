"""What holds for all tests."""

import os
import signal
from pathlib import Path

import pytest

# A shell starts what runs in the background with Ctrl-C ignored, and so would be every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nor shall a process that reads its stdin wait for the other end of a pipe that pytest was given as its own.
if not os.isatty(0):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

FIRST = ("network", "container")
"""Rooms whose tests need compiled kernels hardly anywhere: their answers come before kernels are compiled."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is run before each commit: all but what is marked by hand as long or slow."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(folder).parts[0] not in FIRST)
    for item in items:
        if item.get_closest_marker("long") is None and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)
