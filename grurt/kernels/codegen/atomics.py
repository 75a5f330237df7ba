"""The code of the instructions in `grurt.kernels.atomics`."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from grurt.kernels import atomics
from grurt.kernels.codegen.instruction import instruction
from grurt.kernels.sizes import I64_BYTES
from grurt.kernels.targets import NEON, SSE2, capabilities

_i64 = ir.IntType(64)
_void = ir.VoidType()
_ORDER = "seq_cst"
_WHOLE_SYSTEM = 15
"""What Arm's barriers are for."""


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
        _call(builder, "llvm.x86.sse2.pause", _void)
    elif NEON in capabilities():
        # Emptying the pipeline takes about as long; the hint for it, yield, takes no time.
        _call(builder, "llvm.aarch64.isb", _void, ir.Constant(ir.IntType(32), _WHOLE_SYSTEM))


@instruction(atomics.ticks, types.int64)
def _ticks(context: Any, builder: Any) -> Any:
    if SSE2 in capabilities():  # the time stamp counter: from 2 to 4 GHz, whatever the core does
        return _call(builder, "llvm.readcyclecounter", _i64)
    if NEON in capabilities():
        # The system's counter: 24 MHz to 1 GHz, which it says.
        count, frequency = (_system_register(builder, name) for name in ("cntvct_el0", "cntfrq_el0"))
        return builder.mul(count, builder.udiv(ir.Constant(_i64, 3_000_000_000), frequency))
    return ir.Constant(_i64, 0)


def _system_register(builder: Any, name: str) -> Any:
    return _call(builder, "llvm.read_volatile_register.i64", _i64, builder.module.add_metadata([name]))


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call an LLVM intrinsic."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
