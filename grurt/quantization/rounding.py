"""Weight matrices in fewer bits."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grurt.array_types import Doubles, Floats
from grurt.errors import QuantizationError

LARGEST_INT8 = 127
"""Weights go from -127 to 127: -128 would have no counterpart."""

LARGEST_INT4 = 7

BOUNDS = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Parts of a row's largest weight at which the row may be cut off, for int4: the others then get finer steps."""


def to_float16(name: str, matrix: Floats) -> NDArray[np.float16]:
    """Round to float16, ties to even; raise QuantizationError if a weight is beyond its range."""
    with np.errstate(over="ignore"):
        rounded = matrix.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise QuantizationError(
            f"weight {name}: {np.abs(matrix).max():.3g} is beyond float16, whose largest number is 65504: keep it"
        )
    return rounded


def to_int8(matrix: Floats, second_moments: Doubles | None = None) -> tuple[NDArray[np.int8], Floats]:
    """Round each row to int8, and return it with its scale ``(rows,)``: the largest weight of a row becomes 127.

    ``matrix`` is ``(rows, ...)``; ``rounded * scale`` is off by half a scale at most. With ``second_moments``
    ``(columns, columns)`` of what a matrix ``(rows, columns)`` is multiplied with, weights are not rounded one by one,
    but so that the products come out best.
    """
    return to_integers(matrix, LARGEST_INT8, 1.0, second_moments)


def to_int8_along(
    matrix: Floats, axes: Sequence[int], second_moments: Doubles | None = None
) -> tuple[NDArray[np.int8], Floats]:
    """Round to int8, as `to_int8` does, with a scale for what lies along some axes: a flat array of all scales."""
    kept = [axis for axis in range(matrix.ndim) if axis not in axes]
    order = [*kept, *axes]
    moved = matrix.transpose(order)
    rows, scale = to_int8(moved.reshape(math.prod(moved.shape[: len(kept)]), -1), second_moments)
    return rows.reshape(moved.shape).transpose(np.argsort(order)), scale


def to_int4(matrix: Floats, second_moments: Doubles | None = None) -> tuple[NDArray[np.int8], Floats]:
    """Round each row to numbers from -7 to 7, as `to_int8` does.

    With ``second_moments`` each row is also cut off where its products come out best.
    """
    if second_moments is None:
        return to_integers(matrix, LARGEST_INT4, 1.0, None)
    candidates = [to_integers(matrix, LARGEST_INT4, bound, second_moments) for bound in BOUNDS]
    errors = [values * each[:, np.newaxis] - matrix.astype(np.float64) for values, each in candidates]
    best = np.argmin([(error @ second_moments * error).sum(axis=1) for error in errors], axis=0)
    rounded, scale = (np.stack(of_all)[best, np.arange(len(matrix))] for of_all in zip(*candidates, strict=True))
    return rounded, scale


def to_integers(
    matrix: Floats, largest: int, bound: float, second_moments: Doubles | None
) -> tuple[NDArray[np.int8], Floats]:
    """Round each row so that ``bound`` times its largest weight becomes ``largest``."""
    rows = matrix.reshape(len(matrix), -1).astype(np.float64)
    # A row of zeros keeps a scale that is positive, and so does one of denormal numbers.
    scale = np.maximum(bound * np.abs(rows).max(axis=1) / largest, np.finfo(np.float32).tiny).astype(np.float32)
    steps = rows / scale[:, np.newaxis].astype(np.float64)
    rounded = None if second_moments is None else _rounded_together(steps, largest, second_moments)
    if rounded is None:
        rounded = _rounded(steps, largest)
    return rounded.astype(np.int8).reshape(matrix.shape), scale


def round_features(x: Doubles) -> Doubles:
    """Return features ``(n, size)`` as products with int8 weights see them: each row rounded with its own scale."""
    scale = np.maximum(np.abs(x).max(axis=1, keepdims=True), 1e-30) / LARGEST_INT8
    rounded: Doubles = np.rint(x / scale) * scale
    return rounded


def _rounded(steps: Doubles, largest: int) -> Doubles:
    return np.rint(steps).clip(-largest, largest)


def _rounded_together(steps: Doubles, largest: int, second_moments: Doubles) -> Doubles | None:
    """Round a column at a time, and let the columns that are left make good what was rounded away (GPTQ).

    Frantar et al. 2022, arXiv:2210.17323, algorithm 1 without its blocks; columns in the order of their energy. None if
    there is no energy, or more than float64 can compute with.
    """
    if not np.diag(second_moments).any():
        return None
    with np.errstate(all="ignore"):
        try:
            rounded = _with_errors_handed_on(steps, largest, second_moments)
        except np.linalg.LinAlgError:
            return None
    return rounded if np.isfinite(rounded).all() else None


def _with_errors_handed_on(steps: Doubles, largest: int, second_moments: Doubles) -> Doubles:
    energy = np.diag(second_moments)
    order = np.argsort(-energy, kind="stable")
    # One hundredth of the mean energy on the diagonal makes features that always come together harmless.
    damped = second_moments[np.ix_(order, order)] + 0.01 * energy.mean() * np.eye(len(energy))
    # The upper triangular U with U^T U = inverse(damped), from a Cholesky decomposition that begins at the last row.
    upper = np.linalg.inv(np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1])
    left, rounded = steps[:, order], np.empty_like(steps)
    for column, row in enumerate(upper):
        rounded[:, order[column]] = _rounded(left[:, column], largest)
        error = (left[:, column] - rounded[:, order[column]]) / row[column]
        left[:, column + 1 :] -= np.outer(error, row[column + 1 :])
    return rounded
