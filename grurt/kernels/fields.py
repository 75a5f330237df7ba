"""Where NumPy's C ABI puts the fields of an array, and the objects that the entry point knows by their addresses.

``PyArrayObject_fields`` in numpy/ndarraytypes.h is the same in every NumPy release. `layout_is_known` tests that
on an array; where it does not hold, the entry point takes no array as it is.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from grurt.array_types import Array

# Byte offsets in an array object. The header ends with the type; its size differs between builds of CPython.
HEADER = object.__basicsize__
TYPE = HEADER - 8
DATA = HEADER
N_DIMENSIONS = HEADER + 8
DIMENSIONS = HEADER + 16
STRIDES = HEADER + 24
BASE = HEADER + 32
DTYPE = HEADER + 40
FLAGS = HEADER + 48
# NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, and with NPY_ARRAY_WRITEABLE.
READABLE = 0x101
WRITEABLE = 0x501

ARRAY_TYPE_ADDRESS = id(np.ndarray)
FLOAT32_ADDRESS = id(np.dtype(np.float32))
FLOAT64_ADDRESS = id(np.dtype(np.float64))
INT64_ADDRESS = id(np.dtype(np.int64))
INTEGER_ADDRESS = id(int)
FLOAT_ADDRESS = id(float)
LIST_ADDRESS = id(list)
TUPLE_ADDRESS = id(tuple)
# Of a float, its number; of a list or a tuple, how many items; of a list, the address of the first one's.
NUMBER = HEADER
LENGTH = HEADER
LIST_ITEMS = HEADER + 8
TUPLE_ITEMS = tuple.__basicsize__
"""Byte offset of a tuple's first item; it differs between versions of CPython."""

BY_ADDRESS = object()
"""Handed in place of arrays, it says that the context holds their addresses. No user can hand it in by mistake."""


_integer_at = ctypes.c_int64.from_address


@functools.cache
def layout_is_known() -> bool:
    """Return whether arrays, floats, lists and tuples have their fields where this module says."""
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
        and _integer_at(id(view := array.view()) + BASE).value == id(view.base)
        and (ctypes.c_int64 * 2).from_address(field(DIMENSIONS, ctypes.c_int64))[:] == [3, 5]
        and (ctypes.c_int64 * 2).from_address(field(STRIDES, ctypes.c_int64))[:] == [20, 4]
        and _items_are_known((array, view), TUPLE_ADDRESS, lambda pair: id(pair) + TUPLE_ITEMS)
        and _items_are_known([array, view], LIST_ADDRESS, lambda pair: _integer_at(id(pair) + LIST_ITEMS).value)
        and _integer_at(id(number := 0.1) + TYPE).value == FLOAT_ADDRESS
        and ctypes.c_double.from_address(id(number) + NUMBER).value == number
    )


def _items_are_known(pair: Any, address_of_type: int, first_item: Callable[[Any], int]) -> bool:
    """Return whether a list or tuple of two has its type, its length and its items where they are thought to be."""
    return (
        _integer_at(id(pair) + TYPE).value == address_of_type
        and _integer_at(id(pair) + LENGTH).value == 2
        and (ctypes.c_int64 * 2).from_address(first_item(pair))[:] == [id(pair[0]), id(pair[1])]
    )


def data_address(array: Array) -> int:
    """Return where an array's elements begin: ``array.ctypes.data`` in a tenth of its time."""
    return _integer_at(id(array) + DATA).value if _IS_KNOWN else int(array.ctypes.data)


def object_at(address: int) -> Any:
    """Return the Python object at an address."""
    return ctypes.cast(address, ctypes.py_object).value


_IS_KNOWN = layout_is_known()
