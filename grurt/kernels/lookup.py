"""Operations that look at tokens or features, and do not compute with them: embeddings and masks."""

from typing import NamedTuple

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.narrow import load_float16, load_int8
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy_padded, row_at
from grurt.kernels.simd import load_f32, load_i64, splat, store, store_f32
from grurt.kernels.sizes import F16_BYTES, F32_BYTES
from grurt.lanes import LANES


class Table(NamedTuple):
    """An embedding's weights ``(vocabulary_size, size)``, each row filled up to whole vectors.

    With INT8, the scales of the rows stand before them, ``(vocabulary_size,)`` float32, filled up to whole vectors.
    """

    format: int
    address: int
    vocabulary_size: int
    size: int


@kernel
def embedding(table, tokens, out, n_rows):
    """``out[i] = table[tokens[i]]``: tokens int64."""
    size = (table.size + LANES - 1) // LANES * LANES
    weights = table.address
    if table.format == codes.INT8:
        weights += F32_BYTES * ((table.vocabulary_size + LANES - 1) // LANES * LANES)
    for i in range(n_rows):
        # In range when it was checked, but the caller's memory may have changed since.
        token = min(max(load_i64(row_at(tokens, i), 0), 0), table.vocabulary_size - 1)
        target = row_at(out, i)
        if table.format == codes.FLOAT32:
            copy_padded(weights + F32_BYTES * size * token, target, F32_BYTES * size)
        elif table.format == codes.FLOAT16:
            for k in range(0, size, LANES):
                store(target, k, load_float16(weights + F16_BYTES * (size * token + k)))
        else:
            scale = splat(load_f32(table.address, token))
            for k in range(0, size, LANES):
                store(target, k, load_int8(weights + size * token + k) * scale)


@kernel
def feature_mask(value, x, size, out, n_rows):
    """``out[i, 0] = 0 if all(x[i, :size] == value) else 1``."""
    for i in range(n_rows):
        x_row = row_at(x, i)
        used = float32(0.0)
        for k in range(size):
            if load_f32(x_row, k) != value:
                used = float32(1.0)
        store_f32(row_at(out, i), 0, used)


@kernel
def token_mask(token, tokens, out, n_rows):
    """``out[i, 0] = 0 if tokens[i] == token else 1``: tokens int64."""
    for i in range(n_rows):
        used = float32(1.0)
        if load_i64(row_at(tokens, i), 0) == token:
            used = float32(0.0)
        store_f32(row_at(out, i), 0, used)
