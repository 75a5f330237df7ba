"""Numbers of 16 and of 8 bits in memory, which are float32 in registers: the code that reads and writes them."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from grurt.kernels import targets
from grurt.kernels.simd import f32x16
from grurt.lanes import LANES

_i8 = ir.IntType(8)
_i16 = ir.IntType(16)
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_floats = ir.VectorType(ir.FloatType(), LANES)
_ints = ir.VectorType(_i32, LANES)
_bytes = ir.VectorType(_i8, LANES)


@intrinsic
def load_float16(typingctx: Any, address: Any) -> Any:
    """Sixteen float16 at an address, as float32, which is exact."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return read_float16(builder, args[0])

    return f32x16(types.int64), codegen


@intrinsic
def load_int8(typingctx: Any, address: Any) -> Any:
    """Sixteen signed bytes at an address, as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded = builder.load(builder.inttoptr(args[0], _bytes.as_pointer()), align=1)
        return builder.sitofp(loaded, _floats)

    return f32x16(types.int64), codegen


@intrinsic
def store_bytes(typingctx: Any, address: Any, value: Any) -> Any:
    """Write ``128 + value`` as sixteen bytes, rounded to even, for values in [-128, 127]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Adding 1.5 * 2**23 leaves the whole number in the low bits: a conversion would be undefined for NaN.
        shifted = builder.fadd(args[1], ir.Constant(_floats, [12582912.0 + 128.0] * LANES))
        narrow = builder.trunc(builder.bitcast(shifted, _ints), _bytes)
        builder.store(narrow, builder.inttoptr(args[0], _bytes.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, f32x16), codegen


def read_float16(builder: Any, address: Any) -> Any:
    """Write the code of `load_float16`."""
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
