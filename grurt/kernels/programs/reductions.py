"""One number of many, products of two values, and what goes row by row."""

import math

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.combining import maximum, minimum
from grurt.kernels.normalize import layer_norm, log_softmax, rms_norm, softmax
from grurt.kernels.options import kernel
from grurt.kernels.programs.tables import base_at, number_at, row_of, store_first, table_at, view_at
from grurt.kernels.rows import Rows
from grurt.kernels.simd import (
    fma,
    load,
    load_f32,
    magnitude,
    select_first,
    splat,
    store_f32,
)
from grurt.kernels.sizes import F32_BYTES
from grurt.kernels.sums import add_features, no_features, total
from grurt.lanes import LANES


@kernel
def run_reduce(bases, step):
    """``out[r] = factor * operation over j of x[r, j]``: sums of numbers, magnitudes or squares, maxima and minima."""
    x_base, out_base = base_at(bases, step, codes.STEP_A_BASE), base_at(bases, step, codes.STEP_OUT_BASE)
    x_rows, out_rows = table_at(bases, step, codes.STEP_A_ROWS), table_at(bases, step, codes.STEP_OUT_ROWS)
    code, places = number_at(step, codes.STEP_CODE), table_at(bases, step, codes.STEP_TABLE)
    size, count = number_at(step, codes.STEP_SIZE), number_at(step, codes.STEP_N_INPUTS)
    factor = load_f32(table_at(bases, step, codes.STEP_PARAMETERS), 0)
    for row in range(number_at(step, codes.STEP_N_ROWS)):
        x, out = x_base + row_of(x_rows, row), out_base + row_of(out_rows, row)
        if number_at(step, codes.STEP_LANES) == codes.SIDE_BY_SIDE:
            for i in range(0, size, LANES):
                result = _of_lanes(code, x + F32_BYTES * i, places, count) * splat(factor)
                store_first(out + F32_BYTES * i, size - i, result)
        elif number_at(step, codes.STEP_LANES) == codes.IN_A_ROW:
            store_f32(out, 0, _of_row(code, x, count) * factor)
        else:
            store_f32(out, 0, _one_by_one(code, x, places, count) * factor)


@kernel
def _of_lanes(code, x, places, count):
    """A result in each lane."""
    result = _next(code, _beginning(code), load(x, number_at(places, 0)))
    for j in range(1, count):
        result = _next(code, result, load(x, number_at(places, j)))
    return result


@kernel
def _of_row(code, x, count):
    """The result of sums over numbers that lie side by side."""
    sums = no_features()
    for i in range(0, count, LANES):
        sums = add_features(sums, select_first(count - i, _term(code, load(x, i)), splat(0.0)))
    return total(sums, count)


@kernel
def _one_by_one(code, x, places, count):
    """The result of numbers that lie anywhere."""
    result = load_f32(x, number_at(places, 0))
    if code == codes.REDUCE_L1:
        result = abs(result)
    elif code == codes.REDUCE_L2:
        result *= result
    for j in range(1, count):
        number = load_f32(x, number_at(places, j))
        if code == codes.REDUCE_MAX:
            result = number if number > result or number != number else result
        elif code == codes.REDUCE_MIN:
            result = number if number < result or number != number else result
        elif code == codes.REDUCE_L1:
            result += abs(number)
        elif code == codes.REDUCE_L2:
            result += number * number
        else:
            result += number
    return result


@kernel
def _beginning(code):
    """What is there before the first number."""
    if code == codes.REDUCE_MAX:
        return splat(-math.inf)
    if code == codes.REDUCE_MIN:
        return splat(math.inf)
    return splat(0.0)


@kernel
def _next(code, result, x):
    """The result so far, and the next number."""
    if code == codes.REDUCE_MAX:
        return maximum(result, x)
    if code == codes.REDUCE_MIN:
        return minimum(result, x)
    if code == codes.REDUCE_L2:
        return fma(x, x, result)
    return result + _term(code, x)


@kernel
def _term(code, x):
    """What is added of a number."""
    if code == codes.REDUCE_L2:
        return x * x
    if code == codes.REDUCE_L1:
        return magnitude(x)
    return x


@kernel
def run_row_wise(bases, step):
    """Softmax, its logarithm, or a normalization, of rows that are padded to whole vectors."""
    code, size, n_rows = (
        number_at(step, codes.STEP_CODE),
        number_at(step, codes.STEP_SIZE),
        number_at(step, codes.STEP_N_ROWS),
    )
    stride = F32_BYTES * number_at(step, codes.STEP_A_STRIDE)
    x = Rows(view_at(bases, step, codes.STEP_A_BASE), stride)
    out = Rows(view_at(bases, step, codes.STEP_OUT_BASE), stride)
    weights = table_at(bases, step, codes.STEP_WEIGHTS)
    epsilon = load_f32(table_at(bases, step, codes.STEP_PARAMETERS), 0)
    if code == codes.SOFTMAX:
        softmax(x, out, size, n_rows)
    elif code == codes.LOG_SOFTMAX:
        log_softmax(x, out, size, n_rows)
    elif code == codes.LAYER_NORM:
        layer_norm(weights, epsilon, x, out, size, n_rows)
    else:
        rms_norm(weights, epsilon, x, out, size, n_rows)


@kernel
def run_product(bases, step):
    """``out[r, n] = sum_k a[r, k] b[r, k, n]``: in lanes of n where those of b lie side by side, else one by one."""
    a_base, b_base = base_at(bases, step, codes.STEP_A_BASE), base_at(bases, step, codes.STEP_B_BASE)
    out_base = base_at(bases, step, codes.STEP_OUT_BASE)
    a_rows, b_rows = table_at(bases, step, codes.STEP_A_ROWS), table_at(bases, step, codes.STEP_B_ROWS)
    out_rows = table_at(bases, step, codes.STEP_OUT_ROWS)
    size, count = number_at(step, codes.STEP_SIZE), number_at(step, codes.STEP_N_INPUTS)
    a_stride, b_stride = number_at(step, codes.STEP_A_STRIDE), number_at(step, codes.STEP_B_STRIDE)
    column_stride, out_stride = number_at(step, codes.STEP_C_STRIDE), number_at(step, codes.STEP_OUT_STRIDE)
    for row in range(number_at(step, codes.STEP_N_ROWS)):
        a, b, out = a_base + row_of(a_rows, row), b_base + row_of(b_rows, row), out_base + row_of(out_rows, row)
        if column_stride == 1 and out_stride == 1:
            for n in range(0, size, LANES):
                sums = splat(0.0)
                for k in range(count):
                    sums = fma(splat(load_f32(a, a_stride * k)), load(b, b_stride * k + n), sums)
                store_first(out + F32_BYTES * n, size - n, sums)
        else:
            for n in range(size):
                product = float32(0.0)
                for k in range(count):
                    product += load_f32(a, a_stride * k) * load_f32(b, b_stride * k + column_stride * n)
                store_f32(out, out_stride * n, product)
