"""The function that Python calls, in LLVM's language: METH_FASTCALL, of the stable ABI.

Numba's own wrapper takes its arguments in a tuple, which costs as much as a small network.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core.compiler_lock import global_compiler_lock
from numba.core.pythonapi import _unboxers

from grurt.kernels.codegen.objects import SIGNATURE

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

    Arguments are converted, and the kernel is entered, with the GIL held (see `codegen.objects.ContextArray`).
    """
    count = len(SIGNATURE.args)
    builder = ir.IRBuilder(function.append_basic_block())
    result = builder.alloca(_i64)
    exception = builder.bitcast(builder.alloca(_pointer), _pointer)
    with builder.if_then(builder.icmp_unsigned("!=", function.args[2], ir.Constant(_i64, count)), likely=False):
        _raise_type_error(function.module, builder, f"expected {count} arguments")
    values = []
    for index, typ in enumerate(SIGNATURE.args):
        python_object = builder.load(builder.gep(function.args[1], [ir.Constant(_i64, index)]))
        unbox = _unboxers.functions[type(typ)]
        values.append(unbox(typ, python_object, SimpleNamespace(builder=builder)).value)
    if isinstance(kernel, int):
        kernel = builder.inttoptr(ir.Constant(_i64, kernel), KERNEL_TYPE.as_pointer())
    builder.call(kernel, [result, exception, *values])
    make_integer = _declare(function.module, "PyLong_FromLongLong", _pointer, _i64)
    builder.ret(builder.call(make_integer, [builder.load(result)]))


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
