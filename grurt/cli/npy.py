"""Reads .npy arrays of strangers: sizes are checked before memory is taken, and rows can be read as they arrive.

Source: ``numpy.lib.format``, whose own reader takes the memory that a header asks for.
"""

from __future__ import annotations

import ast
import contextlib
import math
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from grurt.array_types import Array

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
"""Bytes; NumPy's own limit."""

_ERRORS = (ValueError, TypeError, LookupError, SyntaxError, ArithmeticError, MemoryError, RecursionError, Warning)

_BLOCK = 1 << 20
"""Bytes of the columns that are read at once, where an array lies column by column."""


@dataclass(frozen=True)
class Header:
    """What stands before the numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    """Whether the numbers lie column by column, which NumPy calls Fortran's order."""

    @property
    def size(self) -> int:
        """The bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: BinaryIO) -> Header | None:
    """Read the header; None if the file does not begin as an array does.

    Raises
    ------
    ValueError
        If it is damaged, or larger than NumPy writes any.
    """
    magic = file.read(8)
    if not magic.startswith(MAGIC):
        return None
    if magic[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError("an unknown version of the format")
    count = 2 if magic[6] == 1 else 4
    length = int.from_bytes(file.read(count), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    header = _described(file.read(length).decode("latin1"))
    if any(type(size) is not int or size < 0 for size in header.shape):
        raise ValueError("a shape that is none")
    if header.dtype.hasobject:
        raise ValueError("pickled objects of Python, which grurt does not unpickle")
    return header


def _described(text: str) -> Header:
    """Return what the text of a header says. NumPy's parser of dtypes raises whatever Python's parser does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the parsers warn of strange texts; no header that NumPy wrote is one
            fields = ast.literal_eval(text.strip())
            shape, dtype = tuple(fields["shape"]), np.lib.format.descr_to_dtype(fields["descr"])
            return Header(shape, dtype, by_columns=bool(fields["fortran_order"]) and len(shape) > 1)
    except _ERRORS as error:
        raise ValueError("a header without shape, order and dtype") from error


def read_array(file: BinaryIO) -> Array:
    """Return the array that a file holds, which can be read in any order.

    Raises
    ------
    ValueError
        If it holds none, or a damaged one.
    """
    header = read_header(file)
    if header is None:
        raise ValueError("no magic string")
    _expect(header.size, _left(file))
    flat = np.frombuffer(file.read(header.size), header.dtype) if header.size else np.zeros(0, header.dtype)
    return flat.reshape(header.shape, order="F" if header.by_columns else "C")


def read_rows(file: BinaryIO, header: Header) -> Iterator[Array]:
    """Yield the rows ``(width,)`` of an array ``(n, width)`` from a file that stands behind its header.

    Raises
    ------
    ValueError
        If the file ends before the array does; before the first row, where its size is known.
    """
    if _is_regular(file):
        _expect(header.size, _left(file))
    return _by_columns(file, header) if header.by_columns else _by_rows(file, header)


def _by_rows(file: BinaryIO, header: Header) -> Iterator[Array]:
    count, width = header.shape
    size = width * header.dtype.itemsize
    for index in range(count):
        row = file.read(size)
        if len(row) != size:
            _expect(header.size, index * size + len(row))
        yield np.frombuffer(row, header.dtype)


def _by_columns(file: BinaryIO, header: Header) -> Iterator[Array]:
    """Read a block of each column at a time; what cannot be read in any order is copied to the disk before."""
    count, width = header.shape
    size = header.dtype.itemsize
    with contextlib.ExitStack() as stack:
        if not _is_regular(file):
            copy = stack.enter_context(tempfile.TemporaryFile())
            _expect(header.size, _copy(file, copy, header.size))
            copy.seek(0)
            file = copy
        begin = file.tell()
        block = max(1, _BLOCK // (width * size))
        for first in range(0, count, block):
            rows = min(block, count - first)
            columns = []
            for column in range(width):
                file.seek(begin + (column * count + first) * size)
                columns.append(file.read(rows * size))
            content = b"".join(columns)
            _expect(rows * width * size, len(content))
            yield from np.frombuffer(content, header.dtype).reshape(width, rows).T


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> int:
    """Copy so many bytes, and return how many there were."""
    left = size
    while left and (content := source.read(min(left, _BLOCK))):
        target.write(content)
        left -= len(content)
    return size - left


def _expect(size: int, found: int) -> None:
    if found < size:
        raise ValueError(f"expected {size:,} bytes for its shape, got {found:,}")


def _left(file: BinaryIO) -> int:
    """Return how many bytes there are behind the position of a file."""
    begin = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(begin)
    return end - begin


def _is_regular(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # not a file of the operating system at all, but of memory
        return file.seekable()
