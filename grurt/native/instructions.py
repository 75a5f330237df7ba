"""What functions are put together of, beside the kernels: loops, constants, copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from grurt.array_types import Array
from grurt.kernels import codes

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
F32 = ir.FloatType()
POINTER = I8.as_pointer()

_EXPONENT = 0x7F800000
"""All bits of it, in float32: of infinities and NaN."""


def i64(number: int) -> Any:
    """Return an integer as wide as the kernels' tables."""
    return ir.Constant(I64, number)


def at(builder: ir.IRBuilder, base: Any, n_bytes: Any) -> Any:
    """Return the address so many bytes behind one."""
    return builder.gep(base, [n_bytes if isinstance(n_bytes, ir.Value) else i64(n_bytes)])


def pointer_to(builder: ir.IRBuilder, base: Any, n_bytes: Any, kind: Any) -> Any:
    """Return the address of a value of some type, so many bytes behind one."""
    return builder.bitcast(at(builder, base, n_bytes), kind.as_pointer())


def loop(builder: ir.IRBuilder, count: Any, body: Callable[[Any], None]) -> None:
    """Do what ``body`` says for 0, 1, ... below a count, which may be 0, or a number that is known."""
    count = count if isinstance(count, ir.Value) else i64(count)
    before, head = builder.block, builder.append_basic_block()
    inside, after = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(I64)
    index.add_incoming(i64(0), before)
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    body(index)
    index.add_incoming(builder.add(index, i64(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


def copy_words(builder: ir.IRBuilder, target: Any, source: Any | None, count: Any) -> None:
    """Copy so many 32-bit words from one address to another; zeros, if there is no source."""
    to = builder.bitcast(target, I32.as_pointer())
    of = None if source is None else builder.bitcast(source, I32.as_pointer())

    def copy(index: Any) -> None:
        word = ir.Constant(I32, 0) if of is None else builder.load(builder.gep(of, [index]))
        builder.store(word, builder.gep(to, [index]))

    loop(builder, count, copy)


def return_unless_finite(builder: ir.IRBuilder, words: Any, count: Any) -> None:
    """Return the status of `codes` from a function of int32 if one of so many float32, as words, is not finite."""

    def check(index: Any) -> None:
        exponent = builder.and_(builder.load(builder.gep(words, [index])), ir.Constant(I32, _EXPONENT))
        with builder.if_then(builder.icmp_unsigned("==", exponent, ir.Constant(I32, _EXPONENT)), likely=False):
            builder.ret(ir.Constant(I32, codes.NONFINITE))

    loop(builder, count, check)


def constant(module: ir.Module, name: str, array: Array, align: int) -> Any:
    """Add read-only data to a module, and return the variable."""
    if array.dtype == np.int64:
        value = ir.Constant(ir.ArrayType(I64, array.size), array.tolist())
    else:
        # As bytes: that is the shortest to write and the quickest to read for LLVM.
        content = bytearray(array.tobytes())
        value = ir.Constant(ir.ArrayType(I8, len(content)), content)
    variable = ir.GlobalVariable(module, value.type, f"{module.name}_{name}")
    variable.initializer = value
    variable.global_constant = True
    variable.linkage = "internal"
    variable.align = align
    return variable
