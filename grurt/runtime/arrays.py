"""Takes, checks and converts the arrays that users hand in, with messages of one form."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.kernels.sizes import F32_BYTES
from grurt.runtime.foreign import was_raised_below

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats


Held: TypeAlias = "list[object]"
"""Keeps the memory of arrays where it is, for as long as it lives: see `hold`."""

_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)
_LARGEST = np.iinfo(np.int64).max
_MAX_BYTES = np.iinfo(np.intp).max
MAX_TIMESTEPS = 1 << 40
_MAX_AXES = 64
"""As deep as NumPy looks into lists of lists."""
_LISTS = {list, tuple}
_NUMBERS = {float, int, bool}
_base_of = np.ndarray.base.__get__


def features(where: str, x: ArrayLike, held: Held | None = None) -> Floats:
    """Return an array of numbers as contiguous, aligned float32.

    Real numbers are rounded to float32. Raises InputTypeError for anything else, such as complex numbers and objects.

    Parameters
    ----------
    where
        What messages begin with.
    x
        Read once: the result is an array of its own, so that nobody else can change its shape, its strides or its
        dtype.
    held
        Where x has the right layout, the result shares its memory, and the hold on that is put here. Without it, the
        result is a copy.
    """
    array, hold_on_it = _taken(where, x)
    if array.dtype is _FLOAT32 and array.flags.c_contiguous and array.flags.aligned:
        return _shared(array, hold_on_it, held)
    if not np.can_cast(array.dtype, np.float32, "same_kind"):
        raise InputTypeError(f"{where}: expected real numbers, convertible to float32, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused where infinities are
        return _converted(where, array, _FLOAT32, hold_on_it, held)


def float32_copy(x: object) -> Floats | None:
    """Return a copy of a float32 array as the kernels read it: None of anything else, which `features` takes."""
    if type(x) is not np.ndarray or x.dtype is not _FLOAT32:
        return None
    held = hold(x)
    copy = x.copy()
    del held
    return copy if copy.dtype is _FLOAT32 else None  # another thread may have changed it


def are_finite(array: Floats) -> bool:
    """Return whether no number is NaN or infinite: ``np.isfinite(array).all()`` of a few in a quarter of its time."""
    if not array.size:
        return True
    # The first NaN, where there is one, counts as both.
    return math.isfinite(array.item(array.argmax())) and math.isfinite(array.item(array.argmin()))


def tokens(where: str, x: ArrayLike, held: Held | None = None) -> NDArray[np.int64]:
    """Return an array of token ids as contiguous, aligned int64; shared or copied as by `features`.

    Raises InputTypeError if they are no integers.
    """
    return _integers(where, x, "token ids of an integer dtype", held)


def integers(where: str, x: ArrayLike, expected: str) -> NDArray[np.int64]:
    """Return a contiguous, aligned int64 copy; raise InputTypeError with what was ``expected`` if there is none."""
    return _integers(where, x, expected, None)


def _integers(where: str, x: ArrayLike, expected: str, held: Held | None) -> NDArray[np.int64]:
    array, hold_on_it = _taken(where, x)
    if array.dtype.kind not in "iu":
        raise InputTypeError(f"{where}: expected {expected}, got dtype {array.dtype}")
    if array.dtype.kind == "u" and (beyond := array > _LARGEST).any():
        raise InputValueError(f"{where}: expected {expected}, below 2**63, got {array[beyond][0]}")
    return _converted(where, array, _INT64, hold_on_it, held)


def _converted(where: str, array: Array, dtype: np.dtype[Any], hold_on_it: object, held: Held | None) -> Array:
    """Return an array of a dtype, contiguous and aligned: a copy, or one that may share the memory, which is held.

    NumPy takes dtypes for equal that are not the same object, and copies nothing for them: whether it has is not asked.
    """
    expect_possible(where, array.shape, dtype.itemsize)
    if held is None:
        return np.array(array, dtype, order="C")
    held.append(hold_on_it)
    return np.require(array, dtype, ("C", "A"))


def expect_possible(where: str, shape: tuple[int, ...], itemsize: int = F32_BYTES) -> None:
    """Raise InputShapeError if no memory can have an array of a shape: NumPy makes none, also where a size is zero."""
    if math.prod(max(1, size) for size in shape) > _MAX_BYTES // itemsize:
        raise InputShapeError(f"{where}: expected an array that memory can hold, got the shape {shape}")


def _taken(where: str, x: ArrayLike) -> tuple[Array, object]:
    """Return an array that nobody else has, of x as it is now, and the hold on its memory, which is older."""
    if type(x) is not np.ndarray and is_masked(x):
        raise InputValueError(f"{where}: expected a number everywhere, got masked elements; fill them first")
    if issubclass(type(x), np.ndarray):
        held = hold(x)  # type: ignore[arg-type]
        return np.asarray(x).view(), held
    try:
        array = np.asarray(x)
    except (ValueError, TypeError, OverflowError, AttributeError, BufferError) as error:
        if was_raised_below(error):
            raise
        kind = InputShapeError if isinstance(error, ValueError) else InputTypeError
        raise kind(f"{where}: expected a rectangular array of numbers: {error}") from None
    held = hold(array)
    return array.view(), held


def _shared(array: Array, hold_on_it: object, held: Held | None) -> Array:
    if held is None:
        return array.copy()
    held.append(hold_on_it)
    return array


def is_masked(x: object) -> bool:
    """Return whether an array has masked elements, or one in a list of lists has: NumPy takes what is behind masks."""
    if "numpy.ma" not in sys.modules:  # who has a masked array has imported it; a step does not wait for that
        return False
    if type(x) in _LISTS and _are_numbers(x):
        return False
    level = [x]
    for _ in range(_MAX_AXES):
        kinds = set(map(type, level))
        if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds) and any(
            issubclass(type(item), np.ma.MaskedArray) and np.ma.is_masked(item) for item in level
        ):
            return True
        if not any(issubclass(kind, list | tuple) for kind in kinds):
            return False
        lists = {id(item): item for item in level if issubclass(type(item), list | tuple)}
        level = list(chain.from_iterable(map(_items, lists.values())))
    return False


def _are_numbers(items: Any) -> bool:
    """Return whether a list, or a list of lists, is seen at once to have nothing but numbers of Python's own."""
    items = [*items]  # as it is now: another thread may change it
    kinds = set(map(type, items))
    if kinds <= _LISTS:
        kinds = set(map(type, chain.from_iterable(items)))
    return kinds <= _NUMBERS


