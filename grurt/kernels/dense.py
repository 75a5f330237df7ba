"""Products of packed weight matrices with rows of features.

Packed weights of ``y = W x + b`` are *panels* of 48 outputs (three vectors), then panels of 16 for the one or two
vectors that are left. A panel is its bias, then for each input its weights: ``[b | W[:, 0] | W[:, 1] | ...]``. A
vector that sticks out beyond the outputs is filled with zeros.

Every output is a sum in one order, bias first and inputs in order, one fused multiply-add each: the bits do not depend
on how many rows go through together.
"""

from grurt.kernels.options import kernel
from grurt.kernels.simd import F32_BYTES, LANES, fma, load, load_f32, splat, store

PANEL = 3 * LANES


@kernel
def dense(weights, vectors, x, x_stride, in_size, out, out_stride, rows):
    """``out[i] = W x[i] + b`` for each row: x ``(rows, in_size)``, out ``(rows, 16 * vectors)``, which may not alias.

    ``weights``, ``x`` and ``out`` are addresses, strides are in float32. Whole vectors of ``out`` are written.
    """
    for _ in range(vectors // 3):
        _panel_rows(weights, x, x_stride, in_size, out, out_stride, rows)
        weights += F32_BYTES * PANEL * (1 + in_size)
        out += F32_BYTES * PANEL
    for _ in range(vectors % 3):
        _vector_rows(weights, x, x_stride, in_size, out, out_stride, rows)
        weights += F32_BYTES * LANES * (1 + in_size)
        out += F32_BYTES * LANES


@kernel
def _panel_rows(weights, x, x_stride, in_size, out, out_stride, rows):
    """48 outputs of every row, four rows to a read of the weights."""
    row = 0
    while row + 4 <= rows:
        _panel_four_rows(weights, x, x_stride, in_size, out, out_stride)
        x += 4 * F32_BYTES * x_stride
        out += 4 * F32_BYTES * out_stride
        row += 4
    while row < rows:
        _panel_row(weights, x, in_size, out)
        x += F32_BYTES * x_stride
        out += F32_BYTES * out_stride
        row += 1


@kernel
def _panel_row(weights, x, in_size, out):
    a = load(weights, 0)
    b = load(weights, LANES)
    c = load(weights, 2 * LANES)
    for k in range(in_size):
        weights += F32_BYTES * PANEL
        xk = splat(load_f32(x, k))
        a = fma(load(weights, 0), xk, a)
        b = fma(load(weights, LANES), xk, b)
        c = fma(load(weights, 2 * LANES), xk, c)
    store(out, 0, a)
    store(out, LANES, b)
    store(out, 2 * LANES, c)


@kernel
def _panel_four_rows(weights, x, x_stride, in_size, out, out_stride):
    a0 = a1 = a2 = a3 = load(weights, 0)
    b0 = b1 = b2 = b3 = load(weights, LANES)
    c0 = c1 = c2 = c3 = load(weights, 2 * LANES)
    for k in range(in_size):
        weights += F32_BYTES * PANEL
        wa = load(weights, 0)
        wb = load(weights, LANES)
        wc = load(weights, 2 * LANES)
        x0 = splat(load_f32(x, k))
        x1 = splat(load_f32(x, k + x_stride))
        x2 = splat(load_f32(x, k + 2 * x_stride))
        x3 = splat(load_f32(x, k + 3 * x_stride))
        a0, b0, c0 = fma(wa, x0, a0), fma(wb, x0, b0), fma(wc, x0, c0)
        a1, b1, c1 = fma(wa, x1, a1), fma(wb, x1, b1), fma(wc, x1, c1)
        a2, b2, c2 = fma(wa, x2, a2), fma(wb, x2, b2), fma(wc, x2, c2)
        a3, b3, c3 = fma(wa, x3, a3), fma(wb, x3, b3), fma(wc, x3, c3)
    _store_panel(out, a0, b0, c0)
    _store_panel(out + F32_BYTES * out_stride, a1, b1, c1)
    _store_panel(out + 2 * F32_BYTES * out_stride, a2, b2, c2)
    _store_panel(out + 3 * F32_BYTES * out_stride, a3, b3, c3)


@kernel
def _store_panel(out, a, b, c):
    store(out, 0, a)
    store(out, LANES, b)
    store(out, 2 * LANES, c)


@kernel
def _vector_rows(weights, x, x_stride, in_size, out, out_stride, rows):
    """16 outputs of every row, four rows to a read of the weights."""
    row = 0
    while row + 4 <= rows:
        _vector_four_rows(weights, x, x_stride, in_size, out, out_stride)
        x += 4 * F32_BYTES * x_stride
        out += 4 * F32_BYTES * out_stride
        row += 4
    while row < rows:
        a = load(weights, 0)
        for k in range(in_size):
            a = fma(load(weights, LANES * (1 + k)), splat(load_f32(x, k)), a)
        store(out, 0, a)
        x += F32_BYTES * x_stride
        out += F32_BYTES * out_stride
        row += 1


@kernel
def _vector_four_rows(weights, x, x_stride, in_size, out, out_stride):
    a0 = a1 = a2 = a3 = load(weights, 0)
    for k in range(in_size):
        w = load(weights, LANES * (1 + k))
        a0 = fma(w, splat(load_f32(x, k)), a0)
        a1 = fma(w, splat(load_f32(x, k + x_stride)), a1)
        a2 = fma(w, splat(load_f32(x, k + 2 * x_stride)), a2)
        a3 = fma(w, splat(load_f32(x, k + 3 * x_stride)), a3)
    store(out, 0, a0)
    store(out, out_stride, a1)
    store(out, 2 * out_stride, a2)
    store(out, 3 * out_stride, a3)
