"""Operations on two values, feature by feature, and what a condition chooses."""

from grurt.kernels import codes
from grurt.kernels.mathematics import power
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy_padded, row_at
from grurt.kernels.simd import load, select_equal, select_less, splat, store
from grurt.lanes import LANES


@kernel
def binary(operation, a, b, out, size, n_rows):
    """``out = a operation b``, in whole vectors, for an operation of `codes`; out may be a."""
    for row in range(n_rows):
        a_row, b_row, out_row = row_at(a, row), row_at(b, row), row_at(out, row)
        for i in range(0, size, LANES):
            store(out_row, i, of_two(operation, load(a_row, i), load(b_row, i)))


@kernel
def select(condition, x, out, size, n_rows):
    """``out = x`` where the condition is not 0; where it is, out stays as it was. In whole vectors."""
    for row in range(n_rows):
        condition_row, x_row, out_row = row_at(condition, row), row_at(x, row), row_at(out, row)
        for i in range(0, size, LANES):
            store(out_row, i, select_equal(load(condition_row, i), splat(0.0), load(out_row, i), load(x_row, i)))


@kernel
def constant(weights, out, n_rows):
    """``out = weights``, in every row."""
    for row in range(n_rows):
        copy_padded(weights, row_at(out, row), out.stride)


@kernel
def of_two(operation, a, b):
    """``a operation b``, for an operation of `codes`."""
    if operation == codes.SUB:
        return a - b
    if operation == codes.DIV:
        return a / b
    if operation == codes.MIN:
        return minimum(a, b)
    if operation == codes.MAX:
        return maximum(a, b)
    if operation == codes.LESS:
        return select_less(a, b, splat(1.0), splat(0.0))
    if operation == codes.LESS_OR_EQUAL:
        return select_less(a, b, splat(1.0), select_equal(a, b, splat(1.0), splat(0.0)))
    if operation == codes.EQUAL:
        return select_equal(a, b, splat(1.0), splat(0.0))
    return power(a, b)


@kernel
def maximum(a, b):
    """``max(a, b)``, NaN if one of them is."""
    return select_less(a, b, b, select_equal(b, b, a, b))


@kernel
def minimum(a, b):
    """``min(a, b)``, NaN if one of them is."""
    return select_less(b, a, b, select_equal(b, b, a, b))
