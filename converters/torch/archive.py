"""Checkpoints in the zip format, which ``torch.save`` writes since torch 1.6.

::

    <root>/data.pkl       the object, with persistent ids in place of storages
    <root>/data/<key>     the bytes of each storage
    <root>/byteorder      "little" or "big"; absent in older files, which are little-endian
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from grurt.errors import ConversionError

from .pickles import read_pickle
from .tensors import ALLOWED, TensorReader, storage_reference

MAX_INFLATED = 64 << 20
"""Bytes that compressed entries of one archive may unpack to; torch compresses no weights."""

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


def read_checkpoint(archive: Archive) -> tuple[object, TensorReader]:
    """Return the pickled object, with references in place of tensors, and the reader that resolves them."""
    pickled = min((name for name in archive.names if f"/{name}".endswith("/data.pkl")), key=len)
    root = pickled.removesuffix("data.pkl")
    big = f"{root}byteorder" in archive.names and archive.read(f"{root}byteorder").strip() == b"big"
    checkpoint, _ = read_pickle(archive.read(pickled), ALLOWED, storage_reference)
    return checkpoint, TensorReader(lambda key: archive.read(f"{root}data/{key}"), archive.size, ">" if big else "<")
