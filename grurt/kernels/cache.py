"""Where compiled kernels are kept between processes.

Numba's own cache raises where no directory can be written, ties an entry to the modification time of one source file,
and does not see a change in a function that is called from another file. Here an entry's name is a digest of all that
the machine code depends on: every kernel source, the versions of Python, Numba and llvmlite, and the target CPU. So it
can be filled when an image is built and read from a read-only file system; CPUs and versions that share a directory do
not disturb each other; and a cache that cannot be read or written costs time, never an exception. Entries are machine
code: their digests protect against damage, not against people who may write to the directory.
"""

import pickle
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from grurt.digests import blake2b
from grurt.kernels.places import SOURCE_DIGEST, cache_directories, read_entry, write_entry


class KernelCache(_Cache):  # type: ignore[misc]
    """What a Numba dispatcher asks for a compiled function, and hands one to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.hit = False
        """Whether the last `load_overload` found an entry."""
        self.path: Path | None = None
        """Where the entry is that was found or written last; None if no directory can be written."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, or None."""
        target_context.refresh()
        self.hit = False
        for directory in cache_directories():
            path = directory / self._file_name(sig, target_context.codegen())
            payload = read_entry(path)
            if payload is not None:
                with suppress(Exception):  # an entry that cannot be loaded is compiled anew
                    compiled = CompileResult._rebuild(target_context, *pickle.loads(payload))  # noqa: S301
                    self.hit = True
                    self.path = path
                    return compiled
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled function to the first directory that takes it."""
        payload = dumps(data._reduce())
        name = self._file_name(sig, data.codegen)
        paths = [directory / name for directory in cache_directories()]
        self.path = next((path for path in paths if write_entry(path, payload)), None)

    def _file_name(self, sig: Any, codegen: Any) -> str:
        versions = (sys.version_info[:3], sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
        # The kernels hold the size of an object's header as a constant; the optimization level is the environment's.
        build = (
            sys.abiflags if hasattr(sys, "abiflags") else "",
            object.__basicsize__,
            config.OPT,
            config.DEBUGINFO_DEFAULT,
        )
        key = repr((versions, build, str(sig), codegen.magic_tuple(), SOURCE_DIGEST))
        return f"{self._name}-{blake2b(key.encode(), digest_size=16).hexdigest()}.kernel"

    @property
    def cache_path(self) -> str:
        """Where Numba's statistics say that the cache is."""
        return str(cache_directories()[0])

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: entries are never stale."""
