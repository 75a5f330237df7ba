"""Products of packed weight matrices with rows of features.

Packed weights of ``y = W x + b`` are *panels* of 48 outputs (three vectors), then panels of 16 for the one or two
vectors that are left. A panel is its biases, then its weights, as `grurt.kernels.products` has them. A vector that
sticks out beyond the outputs is filled with zeros.

The bits of an output do not depend on how many rows go through together.
"""

from grurt.kernels.options import kernel
from grurt.kernels.products import VECTOR_BYTES, block_product, weights_bytes
from grurt.kernels.simd import load, store
from grurt.lanes import LANES

PANEL = 3 * LANES

_row_times_panel = block_product(1, 1, 3)
_four_rows_times_panel = block_product(4, 1, 3)
_row_times_vector = block_product(1, 1, 1)
_four_rows_times_vector = block_product(4, 1, 1)


@kernel
def dense_bytes(weights_format, vectors, in_size):
    """Bytes of the packed weights and biases of ``vectors`` vectors of outputs."""
    panel = 3 * VECTOR_BYTES + weights_bytes(weights_format, in_size, 3)
    vector = VECTOR_BYTES + weights_bytes(weights_format, in_size, 1)
    return vectors // 3 * panel + vectors % 3 * vector


@kernel
def dense(weights_format, weights, vectors, x, x_stride, in_size, out, out_stride, rows):
    """``out[i] = W x[i] + b`` for each row: x ``(rows, in_size)``, out ``(rows, 16 * vectors)``, which may not alias.

    ``weights``, ``x`` and ``out`` are addresses, strides are in bytes; for INT8, x holds records. Whole vectors of
    ``out`` are written.
    """
    for _ in range(vectors // 3):
        _panel(weights_format, weights, x, x_stride, in_size, out, out_stride, rows)
        weights += 3 * VECTOR_BYTES + weights_bytes(weights_format, in_size, 3)
        out += 3 * VECTOR_BYTES
    for _ in range(vectors % 3):
        _vector(weights_format, weights, x, x_stride, in_size, out, out_stride, rows)
        weights += VECTOR_BYTES + weights_bytes(weights_format, in_size, 1)
        out += VECTOR_BYTES


@kernel
def _panel(weights_format, weights, x, x_stride, in_size, out, out_stride, rows):
    """48 outputs of every row, four rows to a read of the weights."""
    a, b, c = load(weights, 0), load(weights, LANES), load(weights, 2 * LANES)
    weights += 3 * VECTOR_BYTES
    row = 0
    while row + 4 <= rows:
        sums = (a, b, c, a, b, c, a, b, c, a, b, c)
        sums = _four_rows_times_panel(weights_format, weights, 0, x, x_stride, in_size, sums)
        _store_panel(out, sums[0], sums[1], sums[2])
        _store_panel(out + out_stride, sums[3], sums[4], sums[5])
        _store_panel(out + 2 * out_stride, sums[6], sums[7], sums[8])
        _store_panel(out + 3 * out_stride, sums[9], sums[10], sums[11])
        x += 4 * x_stride
        out += 4 * out_stride
        row += 4
    while row < rows:
        one = _row_times_panel(weights_format, weights, 0, x, 0, in_size, (a, b, c))
        _store_panel(out, one[0], one[1], one[2])
        x += x_stride
        out += out_stride
        row += 1


@kernel
def _store_panel(out, a, b, c):
    store(out, 0, a)
    store(out, LANES, b)
    store(out, 2 * LANES, c)


@kernel
def _vector(weights_format, weights, x, x_stride, in_size, out, out_stride, rows):
    """16 outputs of every row, four rows to a read of the weights."""
    bias = load(weights, 0)
    weights += VECTOR_BYTES
    row = 0
    while row + 4 <= rows:
        sums = _four_rows_times_vector(weights_format, weights, 0, x, x_stride, in_size, (bias, bias, bias, bias))
        store(out, 0, sums[0])
        store(out + out_stride, 0, sums[1])
        store(out + 2 * out_stride, 0, sums[2])
        store(out + 3 * out_stride, 0, sums[3])
        x += 4 * x_stride
        out += 4 * out_stride
        row += 4
    while row < rows:
        (total,) = _row_times_vector(weights_format, weights, 0, x, 0, in_size, (bias,))
        store(out, 0, total)
        x += x_stride
        out += out_stride
        row += 1
