"""Python objects as the entry point sees them: lists, tuples and arrays, whose fields are where `fields` says."""

from grurt.kernels import codes
from grurt.kernels.fields import DATA, DIMENSIONS, DTYPE, FLAGS, LENGTH, LIST_ITEMS, N_DIMENSIONS, TYPE
from grurt.kernels.options import kernel
from grurt.kernels.simd import load_i32, load_i64, store_i64


@kernel
def type_of(python_object):
    """Address of an object's type."""
    return load_i64(python_object, TYPE // 8)


@kernel
def are_as_many(c, objects, count):
    """Whether an object is a tuple of so many; or is itself the only one."""
    if not load_i64(c, codes.CONTEXT_ARRAY_TYPE):
        return False
    return count == 1 or (type_of(objects) == load_i64(c, codes.CONTEXT_TUPLE) and length_of(objects) == count)


@kernel
def item(c, objects, i, count):
    """One of ``count`` objects. The only one is what it is, a tuple of numbers as well, or the array in a tuple."""
    if type_of(objects) != load_i64(c, codes.CONTEXT_TUPLE) or length_of(objects) != count:
        return objects
    found = load_i64(first_item(c, objects), i)
    return found if count > 1 or is_array(c, found) else objects


@kernel
def is_list(c, python_object):
    """Whether an object is a list or a tuple, and of no subclass."""
    kind = type_of(python_object)
    return kind == load_i64(c, codes.CONTEXT_LIST) or kind == load_i64(c, codes.CONTEXT_TUPLE)


@kernel
def length_of(items):
    """How many items a list or tuple has."""
    return load_i64(items, LENGTH // 8)


@kernel
def first_item(c, items):
    """Where the addresses of a list's or tuple's items are."""
    if type_of(items) == load_i64(c, codes.CONTEXT_LIST):
        return load_i64(items, LIST_ITEMS // 8)
    return items + load_i64(c, codes.CONTEXT_TUPLE_ITEMS)


@kernel
def is_array(c, python_object):
    """Whether an object is an array; False wherever the context knows no array type."""
    return type_of(python_object) == load_i64(c, codes.CONTEXT_ARRAY_TYPE)


@kernel
def is_plain(c, array, dtype_slot, n_dimensions, flags):
    """Whether an object is an array of a dtype, some dimensions and some flags."""
    return (
        is_array(c, array)
        and load_i64(array, DTYPE // 8) == load_i64(c, dtype_slot)
        and load_i32(array, N_DIMENSIONS // 4) == n_dimensions
        and (load_i32(array, FLAGS // 4) & flags) == flags
    )


@kernel
def size_along(array, axis):
    """The size of an array along an axis."""
    return load_i64(load_i64(array, DIMENSIONS // 8), axis)


@kernel
def bind_array(c, port, array):
    """Set the memory of a port to that of an array."""
    store_i64(c, port + codes.PORT_OBJECT, array)
    store_i64(c, port + codes.PORT_ADDRESS, load_i64(array, DATA // 8))
