"""Arrays that never change: their memory is of bytes, which nobody can change, and no array object is given out twice.

NumPy lets who has an array change its shape, its strides and its dtype in place, though not its numbers, and make it
writeable where an array underneath is. So what is kept is seen by nobody, and who asks gets a new array each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from grurt.array_types import Array

Place: TypeAlias = tuple[int, int, int, np.dtype[Any]]


class FrozenArrays(Mapping[str, "Array"]):
    """Read-only arrays by name, each access to one a new array object over the same bytes.

    Parameters
    ----------
    arrays
        What `frozen` has returned, and nobody else has.
    """

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> Array:
        return _same(self._arrays[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arrays!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return all_frozen, (dict(self),)


def all_frozen(arrays: Mapping[str, ArrayLike]) -> FrozenArrays:
    """Return arrays as `frozen` does, all of them."""
    return FrozenArrays({name: frozen(array) for name, array in arrays.items()})


def frozen(array: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """Return a read-only, contiguous array that nobody else has: a copy, unless the memory is of bytes already.

    Arrays of objects are returned as they are: no network takes them.
    """
    if type(array) is np.ndarray:
        array = array.view()  # whose form nobody else can change from here on
        if (owner := _owner(array)) and (dtype is None or array.dtype == dtype):
            return _over(owner, array, dtype)
    taken = np.asarray(array, dtype).view()
    if taken.dtype.hasobject:
        return taken
    return np.ndarray(taken.shape, taken.dtype, taken.tobytes())


def place(array: Array) -> Place | None:
    """Return what two arrays have in common that are the same numbers in the same bytes; None without such bytes."""
    owner = _owner(array)
    return (id(owner), _offset(owner, array), array.nbytes, array.dtype) if owner else None


def _same(array: Array) -> Array:
    owner = array.base  # of what `frozen` has returned, the bytes themselves
    return _over(owner, array, None) if isinstance(owner, bytes) else array.view()


def _over(owner: bytes, array: Array, dtype: DTypeLike | None) -> Array:
    """Return a new array of the same numbers directly over the bytes."""
    return np.ndarray(array.shape, array.dtype if dtype is None else dtype, owner, _offset(owner, array))


def _offset(owner: bytes, array: Array) -> int:
    """Return where in the bytes a contiguous array begins."""
    if array.nbytes == len(owner):
        return 0
    return array.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data


def _owner(array: Array) -> bytes | None:
    """Return the bytes whose memory an array has, contiguous and aligned; None for other memory, and other layouts."""
    if type(array) is not np.ndarray or not (array.flags.c_contiguous and array.flags.aligned):
        return None
    base: object = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, bytes) and type(base) is bytes and base else None
