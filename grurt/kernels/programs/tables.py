"""How steps of a program find their numbers."""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.simd import load, load_i32, load_i64, select_first, store
from grurt.kernels.sizes import F32_BYTES, TEMPORARY_BYTES
from grurt.lanes import LANES

I64_ZERO = 0
"""What makes an int64 of an int32 that is added to it."""


@kernel
def temporary_at(bases):
    """Address of memory for some vectors, for the time of a step."""
    return bases - TEMPORARY_BYTES


@kernel
def number_at(table, place):
    """The number at a place of a table, or in a slot of a step, as wide as addresses are."""
    return I64_ZERO + load_i32(table, place)


@kernel
def base_at(bases, step, slot):
    """Address that the view whose base is in a slot is counted from."""
    return load_i64(bases, number_at(step, slot))


@kernel
def view_at(bases, step, slot):
    """Address of a view: its base is in a slot, and its offset in the next."""
    return base_at(bases, step, slot) + F32_BYTES * number_at(step, slot + 1)


@kernel
def table_at(bases, step, slot):
    """Address of a table, or of weights, whose offset is in a slot."""
    return load_i64(bases, codes.BASE_WEIGHTS) + F32_BYTES * number_at(step, slot)


@kernel
def arena_at(bases, step, slot):
    """Address in the arena of what begins at the offset in a slot."""
    return load_i64(bases, codes.BASE_ARENA) + F32_BYTES * number_at(step, slot)


@kernel
def row_of(table, row):
    """Bytes from a base to a row."""
    return F32_BYTES * number_at(table, row)


@kernel
def store_first(address, count, value):
    """``address[:min(count, 16)] = value``: what lies behind stays as it is."""
    if count >= LANES:
        store(address, 0, value)
    else:
        store(address, 0, select_first(count, value, load(address, 0)))
