"""Where compiled kernels are kept between processes.

Numba's own cache raises where no directory can be written, ties an entry to the modification time of one source file,
does not see a change in a function that is called from another file, and unpickles what it finds. Here an entry's name
is a digest of all that the machine code depends on: every kernel source, the versions of Python, Numba and llvmlite,
and the target CPU. So it can be filled when an image is built and read from a read-only file system; CPUs and versions
that share a directory do not disturb each other; and a cache that cannot be read or written costs time, never an
exception. Entries are machine code: their digests protect against damage, and `grurt.trust` against other people.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config

from grurt.digests import blake2b
from grurt.kernels import machine_code, targets
from grurt.kernels.machine_code import MachineCode
from grurt.kernels.places import SOURCE_DIGEST, cache_directories, is_safe, read_entry, write_entry


def load(name: str) -> tuple[int, Path] | None:
    """Return the address of a kept function, and the entry that it was loaded from; None if there is none."""
    for directory in cache_directories():
        payload = read_entry(directory / name)
        if payload is not None:
            with suppress(ValueError, RuntimeError):  # an entry that cannot be loaded is compiled anew
                return machine_code.loaded(MachineCode.decode(payload)), directory / name
    return None


def keep(name: str, code: MachineCode) -> Path | None:
    """Write an entry to the first directory that takes it; return where it is, or None if none does.

    It is written to those after that as well: what lies in the user's own serves other copies of the package, such as a
    checkout.
    """
    payload = code.encode()
    paths = iter([directory / name for directory in cache_directories()])
    first = next((path for path in paths if write_entry(path, payload)), None)
    for path in paths:
        if is_safe(path.parent):
            write_entry(path, payload)
    return first


def entry_name(function: str, signature: Any, codegen: Any) -> str:
    """Return the name of the entry of a function of the kernels, for what Numba's code generator compiles for."""
    versions = (sys.version_info[:3], sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
    # The kernels hold the size of an object's header as a constant; the optimization level is the environment's.
    build = (
        sys.abiflags if hasattr(sys, "abiflags") else "",
        object.__basicsize__,
        config.OPT,
        config.DEBUGINFO_DEFAULT,
    )
    cpu = (codegen.magic_tuple(), sorted(targets.capabilities()))
    key = repr((versions, build, str(signature), cpu, SOURCE_DIGEST))
    return f"{function}-{blake2b(key.encode(), digest_size=16).hexdigest()}.kernel"
