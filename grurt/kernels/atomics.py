"""Numbers in memory that several threads read and write: sequentially consistent."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from grurt.kernels.sizes import I64_BYTES
from grurt.kernels.targets import SSE2, capabilities

_i64 = ir.IntType(64)
_ORDER = "seq_cst"


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _i64.as_pointer())


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """``int64 at address``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0]), _ORDER, I64_BYTES)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typingctx: Any, address: Any, value: Any) -> Any:
    """Set the ``int64 at address``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], _pointer(builder, args[0]), _ORDER, I64_BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def compare_and_swap(typingctx: Any, address: Any, expected: Any, new: Any) -> Any:
    """Set the ``int64 at address`` if it is ``expected``; return what it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pair = builder.cmpxchg(_pointer(builder, args[0]), args[1], args[2], _ORDER, _ORDER)
        return builder.extract_value(pair, 0)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Leave the core's units to its other thread for a moment, where the CPU has an instruction for that."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if SSE2 in capabilities():
            function_type = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), function_type), ())
        return context.get_dummy_value()

    return types.void(), codegen
