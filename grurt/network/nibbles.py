"""Matrices of numbers from -8 to 7, two to a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Bytes


def packed_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the bytes that hold a matrix of this shape."""
    rows, columns = shape
    return rows, (columns + 1) // 2


def pack_nibbles(matrix: NDArray[np.int8]) -> Bytes:
    """Pack ``(rows, columns)``: column 2 i in the lower half of byte i, 2 i + 1 in the upper, in two's complement.

    Where the number of columns is odd, the last upper half is zero.

    Examples
    --------
    >>> import numpy as np
    >>> pack_nibbles(np.int8([[1, -1, 7]]))
    array([[241,   7]], dtype=uint8)
    """
    filled = np.zeros((len(matrix), 2 * packed_shape(matrix.shape)[1]), np.uint8)
    filled[:, : matrix.shape[1]] = matrix.view(np.uint8)
    return filled[:, ::2] & np.uint8(15) | filled[:, 1::2] << np.uint8(4)


def unpack_nibbles(packed: Bytes, columns: int) -> NDArray[np.int8]:
    """Return the matrix that was packed, ``(rows, columns)``."""
    halves = np.stack([packed << 4, packed & 240], axis=2).view(np.int8) >> 4
    matrix: NDArray[np.int8] = halves.reshape(len(packed), 2 * packed.shape[1])[:, :columns]
    return matrix
