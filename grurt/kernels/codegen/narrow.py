"""The code of the instructions in `grurt.kernels.narrow`."""

from typing import Any

from llvmlite import ir
from numba import types

from grurt.kernels import narrow, targets
from grurt.kernels.codegen.instruction import instruction
from grurt.kernels.codegen.simd import f32x16
from grurt.lanes import LANES

_i8 = ir.IntType(8)
_i16 = ir.IntType(16)
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_floats = ir.VectorType(ir.FloatType(), LANES)
_ints = ir.VectorType(_i32, LANES)
_bytes = ir.VectorType(_i8, LANES)


@instruction(narrow.load_float16, f32x16, types.int64)
def _load_float16(context: Any, builder: Any, address: Any) -> Any:
    return read_float16(builder, address)


@instruction(narrow.load_int8, f32x16, types.int64)
def _load_int8(context: Any, builder: Any, address: Any) -> Any:
    return builder.sitofp(builder.load(builder.inttoptr(address, _bytes.as_pointer()), align=1), _floats)


@instruction(narrow.store_bytes, types.void, types.int64, f32x16)
def _store_bytes(context: Any, builder: Any, address: Any, value: Any) -> None:
    # Adding 1.5 * 2**23 leaves the whole number in the low bits: a conversion would be undefined for NaN.
    shifted = builder.fadd(value, ir.Constant(_floats, [12582912.0 + 128.0] * LANES))
    bytes_ = builder.trunc(builder.bitcast(shifted, _ints), _bytes)
    builder.store(bytes_, builder.inttoptr(address, _bytes.as_pointer()), align=1)


def read_float16(builder: Any, address: Any) -> Any:
    """Write the code of `grurt.kernels.narrow.load_float16`."""
    if targets.CONVERTS_FLOAT16 in targets.capabilities():
        halves = ir.VectorType(ir.HalfType(), LANES)
        return builder.fpext(builder.load(builder.inttoptr(address, halves.as_pointer()), align=2), _floats)
    # The exponent and mantissa of a float16, shifted into place, are a float32 that is too small by 2**112.
    shorts = ir.VectorType(_i16, LANES)
    bits = builder.zext(builder.load(builder.inttoptr(address, shorts.as_pointer()), align=2), _ints)
    magnitude = builder.shl(builder.and_(bits, _all(0x7FFF)), _all(13))
    scaled = builder.fmul(builder.bitcast(magnitude, _floats), ir.Constant(_floats, [2.0**112] * LANES))
    sign = builder.shl(builder.and_(bits, _all(0x8000)), _all(16))
    return builder.bitcast(builder.or_(builder.bitcast(scaled, _ints), sign), _floats)


def _all(number: int) -> Any:
    return ir.Constant(_ints, [number] * LANES)
