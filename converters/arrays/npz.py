"""Reads NumPy's archives, and takes arrays in memory, as tensors by name."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike

from grurt.array_types import Array
from grurt.converters.archive import open_archive
from grurt.errors import ConversionError, DesignReason, UnsupportedError

_MAX_HEADER = 1000
_MAX_AXES = 16
_MAX_ARRAYS = 1 << 16

_DAMAGED = (
    ValueError,
    TypeError,
    SyntaxError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
)
"""What Python's parser and NumPy raise for a header that is none, beside MemoryError and warnings."""


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an archive of ``numpy.savez``: floating point as float32, integers as they are.

    Nothing is unpickled, and every size is checked before memory is taken.

    Raises
    ------
    ConversionError
        If the archive is damaged.
    UnsupportedError
        If an array holds no numbers.
    """
    with open_archive(path) as archive:
        names = sorted(archive.names)
        if len(names) > _MAX_ARRAYS:
            raise ConversionError(f"arrays: expected at most {_MAX_ARRAYS} of them, got {len(names)}")
        return {name.removesuffix(".npy"): _array(name.removesuffix(".npy"), archive.read(name)) for name in names}


def read_arrays(arrays: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return arrays in memory as `read_npz` returns those of a file."""
    found = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise ConversionError(f"arrays: expected names that are strings, got {name!r}")
        try:
            array = np.array(value)  # a copy, which nobody else can change
        except ValueError as error:
            raise ConversionError(f"array {name!r}: expected an array, got {type(value).__name__}: {error}") from error
        found[name] = _numbers(name, array)
    return found


def _array(name: str, data: bytes) -> Array:
    try:
        shape, fortran_order, dtype, begin = _header(data)
    except (*_DAMAGED, MemoryError, Warning) as error:
        raise ConversionError(f"array {name[:200]!r}: expected a sound .npy entry, got damage: {error}") from error
    if dtype.hasobject:
        raise UnsupportedError(
            f"array {name[:200]!r}: expected numbers, got Python objects, which are pickled; unpickling runs code, so "
            "grurt does not: save plain arrays, one under each name",
            reason=DesignReason.OWN_CODE,
        )
    size, left = math.prod(shape) * dtype.itemsize, len(data) - begin
    if len(shape) > _MAX_AXES or size != left:
        raise ConversionError(
            f"array {name[:200]!r}: expected {size} bytes for its shape {str(shape)[:200]}, got {left}; the file is "
            "damaged"
        )
    try:
        flat = np.frombuffer(data, dtype, offset=begin) if size else np.zeros(0, dtype)
        array = flat.reshape(shape, order="F" if fortran_order else "C")
    except ValueError as error:  # an empty array whose other sizes are too large together
        raise ConversionError(f"array {name[:200]!r}: expected a shape that fits, got {shape}") from error
    return _numbers(name, array)


def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order, dtype and where the numbers begin.

    Source: ``numpy.lib.format``. Its own reader mends the headers of Python 2, with a tokenizer that fails in ways of
    its own on damaged ones.
    """
    if data[:6] != npy.MAGIC_PREFIX or data[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError("no magic string, or an unknown version")
    begin = 10 if data[6] == 1 else 12
    length = int.from_bytes(data[8:begin], "little")
    if length > _MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the parser warns of strange texts; no header that NumPy wrote is one
        fields = ast.literal_eval(data[begin : begin + length].decode("latin1").strip())
    shape, dtype = fields["shape"], npy.descr_to_dtype(fields["descr"])
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"the shape {shape}")
    return shape, bool(fields["fortran_order"]), dtype, begin + length


def _numbers(name: str, array: Array) -> Array:
    if array.dtype.kind not in "fiub":
        raise UnsupportedError(
            f"array {name[:200]!r}: expected real numbers, got the dtype {str(array.dtype)[:200]}; save it as float32",
            reason=DesignReason.ELEMENT_TYPE,
        )
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):  # what is no float32 becomes infinite or NaN; the model refuses it by name
        return array.astype(np.float32, copy=False)
