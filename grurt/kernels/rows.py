"""Rows of numbers in memory, and how they are copied."""

from typing import NamedTuple

from numpy import float32

from grurt.kernels.options import kernel
from grurt.kernels.simd import (
    load,
    load_f32,
    load_first,
    magnitude,
    masks_memory,
    select_less,
    splat,
    store,
    store_f32,
    store_first,
)
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES

_TINY = 1e-30


class Rows(NamedTuple):
    """Rows of memory: row i begins at ``address + stride * i``, in bytes."""

    address: int
    stride: int


@kernel
def row_at(rows, i):
    """Address of row i."""
    return rows.address + rows.stride * i


@kernel
def rows_from(rows, i):
    """The rows from row i on."""
    return Rows(rows.address + rows.stride * i, rows.stride)


@kernel
def every(rows, count):
    """Every ``count``-th row."""
    return Rows(rows.address, rows.stride * count)


@kernel
def behind(rows, offset):
    """What lies ``offset`` bytes behind the beginning of each row."""
    return Rows(rows.address + offset, rows.stride)


@kernel
def copy(source, target, size):
    """``target[:size] = source[:size]``, float32 at addresses; whole vectors first, then what is left."""
    i = 0
    while i + LANES <= size:
        store(target, i, load(source, i))
        i += LANES
    if i < size and masks_memory():
        store_first(target + F32_BYTES * i, size - i, load_first(source + F32_BYTES * i, size - i))
        return
    while i < size:
        store_f32(target, i, load_f32(source, i))
        i += 1


@kernel
def copy_rows(source, target, size, n_rows):
    """``target[i, :size] = source[i, :size]`` for each row."""
    x, out = source.address, target.address
    for _ in range(n_rows):
        copy(x, out, size)
        x += source.stride
        out += target.stride


@kernel
def transpose_rows(source, target, n_rows, n_columns, count):
    """``target[i, c, r] = source[i, r, c]`` for each of ``count`` matrices of ``n_rows`` by ``n_columns``."""
    x, out = source.address, target.address
    for _ in range(count):
        transpose(x, out, n_rows, n_columns)
        x += source.stride
        out += target.stride


@kernel
def transpose(source, target, n_rows, n_columns):
    """``target[c, r] = source[r, c]`` for a matrix at an address."""
    for r in range(n_rows):
        for c in range(n_columns):
            store_f32(target, c * n_rows + r, load_f32(source, r * n_columns + c))


@kernel
def copy_padded(source, target, n_bytes):
    """Copy whole vectors from one address to another."""
    for offset in range(0, n_bytes, VECTOR_BYTES):
        store(target + offset, 0, load(source + offset, 0))


@kernel
def copy_padded_rows(source, target, n_bytes, n_rows):
    """Copy rows of whole vectors."""
    x, out = source.address, target.address
    for _ in range(n_rows):
        copy_padded(x, out, n_bytes)
        x += source.stride
        out += target.stride


@kernel
def flush(x):
    """Zero where |x| is below 1e-30: on the way to denormal numbers, which are slow; NaN stays NaN."""
    return select_less(magnitude(x), splat(_TINY), splat(0.0), x)


@kernel
def read_rows(source, target, size, n_rows):
    """``target[i, :size] = flush(source[i, :size])`` for each row."""
    x, out = source.address, target.address
    for _ in range(n_rows):
        read(x, out, size)
        x += source.stride
        out += target.stride


@kernel
def read(source, target, size):
    """``target[:size] = flush(source[:size])``, float32 at addresses; what is behind it in a vector is not kept."""
    i = 0
    while i + LANES <= size:
        store(target, i, flush(load(source, i)))
        i += LANES
    if i < size and masks_memory():
        store(target, i, flush(load_first(source + F32_BYTES * i, size - i)))
        return
    while i < size:
        # One by one: a vector load right behind stores of single numbers would wait for them.
        number = load_f32(source, i)
        store_f32(target, i, float32(0.0) if abs(number) < float32(_TINY) else number)
        i += 1
