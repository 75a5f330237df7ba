"""The way from Python into the kernels, with nothing in between.

Numba's conversion of an array argument costs more than a small network's arithmetic, and does not check the dtype. So
the entry point takes its arguments as bare Python objects, and reads the fields of a NumPy array where NumPy's C ABI
puts them: ``PyArrayObject_fields`` in numpy/ndarraytypes.h, the same in every NumPy release. What is not exactly the
array that the kernels want is left to Python, by the status NOT_PLAIN. `array_layout_is_known` tests the layout on an
array, and where it does not hold, every call takes that way.
"""

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import NativeValue, intrinsic, register_model, unbox

from grurt.kernels import codes
from grurt.kernels.advance import run
from grurt.kernels.options import kernel
from grurt.kernels.simd import load_i32, load_i64, store_i64


class ObjectAddress(types.Type):
    """A Python object, as the integer that is its address: borrowed from the caller for the length of the call."""

    def __init__(self) -> None:
        super().__init__(name="ObjectAddress")


object_address = ObjectAddress()


@register_model(ObjectAddress)
class _ObjectAddressModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: ObjectAddress) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64))


@unbox(ObjectAddress)
def _unbox_object_address(typ: ObjectAddress, obj: Any, c: Any) -> NativeValue:
    return NativeValue(c.builder.ptrtoint(obj, ir.IntType(64)))


@intrinsic
def address_of(typingctx: Any, python_object: Any) -> Any:
    """The address of a Python object."""
    return types.int64(object_address), lambda context, builder, signature, args: args[0]


# Byte offsets in an array object. The header ends with the type; its size differs between builds of CPython.
_HEADER = object.__basicsize__
_TYPE = _HEADER - 8
_DATA = _HEADER
_N_DIMENSIONS = _HEADER + 8
_DIMENSIONS = _HEADER + 16
_DTYPE = _HEADER + 40
_FLAGS = _HEADER + 48
# NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, and with NPY_ARRAY_WRITEABLE.
_READABLE = 0x101
_WRITEABLE = 0x501

ARRAY_TYPE_ADDRESS = id(np.ndarray)
FLOAT32_ADDRESS = id(np.dtype(np.float32))

BY_ADDRESS = object()
"""Handed in place of arrays, it says that the context holds their addresses. No user can hand it in by mistake."""


def array_layout_is_known() -> bool:
    """Return whether the fields of an array object are where this module looks for them."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    array = np.zeros((3, 5), np.float32)
    array.flags.writeable = False

    def field(offset: int, kind: type[Any]) -> Any:
        return kind.from_address(id(array) + offset).value

    return (
        np.ndarray.__basicsize__ > _FLAGS
        and field(_TYPE, ctypes.c_int64) == ARRAY_TYPE_ADDRESS
        and field(_DATA, ctypes.c_int64) == array.ctypes.data
        and field(_N_DIMENSIONS, ctypes.c_int32) == 2
        and field(_DTYPE, ctypes.c_int64) == FLOAT32_ADDRESS
        and field(_FLAGS, ctypes.c_int32) & _WRITEABLE == _READABLE
        and (ctypes.c_int64 * 2).from_address(field(_DIMENSIONS, ctypes.c_int64))[:] == [3, 5]
    )


def advance(context, x, y):
    """Run some timesteps; return a status (see `codes`).

    Parameters
    ----------
    context
        The context array: see `codes`. It is not checked.
    x, y
        For one timestep of a model with one input, of features, and one output: these. If they are not plain NumPy
        arrays, float32, contiguous, aligned, of the shapes ``(input_size,)`` and ``(output_size,)``, and y writeable,
        the status is NOT_PLAIN. `BY_ADDRESS`: the context says where inputs and outputs are, and how many timesteps.
    """
    c = load_i64(address_of(context), _DATA // 8)
    if address_of(x) == load_i64(c, codes.CONTEXT_BY_ADDRESS):
        return run(c)
    first_output = codes.CONTEXT_PORTS + codes.PORT_SLOTS
    if not (
        _is_vector(c, address_of(x), load_i64(c, codes.CONTEXT_PORTS + codes.PORT_SIZE), _READABLE)
        and _is_vector(c, address_of(y), load_i64(c, first_output + codes.PORT_SIZE), _WRITEABLE)
    ):
        return codes.NOT_PLAIN
    store_i64(c, codes.CONTEXT_PORTS + codes.PORT_ADDRESS, load_i64(address_of(x), _DATA // 8))
    store_i64(c, first_output + codes.PORT_ADDRESS, load_i64(address_of(y), _DATA // 8))
    store_i64(c, codes.CONTEXT_N_STEPS, 1)
    return run(c)


@kernel
def _is_vector(c, array, size, flags):
    """Whether an object is a float32 array ``(size,)`` with these flags; False wherever the context says no type."""
    return (
        load_i64(array, _TYPE // 8) == load_i64(c, codes.CONTEXT_ARRAY_TYPE)
        and load_i32(array, _N_DIMENSIONS // 4) == 1
        and load_i64(load_i64(array, _DIMENSIONS // 8), 0) == size
        and load_i64(array, _DTYPE // 8) == load_i64(c, codes.CONTEXT_FLOAT32)
        and (load_i32(array, _FLAGS // 4) & flags) == flags
    )
