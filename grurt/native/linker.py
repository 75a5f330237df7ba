"""Makes a shared library of object files with whatever linker there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from grurt.errors import EngineError
from grurt.host_cpu import machine as this_machine
from grurt.regular_files import read_regular_file
from grurt.trust import UntrustedError, expect_trusted


def link_library(objects: Mapping[str, bytes], machine: str) -> bytes:
    """Return the shared library of some object files; what they leave undefined, the process defines that loads it.

    Parameters
    ----------
    objects
        Contents of object files by name.
    machine
        What they are for, as `Cpu.machine` has it.

    Raises
    ------
    EngineError
        If there is no linker, it fails, or somebody else could exchange what it writes.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            expect_trusted(folder)
        except UntrustedError as error:
            raise EngineError(
                f"linking the kernels: expected a temporary folder that nobody else can exchange, got {error}: "
                f"name another one in TMPDIR"
            ) from error
        paths = [Path(folder) / f"{name}.o" for name in objects]
        for path, content in zip(paths, objects.values(), strict=True):
            path.write_bytes(content)
        library = Path(folder) / "library.so"
        command = [*_linker(machine), "-shared", "-nostdlib", "-s", "-o", str(library), *map(str, paths)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if result.returncode:
            said = "; ".join(result.stderr.strip().splitlines())
            raise EngineError(f"linking the kernels: {' '.join(command)} failed: {said}")
        return read_regular_file(library)


def _linker(machine: str) -> list[str]:
    """Return the command of a linker for a machine: a C compiler, a bare linker, or the one of PyPI's ziglang."""
    if found := find_linker(machine):
        return [found]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-P", "-m", "ziglang", "cc", f"--target={machine}-linux-gnu"]
    prefix = _prefix(machine)
    raise EngineError(
        f"linking the kernels for {machine}: expected {prefix}gcc, {prefix}ld or the package ziglang, got none; "
        f"`pip install ziglang` brings a linker for every machine"
    )


def find_linker(machine: str) -> str | None:
    """Return the C compiler or bare linker for a machine that the system has; None if it has none.

    What lies in the folder that the process works in is no linker, whatever ``PATH`` says.
    """
    folders = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder).is_absolute())
    names = (_prefix(machine) + name for name in ("cc", "gcc", "clang", "ld"))
    return next((found for name in names if (found := shutil.which(name, path=folders))), None)


def _prefix(machine: str) -> str:
    return "" if machine == this_machine() else f"{machine}-linux-gnu-"
