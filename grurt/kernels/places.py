"""Where compiled kernels lie on a machine, and the digest of the sources that they were compiled from."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from grurt.digests import blake2b
from grurt.trust import UntrustedError, expect_trusted, read_trusted_file, say_passed_by

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST_SIZE = 32
_AT_ONCE = 1 << 16
FILE_MODE = 0o644
"""Of what is kept: whatever the umask, nobody but its owner may write to it."""


def source_digest() -> str:
    """Return the digest of all kernel sources; where they are no files, of the modules in their archive."""
    digest = blake2b()
    for name, content in sorted(_source_files(os.path.dirname(__file__))) or sorted(_archived_modules()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _source_files(folder: str, package: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the modules in a folder, and in those below: every start waits for it."""
    try:
        entries = os.scandir(folder)
    except OSError:  # in an archive, there is none
        return
    for entry in entries:
        if entry.is_dir():
            yield from _source_files(entry.path, f"{package}{entry.name}.")
        elif entry.name.endswith(".py") and entry.is_file():  # Python imports nothing else either
            yield package + entry.name.removesuffix(".py"), _content(entry.path)


def _content(path: str) -> bytes:
    """Return the bytes of a file, without an object for it."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return b"".join(iter(lambda: os.read(descriptor, _AT_ONCE), b""))
    finally:
        os.close(descriptor)


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
    from pathlib import Path

    if chosen := os.environ.get("GRURT_CACHE_DIR"):
        return [Path(chosen)]
    return [Path(__file__).parent / "__pycache__", *_user_cache_directory()]


def _user_cache_directory() -> Iterator[Path]:
    """Yield it, if there is one. What is no absolute path is ignored, as the specification of XDG directories says."""
    from pathlib import Path

    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    chosen = Path(os.environ.get(variable, ""))
    if chosen.is_absolute():
        yield chosen / "grurt"
    elif (home := _home()) is not None:
        below = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
        yield home / below / "grurt"


def _home() -> Path | None:
    """Return the user's home, if it is a folder that is there."""
    from pathlib import Path

    if os.environ.get("HOME") == "":  # Python would take the root for it
        return None
    with suppress(RuntimeError, OSError):  # there is none, or one where this user may not look
        home = Path.home()
        if home.is_absolute() and home.is_dir():
            return home
    return None


def directory_to_write() -> Path | None:
    """Return the first of the cache directories in which something can be kept; None if there is none."""
    return next((directory for directory in cache_directories() if _can_be_written(directory)), None)


def is_safe(directory: Path) -> bool:
    """Return whether something may be written in a cache directory, which is made where it is missing."""
    try:
        _make_directory(directory)
    except OSError:
        return False
    return True


def read_entry(path: Path) -> bytes | None:
    """Return the payload of an entry; None if there is none, it is not trusted, or a single bit of it is wrong."""
    try:
        content = read_trusted_file(path)
    except UntrustedError as error:
        say_passed_by(error)
        return None
    except OSError:
        return None
    payload = content[_DIGEST_SIZE:]
    return payload if content[:_DIGEST_SIZE] == _digest(path.name, payload) else None


def write_entry(path: Path, payload: bytes) -> bool:
    """Write an entry so that no process ever sees half of it; return False if it cannot be written.

    It is not written either where others may write: nobody would read it there.
    """
    from grurt.atomic import write_atomically

    return _is_written(
        path.parent, lambda: write_atomically(path, _digest(path.name, payload) + payload, mode=FILE_MODE)
    )


def _can_be_written(directory: Path) -> bool:
    # Only a file shows what a file system allows.
    from tempfile import TemporaryFile  # here, as all that a start does without

    return _is_written(directory, lambda: TemporaryFile(dir=directory).close())


def _is_written(directory: Path, write: Callable[[], None]) -> bool:
    """Make a cache directory where it is missing, and write there; return whether that could be done."""
    try:
        _make_directory(directory)
        write()
    except UntrustedError as error:
        say_passed_by(error)
        return False
    except OSError:
        return False
    return True


def _make_directory(directory: Path) -> None:
    """Make a cache directory, and those above it, where they are missing; raise UntrustedError if others may write.

    The user's own is private. Any other may serve every user of a machine, as that of an image does.
    """
    mode = 0o700 if directory in _user_cache_directory() else 0o755
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    there = missing[-1].parent if missing else directory
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    expect_trusted(there)
    for place in reversed(missing):
        place.mkdir(mode, exist_ok=True)
    expect_trusted(directory)


def _digest(name: str, payload: bytes) -> bytes:
    """Return the digest of an entry: under another's name, it is another's."""
    return blake2b(name.encode() + b"\0" + payload, digest_size=_DIGEST_SIZE).digest()