def _items(items: Any) -> Iterator[object]:
    """Return what NumPy takes for the items of a list or tuple, whatever its class says."""
    return list.__iter__(items) if issubclass(type(items), list) else tuple.__iter__(items)


def hold(array: Array) -> object:
    """Keep the memory of an array where it is, for as long as what is returned lives.

    NumPy resizes no array that there is a weak reference to, not even with ``refcheck=False``; of a view, that is the
    array at its end. Other memory than an array's own is held by the buffer protocol.
    """
    owner, base = array, _base_of(array)
    while base is not None and issubclass(type(base), np.ndarray):
        owner, base = base, _base_of(base)
    return weakref.ref(owner)


def own_copy(array: Array) -> Array:
    """Return a copy of an array as it is now, of no subclass."""
    held = hold(array)
    copy = np.asarray(array).view().copy()
    del held
    return copy


def expect_timesteps(where: str, lead: tuple[int, ...]) -> None:
    """Raise InputShapeError for more timesteps, of all sequences, than memory has places, also of no sequence at all.

    NumPy makes no array of so many, even where it would hold nothing.
    """
    total = 1
    for size in lead:
        total *= size or 1
    if total > MAX_TIMESTEPS:
        raise InputShapeError(f"{where}: expected at most 2**40 timesteps in all, got the axes {lead}")


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


def expect_output(where: str, out: Any, shape: tuple[int, ...], held: Held) -> Floats:
    """Return an array of its own in the memory of ``out``, which is held, if a kernel can write there; else raise."""
    if not issubclass(type(out), np.ndarray):
        raise InputTypeError(f"{where}: expected out to be a float32 array, got {type(out).__name__}")
    hold_on_it = hold(out)
    array = np.asarray(out).view()
    if array.dtype != np.float32:
        raise InputTypeError(f"{where}: expected out to be a float32 array, got dtype {array.dtype}")
    expect_shape(f"{where}: out", array, shape)
    if not array.flags.carray:
        raise InputValueError(f"{where}: expected out to be a writeable, aligned, C-contiguous array")
    held.append(hold_on_it)
    return array
