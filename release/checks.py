"""What is asked of the packages of a release: that an index takes them, and that they run wherever their names say."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

LIBRARY = "grurt/native/kernels.grurt.so"
MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
STABLE_ABI = {
    "PyErr_Clear",
    "PyErr_Occurred",
    "PyErr_SetString",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyExc_TypeError",
    "PyLong_AsLongLong",
    "PyLong_FromLongLong",
    "PyModule_Create2",
    "PyObject_CallObject",
    "PyWeakref_NewRef",
    "Py_DecRef",
    "Py_IncRef",
}
"""What the library may use of CPython: all of it is in the stable ABI, since Python 3.2."""


def check(paths: Iterable[Path]) -> list[str]:
    """Return what is wrong with the packages, as an index and a loader of programs see it."""
    chosen = list(map(str, paths))
    command = [sys.executable, "-m", "twine", "check", "--strict", *chosen]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    faults = [result.stdout + result.stderr] if result.returncode else []
    return [*faults, *(fault for path in chosen if path.endswith(".whl") for fault in wheel_faults(Path(path)))]


def wheel_faults(wheel: Path) -> list[str]:
    """Return what is wrong with the library in a wheel.

    `auditwheel` asks which C library a wheel needs, and gives up on one that needs none. So it is asked here for what
    makes it right on every Linux: it needs no library at all, and of the process that loads it nothing but CPython's
    stable ABI.
    """
    with zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if name.endswith(".so")]
        expected = [] if wheel.name.endswith("-any.whl") else [LIBRARY]
        if libraries != expected:
            return [f"{wheel.name}: expected the libraries {expected}, got {libraries}"]
        return [f"{wheel.name}: {fault}" for name in libraries for fault in library_faults(archive.read(name), wheel)]


def library_faults(content: bytes, wheel: Path) -> list[str]:
    """Return what keeps a library from running on any Linux of the machine in a wheel's name."""
    library = ELFFile(io.BytesIO(content))
    faults = []
    machine = MACHINES.get(library["e_machine"])
    tag = wheel.stem.rpartition("-")[2]
    if tag.replace(f"_{machine}", "") not in ("linux", "manylinux_2_17.musllinux_1_1"):
        faults.append(f"holds a library for {machine}, which its name does not say")
    for section in library.iter_sections():
        if isinstance(section, DynamicSection):
            faults += [f"needs {tag.needed}" for tag in section.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
        if isinstance(section, SymbolTableSection) and section.name == ".dynsym":
            undefined = {symbol.name for symbol in section.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF"} - {""}
            faults += [f"calls {name}, which is not of the stable ABI" for name in sorted(undefined - STABLE_ABI)]
    return faults
