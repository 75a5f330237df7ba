"""The way from Python into the kernels, with nothing in between.

Numba's conversion of an array argument costs more than a small network's arithmetic, and does not check the dtype. So
the entry point takes its arguments as bare Python objects, and reads the fields of a NumPy array where NumPy's C ABI
puts them: ``PyArrayObject_fields`` in numpy/ndarraytypes.h, the same in every NumPy release. What is not exactly the
array that the kernels want is left to Python, by the status NOT_PLAIN. `array_layout_is_known` tests the layout on an
array, and where it does not hold, every call takes that way.
"""

import ctypes
import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import NativeValue, intrinsic, register_model, unbox

from grurt.kernels import codes
from grurt.kernels.advance import run
from grurt.kernels.options import kernel
from grurt.kernels.simd import F32_BYTES, load_i32, load_i64, store_i64


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
INT64_ADDRESS = id(np.dtype(np.int64))

BY_ADDRESS = object()
"""Handed in place of arrays, it says that the context holds their addresses. No user can hand it in by mistake."""


@functools.cache
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


def advance(context, x, y, streams):
    """Run some timesteps; return a status (see `codes`).

    Parameters
    ----------
    context
        The context array: see `codes`. It is not checked.
    x, y
        For a model with one input, of features, and one output: these. If they are not plain NumPy arrays, float32,
        contiguous, aligned, of the shapes below, and y writeable, the status is NOT_PLAIN. `BY_ADDRESS`: the context
        says where inputs and outputs are, how many timesteps, and which streams.
    streams
        `BY_ADDRESS`: x and y are one timestep of stream 0, ``(input_size,)`` and ``(output_size,)``. Otherwise a plain
        array of streams, int64 ``(n_streams,)``: then they are one timestep of each, ``(n_streams, input_size)`` and
        ``(n_streams, output_size)``, or a block of timesteps, ``(n_streams, n_steps, ...)``, and do not overlap.

    A second thread in the same context is turned away with the status BUSY. That is a plain flag, not a lock: it
    catches a mistake, it does not make it safe.
    """
    c = load_i64(address_of(context), _DATA // 8)
    if load_i64(c, codes.CONTEXT_BUSY):
        return codes.BUSY
    store_i64(c, codes.CONTEXT_BUSY, 1)
    status = _bind_and_run(c, address_of(x), address_of(y), address_of(streams))
    store_i64(c, codes.CONTEXT_BUSY, 0)
    return status


@kernel
def _bind_and_run(c, x, y, streams):
    by_address = load_i64(c, codes.CONTEXT_BY_ADDRESS)
    if x == by_address:
        return run(c)
    if streams == by_address:
        n_dimensions = 1
        store_i64(c, codes.CONTEXT_N_STEPS, 1)
    else:
        if not _is_array(c, streams, codes.CONTEXT_INT64, 1, _READABLE):
            return codes.NOT_PLAIN
        n_dimensions = _bind_streams(c, streams, x)
    first_output = codes.CONTEXT_PORTS + codes.PORT_SLOTS
    if not (
        _is_port(c, codes.CONTEXT_PORTS, x, n_dimensions, _READABLE)
        and _is_port(c, first_output, y, n_dimensions, _WRITEABLE)
    ):
        return codes.NOT_PLAIN
    if n_dimensions > 1 and _overlap(c, codes.CONTEXT_PORTS, first_output):
        return codes.NOT_PLAIN
    return run(c)


@kernel
def _is_array(c, array, dtype_slot, n_dimensions, flags):
    """Whether an object is an array of a dtype and some dimensions; False wherever the context knows no array type."""
    return (
        load_i64(array, _TYPE // 8) == load_i64(c, codes.CONTEXT_ARRAY_TYPE)
        and load_i64(array, _DTYPE // 8) == load_i64(c, dtype_slot)
        and load_i32(array, _N_DIMENSIONS // 4) == n_dimensions
        and (load_i32(array, _FLAGS // 4) & flags) == flags
    )


@kernel
def _bind_streams(c, streams, x):
    """Set the streams, the timesteps and the number of the call, and return how many dimensions x has to have."""
    store_i64(c, codes.CONTEXT_STREAMS, load_i64(streams, _DATA // 8))
    store_i64(c, codes.CONTEXT_N_STREAMS, load_i64(load_i64(streams, _DIMENSIONS // 8), 0))
    store_i64(c, codes.CONTEXT_CALL, load_i64(c, codes.CONTEXT_CALL) + 1)
    store_i64(c, codes.CONTEXT_N_STEPS, 1)
    if not _is_array(c, x, codes.CONTEXT_FLOAT32, 3, _READABLE):
        return 2
    store_i64(c, codes.CONTEXT_N_STEPS, load_i64(load_i64(x, _DIMENSIONS // 8), 1))
    return 3


@kernel
def _is_port(c, port, array, n_dimensions, flags):
    """Whether an object is an array of a port's shape; if so, set the port's address."""
    if not _is_array(c, array, codes.CONTEXT_FLOAT32, n_dimensions, flags):
        return False
    shape = load_i64(array, _DIMENSIONS // 8)
    if n_dimensions > 1 and load_i64(shape, 0) != load_i64(c, codes.CONTEXT_N_STREAMS):
        return False
    if n_dimensions > 2 and load_i64(shape, 1) != load_i64(c, codes.CONTEXT_N_STEPS):
        return False
    if load_i64(shape, n_dimensions - 1) != load_i64(c, port + codes.PORT_SIZE):
        return False
    store_i64(c, port + codes.PORT_ADDRESS, load_i64(array, _DATA // 8))
    return True


@kernel
def _overlap(c, a, b):
    """Whether the arrays of two ports share memory."""
    rows = load_i64(c, codes.CONTEXT_N_STREAMS) * load_i64(c, codes.CONTEXT_N_STEPS)
    a_begin = load_i64(c, a + codes.PORT_ADDRESS)
    b_begin = load_i64(c, b + codes.PORT_ADDRESS)
    a_end = a_begin + F32_BYTES * rows * load_i64(c, a + codes.PORT_SIZE)
    b_end = b_begin + F32_BYTES * rows * load_i64(c, b + codes.PORT_SIZE)
    return a_begin < b_end and b_begin < a_end
