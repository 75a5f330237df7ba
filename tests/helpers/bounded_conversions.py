"""Converts files, each in a process of its own whose memory and time are limited in proportion to the file.

Run as a program, with the names of files; prints what became of each, and what it took, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY_PER_BYTE = 40
SPARE_MEMORY = 400 << 20
SECONDS_PER_MEGABYTE = 4
SPARE_SECONDS = 12


@dataclass(frozen=True)
class Outcome:
    """What became of a file: the exception's class and text, both empty if there was none."""

    error: str
    text: str
    seconds: float
    """Of the CPU."""
    megabytes: float
    """How far the memory in use grew."""


def outcomes(paths: Iterable[Path], *, reference: bool = False) -> Mapping[str, Outcome]:
    """Convert files in a process of their own, and return what became of each, by its name."""
    names = [str(path) for path in paths]
    done = subprocess.run(
        [sys.executable, __file__, str(int(reference)), *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {
        Path(name).name: Outcome(**json.loads(line)) for name, line in zip(names, done.stdout.splitlines(), strict=True)
    }


def _size(path: Path) -> int:
    """Return the bytes of a file, and of the data beside it."""
    return path.stat().st_size + sum(other.stat().st_size for other in path.parent.glob(f"{path.stem}.data"))


def _limited(path: Path, reference: bool) -> dict[str, object]:
    from grurt.converters import convert
    from grurt.errors import GrurtError

    size = _size(path)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = taken + MEMORY_PER_BYTE * size + SPARE_MEMORY
    seconds = SPARE_SECONDS + SECONDS_PER_MEGABYTE * (size >> 20)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    warnings.simplefilter("error")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    error, text = "", ""
    try:
        convert(path, reference=reference)
    except GrurtError as raised:
        error, text = type(raised).__name__, str(raised)
    except BaseException as raised:
        error, text = f"raw {type(raised).__name__}", traceback.format_exc()[-1500:]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"error": error, "text": text, "seconds": time.process_time() - started, "megabytes": grown}


def _in_a_fork(path: Path, reference: bool) -> dict[str, object]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(_limited(path, reference), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    ended = f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"
    return json.loads(text) if text else {"error": ended, "text": "", "seconds": -1.0, "megabytes": -1.0}


def main(reference: str, names: list[str]) -> None:
    import grurt.converters.onnx.convert
    import grurt.converters.pt2.convert  # noqa: F401 - so that every process has them

    if int(reference):
        importlib.import_module("torch" if names[0].endswith(".pt2") else "onnxruntime")
    for name in names:
        print(json.dumps(_in_a_fork(Path(name), bool(int(reference)))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
