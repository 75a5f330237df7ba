"""Zip archives of strangers: checkpoints of PyTorch, programs, Keras models, NumPy's arrays."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from grurt.errors import ConversionError
from grurt.regular_files import open_regular_file

COMPRESSION = 16
"""How many times the archive's size its compressed entries may unpack to; weights hardly shrink at all."""

INFLATED_FLOOR = 8 << 20
"""What they may unpack to in any case: texts of frameworks shrink to a thirtieth."""

_LARGEST = 1 << 28
"""What counts of an archive's size for that: a file may be said to be any size, and take no room on the disk."""

MAX_DIRECTORY = 8 << 20
"""Bytes of the list of entries, of which each takes sixteen times as much memory."""

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_SIGNATURE, _END_64_SIGNATURE = b"PK\x05\x06", b"PK\x06\x06"
_LOCATOR_BYTES = 20
_MAX_COMMENT = 1 << 16

_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The ways in which frameworks write entries: Python bounds what these two unpack to while it unpacks."""

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Archive:
    """A zip file whose sizes are checked before anything is read.

    Uncompressed entries that are read add up to at most the file's size, compressed ones to ``inflated``.

    Parameters
    ----------
    file
        The file, open for reading.
    inflated
        Bytes that compressed entries may unpack to; by default in proportion to the file's size.
    """

    def __init__(self, file: BinaryIO, inflated: int | None = None) -> None:
        self.size = file.seek(0, os.SEEK_END)
        self.inflated = _inflated(self.size) if inflated is None else inflated
        """Bytes that compressed entries may still unpack to."""
        self._stored = self.size
        _check_directory(file, self.size)
        self._zip = zipfile.ZipFile(file)
        names = self._zip.namelist()
        self.names = frozenset(names)
        if len(names) != len(self.names):
            raise ConversionError(
                f"checkpoint: expected entries with a name each, got {len(names)} with {len(self.names)} names; the "
                "file is damaged or hostile"
            )

    def read(self, name: str) -> bytes:
        """Return the entry's bytes; ConversionError if there is none, or more than the archive can hold."""
        if name not in self.names:
            raise ConversionError(f"checkpoint: expected an entry {name[:200]!r}, got none; the file is incomplete")
        entry = self._zip.getinfo(name)
        if entry.compress_type not in _READ:
            raise ConversionError(
                f"checkpoint: expected entries that are stored or deflated, got {name[:200]!r}, compressed in another "
                "way; save the file with its own framework"
            )
        stored = entry.compress_type == zipfile.ZIP_STORED
        self._stored -= max(entry.file_size, entry.compress_size) if stored else entry.compress_size
        self.inflated -= 0 if stored else entry.file_size
        if min(self._stored, self.inflated) < 0:
            raise ConversionError(
                f"checkpoint: expected entries within the file's size, got {name[:200]!r} with {entry.file_size} "
                "bytes; the file is damaged or hostile"
            )
        return self._zip.read(entry)

    def entry_size(self, name: str) -> int:
        """Return how many bytes the entry says that it holds; zero if there is none."""
        return self._zip.getinfo(name).file_size if name in self.names else 0

    def close(self) -> None:
        self._zip.close()


@contextmanager
def open_archive(file: Path | BinaryIO, inflated: int | None = None) -> Iterator[Archive]:
    """Open a zip file; whatever turns out wrong with it while it is open becomes a ConversionError."""
    try:
        opened = open_regular_file(file) if isinstance(file, Path) else file
        try:
            archive = Archive(opened, inflated)
            try:
                yield archive
            finally:
                archive.close()
        finally:
            opened.close()
    except ConversionError:
        raise
    except (*_ZIP_ERRORS, OSError) as error:
        raise ConversionError(f"checkpoint: expected a sound zip archive, got damage: {error}") from error


def _inflated(size: int) -> int:
    """Return what the compressed entries of an archive of this size may unpack to."""
    return INFLATED_FLOOR + COMPRESSION * min(size, _LARGEST)


def _check_directory(file: BinaryIO, size: int) -> None:
    """Raise ConversionError if the list of entries is too long; where there is none, zipfile says so.

    The record at the end of the file says how long it is. Where a comment looks like that record, any of them counts.
    """
    start = max(0, size - _END.size - _MAX_COMMENT - _LOCATOR_BYTES - _END_64.size)
    file.seek(start)
    tail = file.read(size - start)
    sizes = [
        *(_END.unpack_from(tail, at)[5] for at in _found(tail, _END_SIGNATURE, _END.size)),
        *(_END_64.unpack_from(tail, at)[8] for at in _found(tail, _END_64_SIGNATURE, _END_64.size)),
    ]
    sizes = [found for found in sizes if found <= size]  # others say that a longer record holds it, or are damaged
    if max(sizes, default=0) > MAX_DIRECTORY:
        raise ConversionError(
            f"checkpoint: expected a zip archive with a list of at most {MAX_DIRECTORY} bytes, got {max(sizes)}; "
            "save fewer tensors, or longer ones"
        )


def _found(tail: bytes, signature: bytes, size: int) -> Iterator[int]:
    """Yield where a record of so many bytes begins."""
    at = tail.find(signature)
    while 0 <= at <= len(tail) - size:
        yield at
        at = tail.find(signature, at + 1)
