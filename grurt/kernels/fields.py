"""Where NumPy's C ABI puts the fields of an array, and the objects that the entry point knows by their addresses.

``PyArrayObject_fields`` in numpy/ndarraytypes.h is the same in every NumPy release. `layout_is_known` tests that
on an array; where it does not hold, the entry point takes no array as it is.
"""

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Byte offsets in an array object. The header ends with the type; its size differs between builds of CPython.
HEADER = object.__basicsize__
TYPE = HEADER - 8
DATA = HEADER
N_DIMENSIONS = HEADER + 8
DIMENSIONS = HEADER + 16
BASE = HEADER + 32
DTYPE = HEADER + 40
FLAGS = HEADER + 48
# NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, and with NPY_ARRAY_WRITEABLE.
READABLE = 0x101
WRITEABLE = 0x501

ARRAY_TYPE_ADDRESS = id(np.ndarray)
FLOAT32_ADDRESS = id(np.dtype(np.float32))
INT64_ADDRESS = id(np.dtype(np.int64))
INTEGER_ADDRESS = id(int)
TUPLE_ADDRESS = id(tuple)
TUPLE_ITEMS = tuple.__basicsize__
"""Byte offset of a tuple's first item; it differs between versions of CPython."""
LIST_ADDRESS = id(list)
# Byte offsets in a list and a tuple: how many items there are; and in a list, the address of the first.
LENGTH = HEADER
LIST_ITEMS = HEADER + 8

BY_ADDRESS = object()
"""Handed in place of arrays, it says that the context holds their addresses. No user can hand it in by mistake."""


@functools.cache
def layout_is_known() -> bool:
    """Return whether the fields of an array object, and the items of a tuple and a list, are where this module says."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    array = np.zeros((3, 5), np.float32)
    array.flags.writeable = False

    def field(offset: int, kind: type[Any]) -> Any:
        return kind.from_address(id(array) + offset).value

    return (
        np.ndarray.__basicsize__ > FLAGS
        and field(TYPE, ctypes.c_int64) == ARRAY_TYPE_ADDRESS
        and field(DATA, ctypes.c_int64) == array.ctypes.data
        and field(N_DIMENSIONS, ctypes.c_int32) == 2
        and field(DTYPE, ctypes.c_int64) == FLOAT32_ADDRESS
        and field(FLAGS, ctypes.c_int32) & WRITEABLE == READABLE
        and field(BASE, ctypes.c_int64) == 0
        and ctypes.c_int64.from_address(id(view := array.view()) + BASE).value == id(view.base)
        and (ctypes.c_int64 * 2).from_address(field(DIMENSIONS, ctypes.c_int64))[:] == [3, 5]
        and ctypes.c_int64.from_address(id(pair := (array, view)) + TYPE).value == TUPLE_ADDRESS
        and ctypes.c_int64.from_address(id(pair) + LENGTH).value == len(pair)
        and (ctypes.c_int64 * 2).from_address(id(pair) + TUPLE_ITEMS)[:] == [id(array), id(view)]
        and _items_of_a_list_are_known([array, view])
    )


def _items_of_a_list_are_known(items: list[object]) -> bool:
    address = ctypes.c_int64.from_address(id(items) + LIST_ITEMS).value
    return (
        ctypes.c_int64.from_address(id(items) + TYPE).value == LIST_ADDRESS
        and ctypes.c_int64.from_address(id(items) + LENGTH).value == len(items)
        and (ctypes.c_int64 * len(items)).from_address(address)[:] == [*map(id, items)]
    )


def data_address(array: NDArray[Any]) -> int:
    """Return where an array's elements begin: ``array.ctypes.data`` in a tenth of its time."""
    return _integer_at(id(array) + DATA).value if _IS_KNOWN else int(array.ctypes.data)


def object_at(address: int) -> Any:
    """Return the Python object at an address."""
    return ctypes.cast(address, ctypes.py_object).value


_integer_at = ctypes.c_int64.from_address
_IS_KNOWN = layout_is_known()
