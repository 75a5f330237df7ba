"""Weight matrices in fewer bits."""

import numpy as np
from numpy.typing import NDArray

from grurt.errors import QuantizationError

Floats = NDArray[np.float32]

LARGEST_INT8 = 127
"""Weights go from -127 to 127: -128 would have no counterpart."""


def to_float16(name: str, matrix: Floats) -> NDArray[np.float16]:
    """Round to float16, ties to even; raise QuantizationError if a weight is beyond its range."""
    with np.errstate(over="ignore"):
        rounded = matrix.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise QuantizationError(
            f"weight {name}: {np.abs(matrix).max():.3g} is beyond float16, whose largest number is 65504: keep the layer"
        )
    return rounded


def to_int8(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round each row to int8, and return it with its scale ``(rows,)``: the largest weight of a row becomes 127.

    ``matrix`` is ``(rows, ...)``; ``rounded * scale`` is off by half a scale at most.
    """
    rows = matrix.reshape(len(matrix), -1)
    largest = np.abs(rows).max(axis=1)
    # A row of zeros keeps a scale that is positive, and so does one of denormal numbers.
    scale = np.maximum(largest / LARGEST_INT8, np.finfo(np.float32).tiny).astype(np.float32)
    rounded = np.rint(rows.astype(np.float64) / scale[:, np.newaxis]).clip(-LARGEST_INT8, LARGEST_INT8)
    return rounded.astype(np.int8).reshape(matrix.shape), scale
