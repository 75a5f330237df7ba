"""Inputs as they come, on the shortest way to what the kernels take.

What kernels do not take as it is (see `grurt.kernels.conversion`) are arrays of other dtypes, NumPy's own integers, and
memory that is no array: `bytes`, a `bytearray` or a `memoryview` of bytes that is four times as long as the input holds
float32, little-endian; any other `memoryview`, and an `array.array`, numbers of the format that it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from grurt.errors import InputShapeError
from grurt.kernels.sizes import F32_BYTES

if TYPE_CHECKING:
    from grurt.array_types import Array, Floats

Shape: TypeAlias = "tuple[int, ...] | None"

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_IN_BYTES = np.dtype("<f4")
_IN_RANGE = "efbhilqBHILQ?"
"""Of dtypes, in any byte order, whose numbers are all within float32's range."""
_NO_ARRAY = (ValueError, TypeError, BufferError, NotImplementedError)
"""What NumPy raises for a buffer that is released, empty, of another length, or of a format that it does not know."""
_from_buffer, _as_array = np.frombuffer, np.asarray


def plain(x: Any, shape: Shape) -> Any:
    """Return an input that the kernels did not take as what they take; None where that takes longer.

    Arrays and buffers of real numbers become arrays of float32 or float64 in the byte order of the CPU, and NumPy's
    integers those of Python. Of anything else, `features` and `tokens` say what is wrong with it, if anything is.

    Parameters
    ----------
    x
        Anything.
    shape
        Of an array of bytes, in which one size may be -1; None leaves it flat.
    """
    return (_WAYS.get(type(x)) or _of_another)(x, shape)


def floats_in_bytes(where: str, x: Any, lead: tuple[int | str, ...], frame: tuple[int, ...]) -> Floats | None:
    """Return the float32 that bytes hold, ``(*lead, *frame)``; None of what is not bytes, or bytes that are uint8.

    At most one size of ``lead`` is a name, which stands for any. Raises InputShapeError for `bytes` of another length.
    """
    length = _count_bytes(x)
    if length is None:
        return None
    shape = tuple(-1 if isinstance(size, str) else size for size in (*lead, *frame))
    unit = F32_BYTES * math.prod(size for size in shape if size >= 0)
    if length == unit or (-1 in shape and unit and length % unit == 0):
        return (_from_buffer(x, _IN_BYTES) if length else np.zeros(0, np.float32)).reshape(shape)
    if type(x) is bytes:
        times = "a multiple of " if -1 in shape else ""
        raise InputShapeError(f"{where}: expected {times}{unit} bytes, which are float32, got {length}")
    return None


def _count_bytes(x: object) -> int | None:
    """Return how many bytes lie one after the other; None of what is not bytes."""
    if type(x) is bytes or type(x) is bytearray:
        return len(x)
    try:
        return x.nbytes if type(x) is memoryview and _is_of_bytes(x) and x.c_contiguous else None
    except ValueError:  # it is released
        return None


def _is_of_bytes(view: memoryview) -> bool:
    return view.format == "B" and view.ndim == 1


def _of_array(x: Array, _: Shape) -> Array | None:
    dtype = x.dtype
    if dtype is _FLOAT32 or dtype is _FLOAT64:
        return x
    if dtype.char in _IN_RANGE:
        return x.astype(_FLOAT32, "C")
    if dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused where infinities are
        return x.astype(_FLOAT32, "C")


def _of_bytes(x: Any, shape: Shape) -> Array | None:
    try:
        floats = _from_buffer(x, _IN_BYTES)
        return floats if shape is None else floats.reshape(shape)
    except _NO_ARRAY:
        return None


def _of_view(x: memoryview, shape: Shape) -> Array | None:
    try:
        if _is_of_bytes(x):
            return _of_bytes(x, shape)
    except ValueError:  # it is released
        return None
    return _of_buffer(x, shape)


def _of_buffer(x: Any, shape: Shape) -> Array | None:
    try:
        array = _as_array(x)
    except _NO_ARRAY:
        return None
    return _of_array(array, shape)


def _of_another(x: object, shape: Shape) -> Any:
    kind = type(x)
    if issubclass(kind, np.integer):
        return int(x)  # type: ignore[call-overload]
    if kind.__name__ == "array" and kind.__module__ == "array":  # who has one has imported it
        _WAYS[kind] = _of_buffer
        return _of_buffer(x, shape)
    return None


_WAYS: dict[type, Callable[[Any, Shape], Any]] = {
    np.ndarray: _of_array,
    memoryview: _of_view,
    bytes: _of_bytes,
    bytearray: _of_bytes,
}
