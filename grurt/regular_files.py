"""Opens what should be a regular file, and reads it: nothing that lies in its place can make a caller wait."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

_BUFFERED = 1 << 13
"""Bytes that are read ahead. From Python 3.14 on it would be 128 KiB, which counts beside a small model."""


class NotRegularError(OSError):
    """There is something, but it is no regular file. ``strerror`` is the whole of what was expected and found."""

    found: str
    """What there is, with its article: ``"a folder"``, ``"a pipe"`` ..."""

    def __init__(self, found: str, path: str | os.PathLike[str]) -> None:
        code = errno.EISDIR if found == "a folder" else errno.EINVAL
        super().__init__(code, f"expected a regular file, got {found}", os.fspath(path))
        self.found = found


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise NotRegularError if a path leads to something else than a regular file, and OSError if to nothing."""
    _refuse_others(os.stat(path), path)


def open_regular_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading, if it is a regular one; what is opened is what was looked at.

    It is looked at before it is opened, since opening a device may do something, and again when it is open, since it
    may have been replaced in between. A pipe that nobody writes to does not block either.

    Raises
    ------
    NotRegularError
        If there is something else: a folder, a pipe, a socket, a device.
    OSError
        If there is nothing, or it cannot be opened.
    """
    check_regular(path)
    file = os.fdopen(os.open(path, _FLAGS), "rb", _BUFFERED)
    try:
        _refuse_others(os.fstat(file.fileno()), path)
    except BaseException:
        file.close()
        raise
    return file


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file: as many as it had when it was opened, or less if it has shrunk since.

    Raises
    ------
    OSError
        As `open_regular_file` does, and if it cannot be read, or memory cannot hold it.
    """
    with open_regular_file(path) as file:
        return read_to_size(file, path)


def read_to_size(file: BinaryIO, path: str | os.PathLike[str]) -> bytes:
    """Return what an open file holds between its position and the size that it has now; raise OSError if that fails."""
    size = os.fstat(file.fileno()).st_size - file.tell()
    try:
        return file.read(max(0, size))
    except (MemoryError, OverflowError) as error:
        raise OSError(errno.ENOMEM, f"it has {size:,} bytes, which memory cannot hold", os.fspath(path)) from error
    except OSError as error:  # it names no file
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _refuse_others(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(_KINDS.get(stat.S_IFMT(status.st_mode), "something else"), path)
