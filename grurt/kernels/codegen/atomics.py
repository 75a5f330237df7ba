"""The code of the instructions in `grurt.kernels.atomics`."""

from typing import Any

from llvmlite import ir
from numba.core import types

from grurt.kernels import atomics
from grurt.kernels.codegen.instruction import instruction
from grurt.kernels.sizes import I64_BYTES
from grurt.kernels.targets import SSE2, capabilities

_i64 = ir.IntType(64)
_ORDER = "seq_cst"


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _i64.as_pointer())


@instruction(atomics.atomic_load, types.int64, types.int64)
def _atomic_load(context: Any, builder: Any, address: Any) -> Any:
    return builder.load_atomic(_pointer(builder, address), _ORDER, I64_BYTES)


@instruction(atomics.atomic_store, types.void, types.int64, types.int64)
def _atomic_store(context: Any, builder: Any, address: Any, value: Any) -> None:
    builder.store_atomic(value, _pointer(builder, address), _ORDER, I64_BYTES)


@instruction(atomics.compare_and_swap, types.int64, types.int64, types.int64, types.int64)
def _compare_and_swap(context: Any, builder: Any, address: Any, expected: Any, new: Any) -> Any:
    pair = builder.cmpxchg(_pointer(builder, address), expected, new, _ORDER, _ORDER)
    return builder.extract_value(pair, 0)


@instruction(atomics.pause, types.void)
def _pause(context: Any, builder: Any) -> None:
    if SSE2 in capabilities():
        function_type = ir.FunctionType(ir.VoidType(), [])
        builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), function_type), ())
