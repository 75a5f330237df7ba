"""Programs in processes of their own, whose memory and time are limited by the system."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_limited(code: str, *arguments: str, memory: int | None = None, seconds: int | None = None) -> str:
    """Return what a Python program prints that may ask for so many bytes more than it has, and use so much of a CPU.

    The limits begin where the program calls ``limit()``, when it has imported what it needs.
    """
    pytest.importorskip("resource", reason="needs POSIX resource limits")
    program = _PRELUDE.format(memory=memory, seconds=seconds) + code
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


_PRELUDE = """
import resource, sys, time

def limit():
    if {memory} is not None:
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + {memory},) * 2)
    if {seconds} is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + {seconds},) * 2)

"""
