"""Zip archives of strangers: checkpoints of PyTorch, programs, Keras models, NumPy's arrays."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from grurt.errors import ConversionError

MAX_INFLATED = 64 << 20
"""Bytes that compressed entries of one archive may unpack to; frameworks compress no weights."""

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

    Uncompressed entries add up to at most the file's size, compressed ones to ``max_inflated``; each is read once.
    """

    def __init__(self, file: Path | BinaryIO, max_inflated: int = MAX_INFLATED) -> None:
        self.size = file.stat().st_size if isinstance(file, Path) else file.seek(0, 2)
        self._stored_budget = self.size
        self._inflated_budget = max_inflated
        self._zip = zipfile.ZipFile(file)
        self.names = frozenset(self._zip.namelist())

    def read(self, name: str) -> bytes:
        """Return the entry's bytes; ConversionError if there is none, or more than the archive can hold."""
        if name not in self.names:
            raise ConversionError(f"checkpoint: expected an entry {name!r}, got none; the file is incomplete")
        entry = self._zip.getinfo(name)
        stored = entry.compress_type == zipfile.ZIP_STORED
        self._stored_budget -= max(entry.file_size, entry.compress_size) if stored else entry.compress_size
        self._inflated_budget -= 0 if stored else entry.file_size
        if min(self._stored_budget, self._inflated_budget) < 0:
            raise ConversionError(
                f"checkpoint: expected entries within the file's size, got {name!r} with {entry.file_size} bytes; "
                "the file is damaged or hostile"
            )
        return self._zip.read(entry)

    def entry_size(self, name: str) -> int:
        """Return how many bytes the entry says that it holds; zero if there is none."""
        return self._zip.getinfo(name).file_size if name in self.names else 0

    def close(self) -> None:
        self._zip.close()


@contextmanager
def open_archive(file: Path | BinaryIO, max_inflated: int = MAX_INFLATED) -> Iterator[Archive]:
    """Open a zip file; whatever turns out wrong with it while it is open becomes a ConversionError."""
    try:
        archive = Archive(file, max_inflated)
        try:
            yield archive
        finally:
            archive.close()
    except ConversionError:
        raise
    except (*_ZIP_ERRORS, OSError) as error:
        raise ConversionError(f"checkpoint: expected a sound zip archive, got damage: {error}") from error
