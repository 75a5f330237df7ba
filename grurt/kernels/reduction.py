"""Operations that make one number of the features of a row.

Sums go through `sums`; products, and the place of an extreme, from the first feature to the last.
"""

import math

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.combining import maximum
from grurt.kernels.functions import exp, log
from grurt.kernels.options import kernel
from grurt.kernels.rows import row_at
from grurt.kernels.simd import (
    load,
    load_f32,
    magnitude,
    max_lanes,
    select_equal,
    select_first,
    select_less,
    splat,
    store,
    store_f32,
    sum_lanes,
)
from grurt.kernels.sums import add_features, add_squares, no_features, total
from grurt.lanes import LANES

_INFINITY = math.inf


@kernel
def reduce(operation, x, out, size, n_rows):
    """``out = operation(x)``: the reduction ``operation`` of `codes`, over the features of each row."""
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        if operation >= codes.REDUCE_ARGMAX:
            negated = operation == codes.REDUCE_ARGMIN
            store_f32(out_row, 0, _place_of_largest(x_row, size, float32(-1.0 if negated else 1.0)))
        elif operation == codes.REDUCE_PROD:
            store_f32(out_row, 0, _product(x_row, size))
        elif operation == codes.REDUCE_MAX:
            store(out_row, 0, _largest(x_row, size, splat(1.0)))
        elif operation == codes.REDUCE_MIN:
            store(out_row, 0, splat(0.0) - _largest(x_row, size, splat(-1.0)))
        elif operation == codes.REDUCE_LOG_SUM_EXP:
            store(out_row, 0, _log_sum_exp(x_row, size))
        else:
            store_f32(out_row, 0, _sum(operation, x_row, size))


@kernel
def _sum(operation, x, size):
    """Sum, mean, sum of magnitudes (L1), or the root of that of squares (L2)."""
    sums = no_features()
    if operation == codes.REDUCE_L2:
        for i in range(0, size, LANES):
            sums = add_squares(sums, select_first(size - i, load(x, i), splat(0.0)))
        return float32(math.sqrt(total(sums, size)))
    if operation == codes.REDUCE_L1:
        for i in range(0, size, LANES):
            sums = add_features(sums, select_first(size - i, magnitude(load(x, i)), splat(0.0)))
        return total(sums, size)
    for i in range(0, size, LANES):
        sums = add_features(sums, select_first(size - i, load(x, i), splat(0.0)))
    if operation == codes.REDUCE_MEAN:
        return total(sums, size) / float32(size)
    return total(sums, size)


@kernel
def _product(x, size):
    product = load_f32(x, 0)
    for i in range(1, size):
        product *= load_f32(x, i)
    return product


@kernel
def _largest(x, size, factor):
    """The largest feature times a factor of 1 or -1, in every lane, 0 being +0; NaN if there is one."""
    largest = splat(-_INFINITY)
    for i in range(0, size, LANES):
        xi = select_first(size - i, load(x, i) * factor, splat(-_INFINITY))
        largest = maximum(largest, xi)
    top = splat(max_lanes(select_equal(largest, largest, largest, splat(-_INFINITY))))
    nans = select_equal(largest, largest, splat(0.0), largest)
    return (top + splat(0.0)) + splat(sum_lanes(nans))


@kernel
def _log_sum_exp(x, size):
    """``max + log(sum_i exp(x_i - max))``; infinite where the largest feature is."""
    top = _largest(x, size, splat(1.0))
    sums = no_features()
    for i in range(0, size, LANES):
        sums = add_features(sums, select_first(size - i, exp(load(x, i) - top), splat(0.0)))
    sum_of_exp = splat(total(sums, size))
    # A NaN must not pass through log, which reads bits.
    result = top + (log(sum_of_exp) + (sum_of_exp - sum_of_exp))
    return select_less(magnitude(top), splat(_INFINITY), result, top)


@kernel
def _place_of_largest(x, size, factor):
    """Where the largest feature times a factor is, of several the first; where the first NaN is if there is one.

    The place is counted as a float32: on CPUs of 32 bits, LLVM would call a function to convert an integer of 64.
    """
    position, place, largest = float32(0.0), float32(0.0), load_f32(x, 0) * factor
    for i in range(1, size):
        xi = load_f32(x, i) * factor
        position += float32(1.0)
        if xi > largest or (xi != xi and largest == largest):
            place, largest = position, xi
    return place
