"""The function that Python calls, in LLVM's language: METH_FASTCALL, of the stable ABI.

Numba's own wrapper takes its arguments in a tuple, which costs as much as a small network.

``advance(context, x, y, streams)`` calls the kernel. ``advance(context, work, args)`` claims the context: it returns
``work(*args)``, and whoever calls meanwhile is turned away; or, where somebody is inside already, it does nothing and
returns the context itself. Both mark the context, and take the mark away, in C: no exception, not that of a signal or
of a trace function, can leave it marked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core.compiler_lock import global_compiler_lock
from numba.core.pythonapi import _unboxers

from grurt.kernels import codes
from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.fields import DATA
from grurt.kernels.sizes import I64_BYTES

METH_FASTCALL = 0x80

_i8 = ir.IntType(8)
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_pointer = _i8.as_pointer()
_null = ir.Constant(_pointer, None)

KERNEL_TYPE = ir.FunctionType(_i32, [_i64.as_pointer(), _pointer, *[_i64] * len(SIGNATURE.args)])
"""The type of `grurt.kernels.entry.advance` as Numba compiles it.

It takes two addresses before its own arguments: of the result, and of an exception, never written; and returns an error
code, always zero.
"""
FASTCALL_TYPE = ir.FunctionType(_pointer, [_pointer, _pointer.as_pointer(), _i64])
"""``PyObject *function(PyObject *self, PyObject *const *args, Py_ssize_t nargs)``."""


def define_fastcall(function: ir.Function, kernel: ir.Function | int) -> None:
    """Give a function of `FASTCALL_TYPE` its body: a call of a kernel of `KERNEL_TYPE`, or of the kernel at an address.

    Or a claim, as the arguments are.

    Arguments are converted, and the kernel is entered, with the GIL held (see `codegen.objects.ContextArray`).
    """
    count = len(SIGNATURE.args)
    builder = ir.IRBuilder(function.append_basic_block())
    result = builder.alloca(_i64)
    exception = builder.bitcast(builder.alloca(_pointer), _pointer)
    with builder.if_then(builder.icmp_unsigned("!=", function.args[2], ir.Constant(_i64, count)), likely=False):
        with builder.if_then(builder.icmp_unsigned("!=", function.args[2], ir.Constant(_i64, 3)), likely=False):
            _raise_type_error(function.module, builder, f"expected {count} arguments, or 3")
        _claim(function.module, builder, *(_argument(builder, function, index) for index in range(3)))
    values = []
    for index, typ in enumerate(SIGNATURE.args):
        python_object = _argument(builder, function, index)
        unbox = _unboxers.functions[type(typ)]
        values.append(unbox(typ, python_object, SimpleNamespace(builder=builder)).value)
    if isinstance(kernel, int):
        kernel = builder.inttoptr(ir.Constant(_i64, kernel), KERNEL_TYPE.as_pointer())
    builder.call(kernel, [result, exception, *values])
    make_integer = _declare(function.module, "PyLong_FromLongLong", _pointer, _i64)
    builder.ret(builder.call(make_integer, [builder.load(result)]))


def _argument(builder: ir.IRBuilder, function: ir.Function, index: int) -> Any:
    return builder.load(builder.gep(function.args[1], [ir.Constant(_i64, index)]))


def _claim(module: ir.Module, builder: ir.IRBuilder, context: Any, work: Any, arguments: Any) -> None:
    """Return what a Python function does with a tuple of arguments; the context, if it is busy."""
    data = _load_i64(builder, builder.ptrtoint(context, _i64), DATA)
    busy = builder.inttoptr(builder.add(data, ir.Constant(_i64, I64_BYTES * codes.CONTEXT_BUSY)), _i64.as_pointer())
    is_busy = builder.icmp_unsigned("!=", builder.load(busy), ir.Constant(_i64, codes.IDLE))
    with builder.if_then(is_busy, likely=False):
        builder.call(_declare(module, "Py_IncRef", ir.VoidType(), _pointer), [context])
        builder.ret(context)
    builder.store(ir.Constant(_i64, codes.CLAIMED), busy)
    call = _declare(module, "PyObject_CallObject", _pointer, _pointer, _pointer)
    result = builder.call(call, [work, arguments])
    builder.store(ir.Constant(_i64, codes.IDLE), busy)
    builder.ret(result)


def _load_i64(builder: ir.IRBuilder, address: Any, offset: int) -> Any:
    place = builder.add(address, ir.Constant(_i64, offset))
    return builder.load(builder.inttoptr(place, _i64.as_pointer()))


def _raise_type_error(module: ir.Module, builder: ir.IRBuilder, message: str) -> None:
    error = module.globals.get("PyExc_TypeError") or ir.GlobalVariable(module, _pointer, "PyExc_TypeError")
    text = ir.Constant(ir.ArrayType(_i8, len(message) + 1), bytearray(message.encode() + b"\0"))
    variable = ir.GlobalVariable(module, text.type, module.get_unique_name("message"))
    variable.initializer, variable.global_constant, variable.linkage = text, True, "internal"
    set_string = _declare(module, "PyErr_SetString", ir.VoidType(), _pointer, _pointer)
    builder.call(set_string, [builder.load(error), builder.bitcast(variable, _pointer)])
    builder.ret(_null)


def _declare(module: ir.Module, name: str, result: ir.Type, *arguments: ir.Type) -> Any:
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def just_in_time(codegen: Any, kernel_address: int, name: str) -> Callable[..., Any]:
    """Return the Python function that calls a kernel in this process's memory. It is never freed."""
    library = codegen.create_library(name)
    module = library.create_ir_module(name)
    function = ir.Function(module, FASTCALL_TYPE, f"grurt.{name}")
    define_fastcall(function, kernel_address)
    library.add_ir_module(module)
    with global_compiler_lock:
        address = library.get_pointer_to_function(function.name)
    definition = _MethodDefinition(name.encode(), address, METH_FASTCALL, None)
    _kept.append((library, definition))
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_MethodDefinition), ctypes.c_void_p, ctypes.c_void_p)(
        ("PyCFunction_NewEx", ctypes.pythonapi)
    )
    return make(ctypes.byref(definition), None, None)  # type: ignore[no-any-return]


_kept: list[tuple[Any, _MethodDefinition]] = []
