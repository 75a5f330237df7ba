"""Inputs as they come, on the shortest way to what the kernels take.

What kernels do not take as it is (see `grurt.kernels.conversion`) are arrays of other dtypes, NumPy's own integers, and
memory that is no array: `bytes`, a `bytearray` or a `memoryview` of bytes that is four times as long as the input holds
float32, little-endian; any other `memoryview`, and an `array.array`, numbers of the format that it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError
from grurt.kernels.sizes import F32_BYTES

if TYPE_CHECKING:
    from grurt.array_types import Array, Floats
    from grurt.network.frames import Form

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_IN_BYTES = np.dtype("<f4")
_IN_RANGE = "efbhilqBHILQ?"
"""Of dtypes, in any byte order, whose numbers are all within float32's range."""
_NO_ARRAY = (ValueError, TypeError, BufferError, NotImplementedError)
"""What NumPy raises for a buffer that is released, empty, of another length, or of a format that it does not know."""
_from_buffer, _as_array = np.frombuffer, np.asarray


def plain(x: Any, form: Form) -> Any:
    """Return an input that the kernels did not take as what they take; None where that takes longer.

    Arrays and buffers of real numbers become arrays of float32 or float64 in the byte order of the CPU, and NumPy's
    integers those of Python. Of anything else, `features` and `tokens` say what is wrong with it, if anything is.

    Parameters
    ----------
    x
        Anything.
    form
        What bytes become, and arrays of its other shapes.
    """
    return (_WAYS.get(type(x)) or _of_another)(x, form)


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


def _of_array(x: Array, form: Form) -> Array | None:
    dtype = x.dtype
    if dtype is not _FLOAT32 and dtype is not _FLOAT64:
        if dtype.char in _IN_RANGE:
            x = x.astype(_FLOAT32, "C")
        elif dtype.kind != "f":
            return None
        else:
            with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused where infinities are
                x = x.astype(_FLOAT32, "C")
    return _in_form(x, form) if form.others else x


def _in_form(x: Array, form: Form) -> Array | None:
    """Return an array in the form's own shape, if it is of one of the others."""
    own = form.shape or ()
    if x.shape[1 if own[0] == -1 else 0 :] not in form.others:
        return x
    try:
        return x.reshape(own)
    except ValueError:  # another thread has given it another size
        return None


def _of_bytes(x: Any, form: Form) -> Array | None:
    try:
        floats = _from_buffer(x, _IN_BYTES)
        return floats if form.shape is None else floats.reshape(form.shape)
    except _NO_ARRAY:
        return None


def _of_view(x: memoryview, form: Form) -> Array | None:
    try:
        if _is_of_bytes(x):
            return _of_bytes(x, form)
    except ValueError:  # it is released
        return None
    return _of_buffer(x, form)


def _of_buffer(x: Any, form: Form) -> Array | None:
    try:
        array = _as_array(x)
    except _NO_ARRAY:
        return None
    return _of_array(array, form)


def _of_another(x: object, form: Form) -> Any:
    kind = type(x)
    if issubclass(kind, np.integer):
        return int(x)  # type: ignore[call-overload]
    if kind.__name__ == "array" and kind.__module__ == "array":  # who has one has imported it
        _WAYS[kind] = _of_buffer
        return _of_buffer(x, form)
    return None


_WAYS: dict[type, Callable[[Any, Form], Any]] = {
    np.ndarray: _of_array,
    memoryview: _of_view,
    bytes: _of_bytes,
    bytearray: _of_bytes,
}
