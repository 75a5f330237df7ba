"""Checks and converts the arrays that users hand in, with messages of one form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats


def features(where: str, x: ArrayLike) -> Floats:
    """Return an array of numbers as contiguous, aligned float32: itself if it is that, else a copy.

    Real numbers are rounded to float32. Raises InputTypeError for anything else, such as complex numbers and objects.
    """
    array = _array(where, x)
    if not np.can_cast(array.dtype, np.float32, "same_kind"):
        raise InputTypeError(f"{where}: expected real numbers, convertible to float32, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused where infinities are
        return np.require(array, np.float32, ("C", "A"))


def tokens(where: str, x: ArrayLike) -> NDArray[np.int64]:
    """Return an array of token ids as `integers` does."""
    return integers(where, x, "token ids of an integer dtype")


def integers(where: str, x: ArrayLike, expected: str) -> NDArray[np.int64]:
    """Return an array as contiguous, aligned int64; raise InputTypeError with what was ``expected`` if it is not."""
    array = _array(where, x)
    if array.dtype.kind not in "iu":
        raise InputTypeError(f"{where}: expected {expected}, got dtype {array.dtype}")
    return np.require(array, np.int64, ("C", "A"))


def _array(where: str, x: ArrayLike) -> Array:
    if np.ma.is_masked(x):
        raise InputValueError(f"{where}: expected a number everywhere, got masked elements; fill them first")
    try:
        return np.asarray(x)
    except ValueError as error:
        raise InputShapeError(f"{where}: expected a rectangular array of numbers: {error}") from None


def expect_shape(where: str, array: Array, expected: tuple[int | str, ...]) -> None:
    """Raise InputShapeError unless an array has a shape, in which names stand for any size."""
    fits = len(array.shape) == len(expected) and all(
        isinstance(want, str) or want == got for want, got in zip(expected, array.shape, strict=True)
    )
    if not fits:
        raise InputShapeError(f"{where}: expected shape {shape_text(expected)}, got {array.shape}")


def shape_text(shape: tuple[int | str, ...]) -> str:
    """Return a shape as Python writes it, with names where any size is allowed: ``(n_steps, 6)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def expect_output(where: str, out: Any, shape: tuple[int, ...]) -> Floats:
    """Return ``out`` if a kernel can write to it; raise if it is not such an array."""
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        found = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise InputTypeError(f"{where}: expected out to be a float32 array, got {found}")
    expect_shape(f"{where}: out", out, shape)
    if not out.flags.carray:
        raise InputValueError(f"{where}: expected out to be a writeable, aligned, C-contiguous array")
    return out
