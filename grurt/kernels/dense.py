"""Products of packed weight matrices with rows of features.

Packed weights of ``y = W x + b`` are *panels* of 48 outputs (three vectors), then panels of 16 for the one or two
vectors that are left. A panel is its biases, then its weights, as `grurt.kernels.panels` has them. A vector that sticks
out beyond the outputs is filled with zeros.

The bits of an output do not depend on how many rows go through together.
"""

from typing import NamedTuple

from grurt.kernels.options import kernel
from grurt.kernels.panels import Panels, weights_bytes
from grurt.kernels.products import (
    PANEL_VECTORS,
    four_rows_times_panel,
    four_rows_times_vector,
    row_times_panel,
    row_times_vector,
)
from grurt.kernels.rows import Rows
from grurt.kernels.simd import load, store
from grurt.kernels.sizes import VECTOR_BYTES
from grurt.lanes import LANES


class Matrix(NamedTuple):
    """Packed weights and biases of ``vectors`` vectors of outputs."""

    format: int
    address: int
    n_inputs: int
    vectors: int


@kernel
def matrix_bytes(matrix):
    """How many bytes a matrix takes."""
    panel = PANEL_VECTORS * VECTOR_BYTES + weights_bytes(matrix.format, matrix.n_inputs, PANEL_VECTORS)
    vector = VECTOR_BYTES + weights_bytes(matrix.format, matrix.n_inputs, 1)
    return matrix.vectors // PANEL_VECTORS * panel + matrix.vectors % PANEL_VECTORS * vector


@kernel
def dense(matrix, x, out, n_rows):
    """``out[i] = W x[i] + b`` for each row: x ``(n_rows, n_inputs)``, out ``(n_rows, 16 * vectors)``, no alias of x.

    For INT8, x holds records. Whole vectors of ``out`` are written.
    """
    weights = matrix.address
    target = out.address
    for _ in range(matrix.vectors // PANEL_VECTORS):
        panel = Panels(matrix.format, weights, 0, matrix.n_inputs)
        _multiply_panel(panel, x, Rows(target, out.stride), n_rows)
        weights += PANEL_VECTORS * VECTOR_BYTES + weights_bytes(matrix.format, matrix.n_inputs, PANEL_VECTORS)
        target += PANEL_VECTORS * VECTOR_BYTES
    for _ in range(matrix.vectors % PANEL_VECTORS):
        panel = Panels(matrix.format, weights, 0, matrix.n_inputs)
        _multiply_vector(panel, x, Rows(target, out.stride), n_rows)
        weights += VECTOR_BYTES + weights_bytes(matrix.format, matrix.n_inputs, 1)
        target += VECTOR_BYTES


@kernel
def _multiply_panel(panel, x, out, n_rows):
    """48 outputs of every row, four rows to a read of the weights."""
    biases = panel.address
    a, b, c = load(biases, 0), load(biases, LANES), load(biases, 2 * LANES)
    panel = Panels(panel.format, biases + PANEL_VECTORS * VECTOR_BYTES, 0, panel.n_inputs)
    x_row, out_row = x.address, out.address
    row = 0
    while row + 4 <= n_rows:
        sums = (a, b, c, a, b, c, a, b, c, a, b, c)
        sums = four_rows_times_panel(panel, Rows(x_row, x.stride), sums)
        _store_panel(out_row, sums[0], sums[1], sums[2])
        _store_panel(out_row + out.stride, sums[3], sums[4], sums[5])
        _store_panel(out_row + 2 * out.stride, sums[6], sums[7], sums[8])
        _store_panel(out_row + 3 * out.stride, sums[9], sums[10], sums[11])
        x_row += 4 * x.stride
        out_row += 4 * out.stride
        row += 4
    while row < n_rows:
        one = row_times_panel(panel, Rows(x_row, 0), (a, b, c))
        _store_panel(out_row, one[0], one[1], one[2])
        x_row += x.stride
        out_row += out.stride
        row += 1


@kernel
def _store_panel(out, a, b, c):
    store(out, 0, a)
    store(out, LANES, b)
    store(out, 2 * LANES, c)


@kernel
def _multiply_vector(panel, x, out, n_rows):
    """16 outputs of every row, four rows to a read of the weights."""
    bias = load(panel.address, 0)
    panel = Panels(panel.format, panel.address + VECTOR_BYTES, 0, panel.n_inputs)
    x_row, out_row = x.address, out.address
    row = 0
    while row + 4 <= n_rows:
        sums = four_rows_times_vector(panel, Rows(x_row, x.stride), (bias, bias, bias, bias))
        store(out_row, 0, sums[0])
        store(out_row + out.stride, 0, sums[1])
        store(out_row + 2 * out.stride, 0, sums[2])
        store(out_row + 3 * out.stride, 0, sums[3])
        x_row += 4 * x.stride
        out_row += 4 * out.stride
        row += 4
    while row < n_rows:
        (total,) = row_times_vector(panel, Rows(x_row, 0), (bias,))
        store(out_row, 0, total)
        x_row += x.stride
        out_row += out.stride
        row += 1
