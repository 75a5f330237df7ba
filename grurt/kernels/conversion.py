"""Inputs as they come: other numbers than float32, and arrays that are not contiguous, brought to room of a port's own.

Taken are arrays of float32 and float64, of any strides and alignment, and lists and tuples of Python's own floats and
integers. Every number is rounded to float32 once, as NumPy does: what overflows is infinite. No code of Python's runs
meanwhile.
"""

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.fields import DATA, DIMENSIONS, DTYPE, N_DIMENSIONS, NUMBER, STRIDES, TYPE
from grurt.kernels.objects import integer_at
from grurt.kernels.options import kernel
from grurt.kernels.plain import first_item, is_array, is_list, length_of
from grurt.kernels.simd import load_i32, load_i64, read_f32, read_f64, store_f32, store_i64
from grurt.kernels.sizes import F32_BYTES
from grurt.kernels.tables import port_slot, timesteps_of_call

_EXACT = 1 << 53
"""Up to here float64 has every integer: an integer among floats is the same number as one among integers."""


@kernel
def convert_input(c, i, x, n_lead):
    """Whether an object is numbers for an input, behind ``n_lead`` axes; if so, the call reads them where they are put.

    Of an array, the axes are known to be right.
    """
    port = port_slot(i)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    rows = timesteps_of_call(c)
    if rows > capacity or load_i64(c, port + codes.PORT_IS_TOKENS):
        return False
    room = load_i64(c, codes.CONTEXT_SCRATCH) + capacity * load_i64(c, port + codes.PORT_ROOM)
    frame_rows = load_i64(c, port + codes.PORT_FRAME_ROWS)
    size = load_i64(c, port + codes.PORT_SIZE)
    if is_array(c, x):
        fits = _copy_array(c, x, size // max(frame_rows, 1), rows * size, room)
    elif frame_rows:
        fits = _copy_grids(c, x, n_lead, rows, frame_rows, size, room)
    elif n_lead:
        fits = _copy_lists(c, x, rows, size, room)
    else:
        fits = _copy_list(c, x, size, room)
    if fits:
        store_i64(c, port + codes.PORT_OBJECT, 0)
        store_i64(c, port + codes.PORT_ADDRESS, room)
    return fits


@kernel
def _copy_array(c, array, n_columns, size, target):
    """Copy an array of ``size`` numbers, ``n_columns`` in its last axis; return whether the dtype is one of those."""
    is_double = load_i64(array, DTYPE // 8) == load_i64(c, codes.CONTEXT_FLOAT64)
    if not (is_double or load_i64(array, DTYPE // 8) == load_i64(c, codes.CONTEXT_FLOAT32)):
        return False
    last = load_i32(array, N_DIMENSIONS // 4) - 1
    stride = load_i64(load_i64(array, STRIDES // 8), last)
    for row in range(size // n_columns):
        source = _row_address(array, row, last)
        for i in range(n_columns):
            number = float32(read_f64(source)) if is_double else read_f32(source)
            store_f32(target, row * n_columns + i, number)
            source += stride
    return True


@kernel
def _row_address(array, row, last):
    """Where a row of an array's last axis begins, counted over all axes before that."""
    address = load_i64(array, DATA // 8)
    for axis in range(last - 1, -1, -1):
        size = load_i64(load_i64(array, DIMENSIONS // 8), axis)
        address += load_i64(load_i64(array, STRIDES // 8), axis) * (row % size)
        row //= size
    return address


@kernel
def _copy_grids(c, grids, n_lead, count, n_rows, size, target):
    """Copy a list of so many lists of lists of numbers; without a leading axis, one list of lists."""
    if not n_lead:
        return _copy_lists(c, grids, n_rows, size // n_rows, target)
    if not (is_list(c, grids) and length_of(grids) == count):
        return False
    for i in range(count):
        grid = load_i64(first_item(c, grids), i)
        if not _copy_lists(c, grid, n_rows, size // n_rows, target + F32_BYTES * size * i):
            return False
    return True


@kernel
def _copy_lists(c, lists, count, size, target):
    """Copy a list of ``count`` lists of ``size`` numbers; return whether it is one."""
    if not (is_list(c, lists) and length_of(lists) == count):
        return False
    for i in range(count):
        if not _copy_list(c, load_i64(first_item(c, lists), i), size, target + F32_BYTES * size * i):
            return False
    return True


@kernel
def _copy_list(c, numbers, size, target):
    """Copy a list of ``size`` numbers; return whether it is one."""
    if not (is_list(c, numbers) and length_of(numbers) == size):
        return False
    items = first_item(c, numbers)
    for i in range(size):
        item = load_i64(items, i)
        kind = load_i64(item, TYPE // 8)
        if kind == load_i64(c, codes.CONTEXT_FLOAT):
            store_f32(target, i, float32(read_f64(item + NUMBER)))
        elif kind == load_i64(c, codes.CONTEXT_INTEGER):
            integer = integer_at(item)
            if not -_EXACT <= integer <= _EXACT:
                return False
            store_f32(target, i, float32(integer))
        else:
            return False
    return True
