"""What figures depend on: machine, versions, command, date."""

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.contenders import versions


def describe() -> dict[str, Any]:
    """Return a description of machine and software, for the results."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "caches": _caches(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else [],
        "python": platform.python_version(),
        "numba": metadata.version("numba"),
        "engines": versions(),
    }


def _cpu() -> str:
    """Return the CPU's name, with LLVM's name for its kind, which says more where the first is a generic one."""
    from llvmlite import binding

    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({binding.get_host_cpu_name()})"


def _caches() -> list[str]:
    """Return the caches of the first core, such as ``"L2 2048K"``."""
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    described = [
        (f"L{(folder / 'level').read_text().strip()}", (folder / "type").read_text().strip(), folder / "size")
        for folder in folders
    ]
    return [f"{level} {size.read_text().strip()}" for level, kind, size in described if kind != "Instruction"]
