"""Starts the processes that measure."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results import Record
from benchmarks.suites import Suite

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
"""Environment of a process that measures: libraries read it when they are imported."""


def run(suite: Suite, settings: dict[str, Any], processes: int, core: int | None) -> tuple[list[Record], int | None]:
    """Measure a suite in several processes, and return the merged records and the core that they were pinned to."""
    chosen = settings["only"] or suite.contenders()
    groups = [[name] for name in chosen] if suite.apart else [settings["only"]]
    answers = [_measure_apart(suite, settings | {"only": group}, core) for _ in range(processes) for group in groups]
    return results.merge(answer["records"] for answer in answers), answers[0]["core"]


def _measure_apart(suite: Suite, settings: dict[str, Any], core: int | None) -> dict[str, Any]:
    """Measure in a process of its own, whose libraries have one thread."""
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        job.write_text(json.dumps({"suite": suite.name, "settings": settings, "core": core}))
        command = [sys.executable, "-m", "benchmarks.worker", str(job), str(result)]
        subprocess.run(command, check=True, env=os.environ | ONE_THREAD)
        return json.loads(result.read_text())  # type: ignore[no-any-return]
