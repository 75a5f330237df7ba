"""The vector type, and the code of the instructions in `grurt.kernels.simd`."""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import lower_builtin, register_model, type_callable

from grurt.kernels import simd
from grurt.kernels.codegen.instruction import instruction
from grurt.kernels.sizes import F32_BYTES
from grurt.kernels.targets import AVX512, capabilities
from grurt.lanes import LANES

_f32 = ir.FloatType()
_f64 = ir.DoubleType()
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_vector = ir.VectorType(_f32, LANES)
_int_vector = ir.VectorType(_i32, LANES)
_long_vector = ir.VectorType(_i64, LANES)


class F32x16(types.Type):  # type: ignore[misc]
    """The Numba type of sixteen float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="F32x16")


f32x16 = F32x16()


@register_model(F32x16)
class _F32x16Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: F32x16) -> None:
        super().__init__(dmm, fe_type, _vector)


def _pointer(builder: Any, address: Any, index: Any, element: ir.Type) -> Any:
    base = builder.inttoptr(address, element.as_pointer())
    return builder.gep(base, [index])


def _vector_pointer(builder: Any, address: Any, index: Any) -> Any:
    return builder.bitcast(_pointer(builder, address, index, _f32), _vector.as_pointer())


def _element_load(definition: Any, element: ir.Type, typ: types.Type) -> None:
    @instruction(definition, typ, types.int64, types.int64)
    def write(context: Any, builder: Any, address: Any, index: Any) -> Any:
        return builder.load(_pointer(builder, address, index, element))


def _element_store(definition: Any, element: ir.Type, typ: types.Type) -> None:
    @instruction(definition, types.void, types.int64, types.int64, typ)
    def write(context: Any, builder: Any, address: Any, index: Any, value: Any) -> None:
        builder.store(value, _pointer(builder, address, index, element))


_element_load(simd.load_f32, _f32, types.float32)
_element_load(simd.load_f64, _f64, types.float64)
_element_load(simd.load_i32, _i32, types.int32)
_element_load(simd.load_i64, _i64, types.int64)
_element_store(simd.store_f32, _f32, types.float32)
_element_store(simd.store_f64, _f64, types.float64)
_element_store(simd.store_i64, _i64, types.int64)


def _unaligned_load(definition: Any, element: ir.Type, typ: types.Type) -> None:
    @instruction(definition, typ, types.int64)
    def write(context: Any, builder: Any, address: Any) -> Any:
        return builder.load(builder.inttoptr(address, element.as_pointer()), align=1)


_unaligned_load(simd.read_f32, _f32, types.float32)
_unaligned_load(simd.read_f64, _f64, types.float64)


@instruction(simd.load, f32x16, types.int64, types.int64)
def _load(context: Any, builder: Any, address: Any, index: Any) -> Any:
    return builder.load(_vector_pointer(builder, address, index), align=F32_BYTES)


@instruction(simd.store, types.void, types.int64, types.int64, f32x16)
def _store(context: Any, builder: Any, address: Any, index: Any, value: Any) -> None:
    builder.store(value, _vector_pointer(builder, address, index), align=F32_BYTES)


@instruction(simd.masks_memory, types.boolean)
def _masks_memory(context: Any, builder: Any) -> Any:
    return context.get_constant(types.boolean, AVX512 in capabilities())


@instruction(simd.load_first, f32x16, types.int64, types.int64)
def _load_first(context: Any, builder: Any, address: Any, count: Any) -> Any:
    zeros = ir.Constant(_vector, None)
    if AVX512 in capabilities():
        place = _vector_pointer(builder, address, ir.Constant(_i64, 0))
        return _masked(builder, "load", _vector, place, _first_lanes(builder, count), zeros)
    vector = cgutils.alloca_once_value(builder, zeros)
    with cgutils.for_range(builder, count, intp=_i64) as loop:
        number = builder.load(_pointer(builder, address, loop.index, _f32))
        builder.store(number, builder.gep(builder.bitcast(vector, _f32.as_pointer()), [loop.index]))
    return builder.load(vector)


@instruction(simd.store_first, types.void, types.int64, types.int64, f32x16)
def _store_first(context: Any, builder: Any, address: Any, count: Any, value: Any) -> None:
    if AVX512 in capabilities():
        place = _vector_pointer(builder, address, ir.Constant(_i64, 0))
        _masked(builder, "store", ir.VoidType(), value, place, _first_lanes(builder, count))
        return
    vector = cgutils.alloca_once_value(builder, value)
    with cgutils.for_range(builder, count, intp=_i64) as loop:
        number = builder.load(builder.gep(builder.bitcast(vector, _f32.as_pointer()), [loop.index]))
        builder.store(number, _pointer(builder, address, loop.index, _f32))


def _masked(builder: Any, name: str, result: Any, *values: Any) -> Any:
    """Call LLVM's masked load or store: of some lanes of unaligned memory, of which the others are not touched."""
    place = next(i for i, value in enumerate(values) if isinstance(value.type, ir.PointerType))
    arguments = [*values[: place + 1], ir.Constant(_i32, F32_BYTES), *values[place + 1 :]]
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.masked.{name}.v{LANES}f32.p0")
    return builder.call(function, arguments)


