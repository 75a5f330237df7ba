"""Python objects as the entry point sees them: tuples, and arrays whose fields are where `fields` says."""

from grurt.kernels import codes
from grurt.kernels.fields import DATA, DIMENSIONS, DTYPE, FLAGS, LENGTH, N_DIMENSIONS, TYPE
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
    if type_of(objects) != load_i64(c, codes.CONTEXT_TUPLE):
        return count == 1
    return load_i64(objects, LENGTH // 8) == count


@kernel
def item(c, objects, i):
    """Item i of a tuple; of anything else, that itself."""
    if type_of(objects) != load_i64(c, codes.CONTEXT_TUPLE):
        return objects
    return load_i64(objects + load_i64(c, codes.CONTEXT_TUPLE_ITEMS), i)


@kernel
def is_array(c, array, dtype_slot, n_dimensions, flags):
    """Whether an object is an array of a dtype and some dimensions; False wherever the context knows no array type."""
    return (
        type_of(array) == load_i64(c, codes.CONTEXT_ARRAY_TYPE)
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
