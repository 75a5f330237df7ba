"""What holds for all tests."""

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from extras import why_missing

# A shell starts what runs in the background with Ctrl-C ignored, and so would be every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nor shall a process that reads its stdin wait for the other end of a pipe that pytest was given as its own.
if not os.isatty(0):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

FIRST = ("network", "container")
"""Rooms whose tests need compiled kernels hardly anywhere: their answers come before kernels are compiled."""


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a file of tests that imports what only an extra brings, where that is not installed."""
    report = yield
    if report.failed and isinstance(collector, pytest.Module):
        missing = re.findall(r"^E +ModuleNotFoundError: No module named '(\w+)", str(report.longrepr), re.MULTILINE)
        if missing and (reason := why_missing(missing[-1])):
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 0, f"Skipped: {reason}")
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is run before each commit: all but what is marked by hand as long or slow."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(folder).parts[0] not in FIRST)
    for item in items:
        if item.get_closest_marker("long") is None and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)
