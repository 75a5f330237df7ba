"""Where compiled kernels are kept between processes.

Numba's own cache raises where no directory can be written, ties an entry to the modification time of one source file,
and does not see a change in a function that is called from another file. Here an entry's name is a digest of all that
the machine code depends on: every kernel source, the versions of Python, Numba and llvmlite, and the target CPU. So it
can be filled when an image is built and read from a read-only file system; CPUs and versions that share a directory do
not disturb each other; and a cache that cannot be read or written costs time, never an exception. Entries are machine
code: their digests protect against damage, not against people who may write to the directory.
"""

import hashlib
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from grurt.atomic import write_atomically

_DIGEST_SIZE = 32


def _source_digest() -> str:
    digest = hashlib.blake2b()
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


_SOURCE_DIGEST = _source_digest()
"""Taken when the sources are imported: an upgrade may replace the files while this process runs, or compiles."""


def cache_directories() -> list[Path]:
    """Directories that are searched for compiled kernels, and written to, in this order.

    ``GRURT_CACHE_DIR``, where it is set, and nothing else. Otherwise beside the kernel sources, and then the user's
    cache directory.
    """
    if chosen := os.environ.get("GRURT_CACHE_DIR"):
        return [Path(chosen)]
    return [Path(__file__).parent / "__pycache__", *_user_cache_directory()]


def _user_cache_directory() -> Iterator[Path]:
    with suppress(RuntimeError):  # no home directory
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        yield Path(base) / "grurt"


class KernelCache(_Cache):  # type: ignore[misc]
    """What a Numba dispatcher asks for a compiled function, and hands one to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.hit = False
        """Whether the last `load_overload` found an entry."""
        self.saved_in: Path | None = None
        """The directory that the last `save_overload` wrote to; None if none could be written."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, or None."""
        target_context.refresh()
        self.hit = False
        for directory in cache_directories():
            payload = _read(directory / self._file_name(sig, target_context.codegen()))
            if payload is not None:
                with suppress(Exception):  # an entry that cannot be loaded is compiled anew
                    compiled = CompileResult._rebuild(target_context, *pickle.loads(payload))  # noqa: S301
                    self.hit = True
                    return compiled
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled function to the first directory that takes it."""
        payload = dumps(data._reduce())
        name = self._file_name(sig, data.codegen)
        self.saved_in = next((d for d in cache_directories() if _write(d / name, payload)), None)

    def _file_name(self, sig: Any, codegen: Any) -> str:
        versions = (sys.version_info[:3], sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
        # The kernels hold the size of an object's header as a constant; the optimisation level is the environment's.
        build = (
            sys.abiflags if hasattr(sys, "abiflags") else "",
            object.__basicsize__,
            config.OPT,
            config.DEBUGINFO_DEFAULT,
        )
        key = repr((versions, build, str(sig), codegen.magic_tuple(), _SOURCE_DIGEST))
        return f"{self._name}-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.kernel"

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


def _read(path: Path) -> bytes | None:
    """Return the payload of an entry; None if there is none, or if a single bit of it is wrong."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[_DIGEST_SIZE:]
    return payload if content[:_DIGEST_SIZE] == _digest(payload) else None


def _write(path: Path, payload: bytes) -> bool:
    """Write an entry so that no process ever sees half of it; return False if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _digest(payload) + payload)
    except OSError:
        return False
    return True


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST_SIZE).digest()
