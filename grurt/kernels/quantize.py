"""Features as bytes, for products with int8 weights.

A *record* holds the features of one row: their scale (float32), and, `RECORD_HEADER` bytes behind it, one byte for
each: ``128 + round(x / scale)``. The scale makes the largest of them 127, so nothing is ever cut off: what is rounded
away is at most half a 127th of the largest.
"""

from numpy import float32

from grurt.kernels.narrow import store_bytes
from grurt.kernels.options import kernel
from grurt.kernels.products import RECORD_HEADER
from grurt.kernels.rows import row_at
from grurt.kernels.simd import larger_magnitude, largest_magnitude, load, select_first, splat, store_f32
from grurt.lanes import LANES

LEAST_INPUT = 1e-30
"""Bound of features that may be of any size; not zero, because it is divided by."""
LEAST_STATE = 1.0
"""Bound of a GRU's state, which is within [-1, 1] unless it was set beyond or the candidate's function goes beyond."""


@kernel
def quantize_rows(x, size, least, records, n_rows):
    """Write the record of each row of x ``(n_rows, size)``.

    The scale is ``max(least, |x[0]|, |x[1]|, ...) / 127``; a NaN or an infinity makes it NaN, and with it
    every product.
    """
    for row in range(n_rows):
        x_row, record = row_at(x, row), row_at(records, row)
        largest = splat(least)
        for i in range(0, size, LANES):
            largest = larger_magnitude(select_first(size - i, load(x_row, i), splat(least)), largest)
        bound = largest_magnitude(largest)
        # The difference is 0, or NaN: bytes that stand for an infinity could be anything.
        store_f32(record, 0, bound * float32(1 / 127) + (bound - bound))
        factor = splat(float32(127.0) / bound)
        for i in range(0, size, LANES):
            store_bytes(record + RECORD_HEADER + i, load(x_row, i) * factor)
