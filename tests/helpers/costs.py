"""Converts files in processes of limited memory and time, and tells what became of each and what it took.

Run as a program it reads jobs from stdin, one a line, and prints what came of each, one a line. It forks for each, so
that a job costs what the file costs, and not what Python and NumPy do.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

READERS = (
    "arrays.npz",
    "keras.convert",
    "pt2.convert",
    "rtneural.convert",
    "rtneural.weights",
    "torch.assembly.build",
)


@dataclass(frozen=True)
class Job:
    """A file to convert, and what that may take: bytes of address space and of memory, seconds of a processor."""

    path: str
    layers: str | None
    memory: int
    seconds: int


@dataclass(frozen=True)
class Found:
    """What came of a job: ``"converted"``, the name of an exception, or how the process ended; and what it took."""

    outcome: str
    message: str
    memory: int
    seconds: float


def run_jobs(jobs: Sequence[Job]) -> list[Found]:
    """Return what came of jobs, each in a process of its own."""
    lines = "".join(json.dumps(asdict(job)) + "\n" for job in jobs)
    done = subprocess.run([sys.executable, __file__], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [Found(**json.loads(line)) for line in done.stdout.splitlines()]


def main(lines: Iterable[str]) -> None:
    for reader in READERS:
        importlib.import_module(f"grurt.converters.{reader}")
    warnings.simplefilter("error")
    for line in lines:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.write(writing, json.dumps(asdict(attempt(Job(**json.loads(line))))).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            text = answer.read().decode()
        _, status = os.waitpid(child, 0)
        ended = asdict(Found(f"ended by {os.waitstatus_to_exitcode(status)}", "", 0, 0.0))
        print(text or json.dumps(ended), flush=True)


def attempt(job: Job) -> Found:
    """Convert a file within its limits, in this process."""
    from grurt.converters import convert

    pages = Path("/proc/self/statm").read_text().split()
    taken, resident = (int(count) * resource.getpagesize() for count in pages[:2])
    resource.setrlimit(resource.RLIMIT_AS, (taken + job.memory, taken + job.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (job.seconds, job.seconds))
    started = time.process_time()
    try:
        convert(job.path, job.layers, reference=False)
        outcome, message = "converted", ""
    except BaseException as error:
        outcome, message = type(error).__name__, str(error)[:300]
    used: Any = resource.getrusage(resource.RUSAGE_SELF)
    return Found(outcome, message, used.ru_maxrss * 1024 - resident, time.process_time() - started)


if __name__ == "__main__":
    main(sys.stdin)
