"""Arrays that never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from grurt.array_types import Array


def frozen(array: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """Return a read-only, contiguous array: a copy, unless the memory is of bytes, which nobody can change."""
    if isinstance(array, np.ndarray) and _is_immutable(array) and (dtype is None or array.dtype == dtype):
        return array
    copy = np.array(array, dtype=dtype, order="C")
    copy.flags.writeable = False
    return copy


def _is_immutable(array: Array) -> bool:
    if type(array) is not np.ndarray or not (array.flags.c_contiguous and array.flags.aligned):
        return False
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, bytes)