@instruction(simd.splat, f32x16, types.float32)
def _splat(context: Any, builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(_vector, ir.Undefined), value, ir.Constant(_i32, 0))
    return builder.shuffle_vector(first, ir.Constant(_vector, ir.Undefined), _all(0))


@instruction(simd.fma, f32x16, f32x16, f32x16, f32x16)
def _fma(context: Any, builder: Any, *values: Any) -> Any:
    return _call(builder, "fma", *values)


@instruction(simd.magnitude, f32x16, f32x16)
def _magnitude(context: Any, builder: Any, a: Any) -> Any:
    return _call(builder, "fabs", a)


@instruction(simd.larger_magnitude, f32x16, f32x16, f32x16)
def _larger_magnitude(context: Any, builder: Any, *values: Any) -> Any:
    # Without its sign, a float's bits are an integer of the same order, NaN above infinity.
    a, b = (builder.and_(builder.bitcast(x, _int_vector), _all(0x7FFFFFFF)) for x in values)
    return builder.bitcast(builder.select(builder.icmp_signed("<", a, b), b, a), _vector)


@instruction(simd.select_less, f32x16, f32x16, f32x16, f32x16, f32x16)
def _select_less(context: Any, builder: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), then, otherwise)


@instruction(simd.select_equal, f32x16, f32x16, f32x16, f32x16, f32x16)
def _select_equal(context: Any, builder: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    return builder.select(builder.fcmp_ordered("==", a, b), then, otherwise)


@instruction(simd.copy_sign, f32x16, f32x16, f32x16)
def _copy_sign(context: Any, builder: Any, a: Any, b: Any) -> Any:
    magnitude = builder.and_(builder.bitcast(a, _int_vector), _all(0x7FFFFFFF))
    sign = builder.and_(builder.bitcast(b, _int_vector), _all(-0x80000000))
    return builder.bitcast(builder.or_(magnitude, sign), _vector)


@instruction(simd.square_root, f32x16, f32x16)
def _square_root(context: Any, builder: Any, a: Any) -> Any:
    return _call(builder, "sqrt", a)


@instruction(simd.select_first, f32x16, types.int64, f32x16, f32x16)
def _select_first(context: Any, builder: Any, count: Any, then: Any, otherwise: Any) -> Any:
    return builder.select(_first_lanes(builder, count), then, otherwise)


def _first_lanes(builder: Any, count: Any) -> Any:
    undefined = ir.Constant(_int_vector, ir.Undefined)
    first = builder.insert_element(undefined, builder.trunc(count, _i32), ir.Constant(_i32, 0))
    counts = builder.shuffle_vector(first, undefined, _all(0))
    lanes = ir.Constant(_int_vector, list(range(LANES)))
    return builder.icmp_signed("<", lanes, counts)


@instruction(simd.power_of_two, f32x16, f32x16)
def _power_of_two(context: Any, builder: Any, exponent: Any) -> Any:
    # Adding 1.5 * 2**23 leaves the whole number in the low bits, without a conversion that NaN would make undefined.
    shifted = builder.fadd(exponent, ir.Constant(_vector, [12582912.0] * LANES))
    biased = builder.add(builder.bitcast(shifted, _int_vector), _all(127))
    return builder.bitcast(builder.shl(biased, _all(23)), _vector)


@instruction(simd.split_exponent, types.UniTuple(f32x16, 2), f32x16)
def _split_exponent(context: Any, builder: Any, value: Any) -> Any:
    bits = builder.bitcast(value, _int_vector)
    # 0x3F2AAAAB is 2/3: subtracting it makes the exponent field count from there.
    exponent = builder.ashr(builder.sub(bits, _all(0x3F2AAAAB)), _all(23))
    mantissa = builder.sub(bits, builder.shl(exponent, _all(23)))
    return cgutils.pack_array(builder, [builder.sitofp(exponent, _vector), builder.bitcast(mantissa, _vector)])


@instruction(simd.split_angle, types.UniTuple(f32x16, 3), f32x16)
def _split_angle(context: Any, builder: Any, angle: Any) -> Any:
    bits = builder.bitcast(angle, _int_vector)
    field = builder.and_(builder.lshr(bits, _all(23)), _all(0xFF))
    exponent = builder.sub(_within(builder, field, simd.LEAST_ANGLE_EXPONENT, 254), _all(simd.LEAST_ANGLE_EXPONENT))
    mantissa = builder.zext(builder.or_(builder.and_(bits, _all(0x7FFFFF)), _all(0x800000)), _long_vector)
    turns = builder.mul(mantissa, _turns_of(builder, exponent))
    n = builder.lshr(builder.add(turns, _all_long(1 << 61)), _all_long(62))
    fraction = builder.sub(turns, builder.shl(n, _all_long(62)))
    high = builder.ashr(fraction, _all_long(40))
    low = builder.and_(builder.lshr(fraction, _all_long(16)), _all_long(0xFFFFFF))
    return cgutils.pack_array(
        builder, [builder.sitofp(builder.trunc(part, _int_vector), _vector) for part in (n, high, low)]
    )


def _within(builder: Any, value: Any, least: int, largest: int) -> Any:
    value = builder.select(builder.icmp_signed("<", value, _all(least)), _all(least), value)
    return builder.select(builder.icmp_signed(">", value, _all(largest)), _all(largest), value)


def _turns_of(builder: Any, exponent: Any) -> Any:
    """Look up each lane's entry of `simd.TURNS`."""
    table_type = ir.ArrayType(_i64, len(simd.TURNS))
    table = cgutils.global_constant(builder, "grurt_turns", ir.Constant(table_type, list(simd.TURNS)))
    found = ir.Constant(_long_vector, ir.Undefined)
    for lane in range(LANES):
        place = ir.Constant(_i32, lane)
        entry = builder.gep(table, [ir.Constant(_i32, 0), builder.extract_element(exponent, place)])
        found = builder.insert_element(found, builder.load(entry), place)
    return found


def _reduction(definition: Any, combine: Callable[[Any, Any, Any], Any]) -> None:
    @instruction(definition, types.float32, f32x16)
    def write(context: Any, builder: Any, lanes: Any) -> Any:
        width = LANES
        while width > 1:
            width //= 2
            order = list(range(width, 2 * width)) + list(range(LANES - width))
            upper = builder.shuffle_vector(lanes, lanes, ir.Constant(_int_vector, order))
            lanes = combine(builder, lanes, upper)
        return builder.extract_element(lanes, ir.Constant(_i32, 0))


_reduction(simd.sum_lanes, lambda builder, a, b: builder.fadd(a, b))
_reduction(simd.max_lanes, lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), b, a))
_reduction(
    simd.largest_magnitude,
    lambda builder, a, b: builder.select(
        builder.icmp_signed("<", builder.bitcast(a, _int_vector), builder.bitcast(b, _int_vector)), b, a
    ),
)


def _all(number: int) -> Any:
    return ir.Constant(_int_vector, [number] * LANES)


def _all_long(number: int) -> Any:
    return ir.Constant(_long_vector, [number] * LANES)


def _call(builder: Any, name: str, *values: Any) -> Any:
    """Call an LLVM intrinsic of vectors: by name, because llvmlite's declare_intrinsic does not know their types."""
    function_type = ir.FunctionType(_vector, [_vector] * len(values))
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, values)


def _arithmetic(python_operator: Callable[..., Any], llvm_instruction: str) -> None:
    @type_callable(python_operator)
    def type_call(context: Any) -> Any:
        return lambda a, b: f32x16 if isinstance(a, F32x16) and isinstance(b, F32x16) else None

    @lower_builtin(python_operator, F32x16, F32x16)
    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return getattr(builder, llvm_instruction)(*values)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
