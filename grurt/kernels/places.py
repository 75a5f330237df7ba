"""Where compiled kernels lie on a machine, and the digest of the sources that they were compiled from."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from grurt.atomic import write_atomically
from grurt.digests import blake2b

_DIGEST_SIZE = 32


def source_digest() -> str:
    """Return the digest of all kernel sources; where they are no files, of the modules in their archive."""
    digest = blake2b()
    folder = Path(__file__).parent
    files = [(".".join(file.relative_to(folder).with_suffix("").parts), file) for file in folder.rglob("*.py")]
    sources = [(name, file.read_bytes()) for name, file in files] or _archived_modules()
    for name, content in sorted(sources):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _archived_modules() -> list[tuple[str, bytes]]:
    """Return the modules of this package by name, as their importer has them: source, or only bytecode."""
    # Imported here, because a start from a library of kernels has no time for them.
    import marshal
    from importlib.util import find_spec
    from pkgutil import iter_modules

    def content(module: str) -> bytes:
        spec = find_spec(module)
        loader: Any = spec and spec.loader
        source = loader.get_source(module)
        return marshal.dumps(loader.get_code(module)) if source is None else source.encode()

    def contents(package: str, prefix: str) -> Iterator[tuple[str, bytes]]:
        spec = find_spec(package)
        yield f"{prefix}__init__", content(package)
        for module in iter_modules(spec.submodule_search_locations if spec else None):
            if module.ispkg:
                yield from contents(f"{package}.{module.name}", f"{prefix}{module.name}.")
            else:
                yield f"{prefix}{module.name}", content(f"{package}.{module.name}")

    return list(contents(__package__ or "", ""))


SOURCE_DIGEST = source_digest()
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


def read_entry(path: Path) -> bytes | None:
    """Return the payload of an entry; None if there is none, or if a single bit of it is wrong."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[_DIGEST_SIZE:]
    return payload if content[:_DIGEST_SIZE] == _digest(payload) else None


def write_entry(path: Path, payload: bytes) -> bool:
    """Write an entry so that no process ever sees half of it; return False if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _digest(payload) + payload)
    except OSError:
        return False
    return True


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_DIGEST_SIZE).digest()
