"""The way from CPython into kernels that were compiled ahead of time: an extension module, without a C compiler.

It uses the stable ABI only, so that one library serves all CPython versions. Its functions take their arguments as
METH_FASTCALL hands them over, and convert them just as the just-in-time compiled entry point does.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core.pythonapi import _unboxers

from grurt.kernels.entry import SIGNATURE

MODULE = "kernels"
"""The name under which Python imports a library."""
SECTION = ".grurt"

_METH_FASTCALL = 0x80
_PYTHON_API_VERSION = 3  # of the stable ABI

_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_pointer = ir.IntType(8).as_pointer()
_null = ir.Constant(_pointer, None)


def entry_module(kernel: str, name: str) -> ir.Module:
    """Return a module with the function ``name``, from int64 to int64, that calls a kernel as Numba compiles it."""
    module = ir.Module(name)
    arguments = [_i64] * len(SIGNATURE.args)
    called = ir.Function(module, ir.FunctionType(_i32, [_i64.as_pointer(), _pointer, *arguments]), kernel)
    function = ir.Function(module, ir.FunctionType(_i64, arguments), name)
    builder = ir.IRBuilder(function.append_basic_block())
    result = builder.alloca(_i64)
    exception = builder.bitcast(builder.alloca(_pointer), _pointer)
    builder.call(called, [result, exception, *function.args])
    builder.ret(builder.load(result))
    return module


def extension_module(entries: Sequence[str], description: bytes) -> ir.Module:
    """Return the module that Python loads: one function for each entry point, of the same name.

    The description is put where `library.read_description` finds it in the file.
    """
    module = ir.Module(MODULE)
    methods = [_method(module, name) for name in entries]
    method_type = methods[0].type
    end = ir.Constant(method_type, [_null, _null, ir.Constant(_i32, 0), _null])
    table = _constant(module, "methods", ir.Constant(ir.ArrayType(method_type, len(methods) + 1), [*methods, end]))
    kept = _bytes(module, "grurt_description", description)
    kept.section = SECTION
    kept.linkage = ""
    kept.storage_class = ""
    no_size = ir.Constant(_i64, 0)
    base = [ir.Constant(_i64, 1), _null, _null, no_size, _null]
    fields = [*base, _text(module, MODULE), _null, no_size, table.bitcast(_pointer), *[_null] * 4]
    definition_type = ir.LiteralStructType([field.type for field in fields])
    definition = ir.GlobalVariable(module, definition_type, "definition")
    definition.initializer = ir.Constant(definition_type, fields)
    create = ir.Function(module, ir.FunctionType(_pointer, [_pointer, _i32]), "PyModule_Create2")
    init = ir.Function(module, ir.FunctionType(_pointer, []), f"PyInit_{MODULE}")
    builder = ir.IRBuilder(init.append_basic_block())
    version = ir.Constant(_i32, _PYTHON_API_VERSION)
    builder.ret(builder.call(create, [builder.bitcast(definition, _pointer), version]))
    return module


def _method(module: ir.Module, name: str) -> Any:
    function = _fastcall(module, name)
    flags = ir.Constant(_i32, _METH_FASTCALL)
    fields = [_text(module, name), function.bitcast(_pointer), flags, _null]
    return ir.Constant(ir.LiteralStructType([field.type for field in fields]), fields)


def _fastcall(module: ir.Module, name: str) -> Any:
    """Return ``PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t nargs)``, which calls an entry point.

    Arguments are converted while the GIL is held, as the entry point wants it (see `entry.ContextArray`).
    """
    count = len(SIGNATURE.args)
    entry = ir.Function(module, ir.FunctionType(_i64, [_i64] * count), name)
    function = ir.Function(module, ir.FunctionType(_pointer, [_pointer, _pointer.as_pointer(), _i64]), f"call_{name}")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    with builder.if_then(builder.icmp_unsigned("!=", function.args[2], ir.Constant(_i64, count)), likely=False):
        _raise_type_error(module, builder, f"expected {count} arguments")
    values = []
    for index, typ in enumerate(SIGNATURE.args):
        python_object = builder.load(builder.gep(function.args[1], [ir.Constant(_i64, index)]))
        unbox = _unboxers.functions[type(typ)]
        values.append(unbox(typ, python_object, SimpleNamespace(builder=builder)).value)
    thread = builder.call(_declare(module, "PyEval_SaveThread", _pointer), [])
    status = builder.call(entry, values)
    builder.call(_declare(module, "PyEval_RestoreThread", ir.VoidType(), _pointer), [thread])
    builder.ret(builder.call(_declare(module, "PyLong_FromLongLong", _pointer, _i64), [status]))
    return function


def _raise_type_error(module: ir.Module, builder: ir.IRBuilder, message: str) -> None:
    error = module.globals.get("PyExc_TypeError") or ir.GlobalVariable(module, _pointer, "PyExc_TypeError")
    set_string = _declare(module, "PyErr_SetString", ir.VoidType(), _pointer, _pointer)
    builder.call(set_string, [builder.load(error), _text(module, message)])
    builder.ret(_null)


def _declare(module: ir.Module, name: str, result: ir.Type, *arguments: ir.Type) -> Any:
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def _constant(module: ir.Module, name: str, value: Any) -> Any:
    variable = ir.GlobalVariable(module, value.type, module.get_unique_name(name))
    variable.initializer = value
    variable.global_constant = True
    variable.linkage = "internal"
    return variable


def _bytes(module: ir.Module, name: str, content: bytes) -> Any:
    return _constant(module, name, ir.Constant(ir.ArrayType(ir.IntType(8), len(content)), bytearray(content)))


def _text(module: ir.Module, content: str) -> Any:
    return _bytes(module, "text", content.encode() + b"\0").bitcast(_pointer)
