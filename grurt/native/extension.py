"""The way from CPython into kernels that were compiled ahead of time: an extension module, without a C compiler.

It uses the stable ABI only, so that one library serves all CPython versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from grurt.kernels.fastcall import FASTCALL_TYPE, KERNEL_TYPE, METH_FASTCALL, define_fastcall
from grurt.native.library import MODULE

_PYTHON_API_VERSION = 3  # of the stable ABI

_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_pointer = ir.IntType(8).as_pointer()
_null = ir.Constant(_pointer, None)


def extension_module(entries: Sequence[str]) -> ir.Module:
    """Return the module that Python loads: a function for each entry point of another object, and of its name."""
    module = ir.Module(MODULE)
    methods = [_method(module, name) for name in entries]
    method_type = methods[0].type
    end = ir.Constant(method_type, [_null, _null, ir.Constant(_i32, 0), _null])
    table = _constant(module, "methods", ir.Constant(ir.ArrayType(method_type, len(methods) + 1), [*methods, end]))
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
    """Return the entry in the module's table of a function that calls an entry point."""
    function = ir.Function(module, FASTCALL_TYPE, f"call_{name}")
    function.linkage = "internal"
    define_fastcall(function, ir.Function(module, KERNEL_TYPE, name))
    fields = [_text(module, name), function.bitcast(_pointer), ir.Constant(_i32, METH_FASTCALL), _null]
    return ir.Constant(ir.LiteralStructType([field.type for field in fields]), fields)


def _text(module: ir.Module, content: str) -> Any:
    array = ir.Constant(ir.ArrayType(ir.IntType(8), len(content) + 1), bytearray(content.encode() + b"\0"))
    return _constant(module, "text", array).bitcast(_pointer)


def _constant(module: ir.Module, name: str, value: Any) -> Any:
    variable = ir.GlobalVariable(module, value.type, module.get_unique_name(name))
    variable.initializer = value
    variable.global_constant = True
    variable.linkage = "internal"
    return variable
