"""The types of what Python hands to the entry point, and the code of the instructions in `grurt.kernels.objects`."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import NativeValue, register_model, unbox

from grurt.kernels import codes, objects
from grurt.kernels.codegen.instruction import instruction
from grurt.kernels.fields import DATA
from grurt.kernels.sizes import I64_BYTES

_pointer = ir.IntType(8).as_pointer()


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


@instruction(objects.address_of, types.int64, object_address)
def _address_of(context: Any, builder: Any, python_object: Any) -> Any:
    return python_object


@instruction(objects.integer_at, types.int64, types.int64)
def _integer_at(context: Any, builder: Any, address: Any) -> Any:
    i64 = ir.IntType(64)
    convert = cgutils.get_or_insert_function(builder.module, ir.FunctionType(i64, [_pointer]), "PyLong_AsLongLong")
    value = builder.call(convert, [builder.inttoptr(address, _pointer)])
    result = cgutils.alloca_once_value(builder, value)
    with builder.if_then(builder.icmp_unsigned("==", value, ir.Constant(i64, -1)), likely=False):
        occurred = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_pointer, []), "PyErr_Occurred")
        with builder.if_then(cgutils.is_not_null(builder, builder.call(occurred, []))):
            clear = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "PyErr_Clear")
            builder.call(clear, [])
            builder.store(ir.Constant(i64, -(2**63)), result)
    return builder.load(result)


class ContextArray(types.Type):
    """The array of a context, as the integer that is its data's address, with what CONTEXT_BUSY was in the lowest bits.

    Converting it marks the context as busy. Arguments are converted with the GIL held: so no other thread can come
    between the look at the flag and its change, without any lock or atomic instruction.
    """

    def __init__(self) -> None:
        super().__init__(name="ContextArray")


context_array = ContextArray()


@register_model(ContextArray)
class _ContextArrayModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: ContextArray) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64))


@unbox(ContextArray)
def _unbox_context_array(typ: ContextArray, obj: Any, c: Any) -> NativeValue:
    i64 = ir.IntType(64)
    array = c.builder.ptrtoint(obj, i64)
    data_field = c.builder.inttoptr(c.builder.add(array, ir.Constant(i64, DATA)), i64.as_pointer())
    data = c.builder.load(data_field)
    flag_address = c.builder.add(data, ir.Constant(i64, I64_BYTES * codes.CONTEXT_BUSY))
    flag = c.builder.inttoptr(flag_address, i64.as_pointer())
    was = c.builder.load(flag)
    with c.builder.if_then(c.builder.icmp_unsigned("==", was, ir.Constant(i64, codes.IDLE))):
        c.builder.store(ir.Constant(i64, codes.ENTERED), flag)
    return NativeValue(c.builder.or_(data, was))


@instruction(objects.entered_address, types.int64, context_array)
def _entered_address(context: Any, builder: Any, entered: Any) -> Any:
    return entered


@instruction(objects.hold, types.int64, types.int64)
def _hold(context: Any, builder: Any, owner: Any) -> Any:
    i64 = ir.IntType(64)
    new_type = ir.FunctionType(_pointer, [_pointer, _pointer])
    new = cgutils.get_or_insert_function(builder.module, new_type, "PyWeakref_NewRef")
    held = builder.ptrtoint(builder.call(new, [builder.inttoptr(owner, _pointer), ir.Constant(_pointer, None)]), i64)
    # What cannot be referenced weakly is no array: a buffer, which sees to its memory itself.
    with builder.if_then(builder.icmp_unsigned("==", held, ir.Constant(i64, 0)), likely=False):
        clear = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "PyErr_Clear")
        builder.call(clear, [])
    return held


@instruction(objects.let_go, types.void, types.int64)
def _let_go(context: Any, builder: Any, held: Any) -> None:
    decrease_type = ir.FunctionType(ir.VoidType(), [_pointer])
    decrease = cgutils.get_or_insert_function(builder.module, decrease_type, "Py_DecRef")
    builder.call(decrease, [builder.inttoptr(held, _pointer)])


@instruction(objects.release_gil, types.int64)
def _release_gil(context: Any, builder: Any) -> Any:
    save = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_pointer, []), "PyEval_SaveThread")
    return builder.ptrtoint(builder.call(save, []), ir.IntType(64))


@instruction(objects.acquire_gil, types.void, types.int64)
def _acquire_gil(context: Any, builder: Any, thread_state: Any) -> None:
    function_type = ir.FunctionType(ir.VoidType(), [_pointer])
    restore = cgutils.get_or_insert_function(builder.module, function_type, "PyEval_RestoreThread")
    builder.call(restore, [builder.inttoptr(thread_state, _pointer)])


SIGNATURE = types.int64(context_array, object_address, object_address, object_address)
"""Numba's types of the result and the arguments of `grurt.kernels.entry.advance`."""
