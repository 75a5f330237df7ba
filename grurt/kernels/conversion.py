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
    size = load_i64(c, port + codes.PORT_SIZE)
    if is_array(c, x):
        fits = _copy_array(c, x, _columns(c, port), rows * size, room)
    else:
        fits = n_lead < 2 and _copy_lists(c, port, x, n_lead, rows, room)
    if fits:
        store_i64(c, port + codes.PORT_OBJECT, 0)
        store_i64(c, port + codes.PORT_ADDRESS, room)
    return fits


@kernel
def _columns(c, port):
    """The size of the last axis of a port's frame."""
    shape = load_i64(c, port + codes.PORT_SHAPE)
    return load_i64(shape, load_i64(c, port + codes.PORT_AXES) - 1) if shape else load_i64(c, port + codes.PORT_SIZE)


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
def _copy_lists(c, port, lists, n_lead, count, target):
    """Copy a frame, or with a leading axis so many: lists of lists of numbers; return whether it is that."""
    n_columns = _columns(c, port)
    n_rows = count * load_i64(c, port + codes.PORT_SIZE) // n_columns
    for row in range(n_rows):
        numbers = _list_at(c, port, lists, n_lead, count, row, n_rows)
        if not (numbers and _copy_list(c, numbers, n_columns, target + F32_BYTES * n_columns * row)):
            return False
    return True


@kernel
def _list_at(c, port, lists, n_lead, count, row, n_rows):
    """Address of one of all the innermost lists; 0 if a list around it is none, or of another length."""
    shape, unit, found = load_i64(c, port + codes.PORT_SHAPE), n_rows, lists
    for level in range(n_lead + load_i64(c, port + codes.PORT_AXES) - 1):
        size = count if level < n_lead else load_i64(shape, level - n_lead)
        if not (is_list(c, found) and length_of(found) == size):
            return 0
        unit //= size
        found = load_i64(first_item(c, found), row // unit % size)
    return found


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
