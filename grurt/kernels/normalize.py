"""Operations that reduce over the features of a row: layer and RMS normalization, softmax, log-softmax.

The lanes of the last vector that lie beyond the features are masked.
"""

import math

from numpy import float32

from grurt.kernels.functions import exp, log
from grurt.kernels.options import kernel
from grurt.kernels.rows import row_at
from grurt.kernels.simd import fma, load, max_lanes, select_first, select_less, splat, store
from grurt.kernels.sums import add_features, add_squares, no_features, total
from grurt.lanes import LANES

_INFINITY = math.inf


@kernel
def layer_norm(weights, epsilon, x, out, size, n_rows):
    """``out = (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias``.

    Weights ``(2, size)`` are weight and bias, in rows like those of x. It takes two passes: the variance is a mean of
    squares of differences, never a difference of squares.
    """
    bias = weights + x.stride
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        sums = no_features()
        for i in range(0, size, LANES):
            sums = add_features(sums, select_first(size - i, load(x_row, i), splat(0.0)))
        mean = splat(total(sums, size) / float32(size))
        squares = no_features()
        for i in range(0, size, LANES):
            squares = add_squares(squares, select_first(size - i, load(x_row, i) - mean, splat(0.0)))
        variance = total(squares, size) / float32(size)
        scale = splat(float32(1.0) / math.sqrt(variance + epsilon))
        for i in range(0, size, LANES):
            normalized = (load(x_row, i) - mean) * scale
            store(out_row, i, fma(normalized, load(weights, i), load(bias, i)))


@kernel
def rms_norm(weights, epsilon, x, out, size, n_rows):
    """``out = x / sqrt(mean(x * x) + epsilon) * weight``."""
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        squares = no_features()
        for i in range(0, size, LANES):
            squares = add_squares(squares, select_first(size - i, load(x_row, i), splat(0.0)))
        mean_square = total(squares, size) / float32(size)
        scale = splat(float32(1.0) / math.sqrt(mean_square + epsilon))
        for i in range(0, size, LANES):
            store(out_row, i, load(x_row, i) * scale * load(weights, i))


@kernel
def softmax(x, out, size, n_rows):
    """``out_i = exp(x_i - max) / sum_j exp(x_j - max)``."""
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        top = _largest(x_row, size)
        sums = no_features()
        for i in range(0, size, LANES):
            e = exp(load(x_row, i) - top)
            store(out_row, i, e)
            sums = add_features(sums, select_first(size - i, e, splat(0.0)))
        share = splat(total(sums, size))
        for i in range(0, size, LANES):
            store(out_row, i, load(out_row, i) / share)


@kernel
def log_softmax(x, out, size, n_rows):
    """``out_i = (x_i - max) - log(sum_j exp(x_j - max))``."""
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        top = _largest(x_row, size)
        sums = no_features()
        for i in range(0, size, LANES):
            sums = add_features(sums, select_first(size - i, exp(load(x_row, i) - top), splat(0.0)))
        sum_of_exp = splat(total(sums, size))
        # A NaN must not pass through log, which reads bits.
        offset = log(sum_of_exp) + (sum_of_exp - sum_of_exp)
        for i in range(0, size, LANES):
            store(out_row, i, (load(x_row, i) - top) - offset)


@kernel
def _largest(x, size):
    """The largest of the features, in every lane; a NaN may be passed over, and shows in the sum then."""
    largest = splat(-_INFINITY)
    for i in range(0, size, LANES):
        xi = select_first(size - i, load(x, i), splat(-_INFINITY))
        largest = select_less(largest, xi, xi, largest)
    return splat(max_lanes(largest))
