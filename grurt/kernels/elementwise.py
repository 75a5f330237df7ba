"""Operations on one number after the other: arithmetic, functions, and what scales features."""

from grurt.kernels import codes
from grurt.kernels.functions import apply
from grurt.kernels.mathematics import apply_mathematics
from grurt.kernels.options import kernel
from grurt.kernels.rows import row_at
from grurt.kernels.simd import fma, load, select_less, splat, store
from grurt.lanes import LANES


@kernel
def add(a, b, out, size, n_rows):
    """``out = a + b``, in whole vectors; out may be a."""
    for row in range(n_rows):
        a_row, b_row, out_row = row_at(a, row), row_at(b, row), row_at(out, row)
        for i in range(0, size, LANES):
            store(out_row, i, load(a_row, i) + load(b_row, i))


@kernel
def mul(a, b, out, size, n_rows):
    """``out = a * b``, in whole vectors; out may be a."""
    for row in range(n_rows):
        a_row, b_row, out_row = row_at(a, row), row_at(b, row), row_at(out, row)
        for i in range(0, size, LANES):
            store(out_row, i, load(a_row, i) * load(b_row, i))


@kernel
def function(code, parameters, x, out, size):
    """``out = f(x)``, in whole vectors, for the function ``code`` of `codes` with parameters at an address."""
    if code <= codes.CLIP:
        for i in range(0, size, LANES):
            store(out, i, apply(code, parameters, load(x, i)))
    else:
        for i in range(0, size, LANES):
            store(out, i, apply_mathematics(code, parameters, load(x, i)))


@kernel
def prelu(weights, x, out, size, n_rows):
    """``out = x if x >= 0 else weight * x``: weights ``(size,)``."""
    zero = splat(0.0)
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        for i in range(0, size, LANES):
            xi = load(x_row, i)
            store(out_row, i, select_less(xi, zero, load(weights, i) * xi, xi))


@kernel
def batch_norm(weights, x, out, size, n_rows):
    """``out = (x - mean) * scale + bias``: weights ``(3, size)`` are mean, scale and bias, in rows like those of x.

    The mean is taken off first, not folded into the bias, because x and mean can be far larger than their difference.
    """
    scale = weights + x.stride
    bias = scale + x.stride
    for row in range(n_rows):
        x_row, out_row = row_at(x, row), row_at(out, row)
        for i in range(0, size, LANES):
            centered = load(x_row, i) - load(weights, i)
            store(out_row, i, fma(centered, load(scale, i), load(bias, i)))
