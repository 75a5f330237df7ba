"""Sixteen float32 lanes as a Numba type, and the few instructions that the kernels are written in.

A value of type `F32x16` is an LLVM ``<16 x float>``. LLVM maps it to one AVX-512 register, two AVX registers, four
NEON registers or sixteen scalars, whatever the target has, so a kernel has the same lanes and the same order of
operations on every CPU. All arithmetic is IEEE single precision, rounded to nearest; no fast-math flag is ever set,
so that results are the same bits everywhere, and NaN stays NaN.

Memory is addressed by integers: an address (``int64``, bytes) and an index (in elements of the loaded type). Nothing is
checked; that is the caller's part.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

from grurt.kernels.sizes import F32_BYTES
from grurt.lanes import LANES

_f32 = ir.FloatType()
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_vector = ir.VectorType(_f32, LANES)
_int_vector = ir.VectorType(_i32, LANES)


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


def _element_load(name: str, element: ir.Type, result: types.Type, doc: str) -> Any:
    def typer(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_pointer(builder, args[0], args[1], element))

        return result(types.int64, types.int64), codegen

    typer.__name__, typer.__doc__ = name, doc
    return intrinsic(typer)


def _element_store(name: str, element: ir.Type, value_type: types.Type, doc: str) -> Any:
    def typer(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _pointer(builder, args[0], args[1], element))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, value_type), codegen

    typer.__name__, typer.__doc__ = name, doc
    return intrinsic(typer)


load_f32 = _element_load("load_f32", _f32, types.float32, "``float32 at address[index]``.")
load_i32 = _element_load("load_i32", _i32, types.int32, "``int32 at address[index]``.")
load_i64 = _element_load("load_i64", _i64, types.int64, "``int64 at address[index]``.")
store_f32 = _element_store("store_f32", _f32, types.float32, "``address[index] = value``.")
store_i64 = _element_store("store_i64", _i64, types.int64, "``address[index] = value``.")


@intrinsic
def load(typingctx: Any, address: Any, index: Any) -> Any:
    """Sixteen floats at ``address[index:index + 16]``, of any alignment."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_pointer(builder, args[0], args[1], _f32), _vector.as_pointer())
        return builder.load(pointer, align=F32_BYTES)

    return f32x16(types.int64, types.int64), codegen


@intrinsic
def store(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
    """``address[index:index + 16] = value``, of any alignment."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_pointer(builder, args[0], args[1], _f32), _vector.as_pointer())
        builder.store(args[2], pointer, align=F32_BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, f32x16), codegen


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """The same number, rounded to float32, in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.cast(builder, args[0], signature.args[0], types.float32)
        first = builder.insert_element(ir.Constant(_vector, ir.Undefined), number, ir.Constant(_i32, 0))
        zeros = ir.Constant(_int_vector, [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_vector, ir.Undefined), zeros)

    return f32x16(value), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` with one rounding."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's declare_intrinsic does not know vector types: the intrinsic is declared by name.
        function_type = ir.FunctionType(_vector, [_vector] * 3)
        return builder.call(
            cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fma.v{LANES}f32"), args
        )

    return f32x16(f32x16, f32x16, f32x16), codegen


@intrinsic
def magnitude(typingctx: Any, a: Any) -> Any:
    """``|a|``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function_type = ir.FunctionType(_vector, [_vector])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fabs.v{LANES}f32"), args
        )

    return f32x16(f32x16), codegen


@intrinsic
def larger_magnitude(typingctx: Any, a: Any, b: Any) -> Any:
    """``max(|a|, |b|)``; a NaN in a or b is larger than everything."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Without its sign, a float's bits are an integer of the same order, NaN above infinity.
        unsigned = ir.Constant(_int_vector, [0x7FFFFFFF] * LANES)
        a, b = (builder.and_(builder.bitcast(x, _int_vector), unsigned) for x in args)
        return builder.bitcast(builder.select(builder.icmp_signed("<", a, b), b, a), _vector)

    return f32x16(f32x16, f32x16), codegen


@intrinsic
def select_less(typingctx: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    """``then if a < b else otherwise``, lane by lane; a NaN in a or b takes ``otherwise``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return f32x16(f32x16, f32x16, f32x16, f32x16), codegen


@intrinsic
def select_first(typingctx: Any, count: Any, then: Any, otherwise: Any) -> Any:
    """``then`` in the lanes below ``count``, ``otherwise`` in the rest."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.insert_element(
            ir.Constant(_int_vector, ir.Undefined), builder.trunc(args[0], _i32), ir.Constant(_i32, 0)
        )
        zeros = ir.Constant(_int_vector, [0] * LANES)
        count = builder.shuffle_vector(first, ir.Constant(_int_vector, ir.Undefined), zeros)
        lanes = ir.Constant(_int_vector, list(range(LANES)))
        return builder.select(builder.icmp_signed("<", lanes, count), args[1], args[2])

    return f32x16(types.int64, f32x16, f32x16), codegen


@intrinsic
def power_of_two(typingctx: Any, exponent: Any) -> Any:
    """``2 ** exponent`` for whole exponents in [-126, 127]; unspecified outside."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Adding 1.5 * 2**23 leaves the whole number in the low bits, without a conversion that NaN would make
        # undefined.
        shifted = builder.fadd(args[0], ir.Constant(_vector, [12582912.0] * LANES))
        biased = builder.add(builder.bitcast(shifted, _int_vector), ir.Constant(_int_vector, [127] * LANES))
        return builder.bitcast(builder.shl(biased, ir.Constant(_int_vector, [23] * LANES)), _vector)

    return f32x16(f32x16), codegen


@intrinsic
def split_exponent(typingctx: Any, value: Any) -> Any:
    """``(exponent, mantissa)`` of normal positive numbers: value = mantissa * 2**exponent, mantissa in [2/3, 4/3)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _int_vector)
        # 0x3F2AAAAB is 2/3: subtracting it makes the exponent field count from there.
        origin = ir.Constant(_int_vector, [0x3F2AAAAB] * LANES)
        exponent = builder.ashr(builder.sub(bits, origin), ir.Constant(_int_vector, [23] * LANES))
        mantissa = builder.sub(bits, builder.shl(exponent, ir.Constant(_int_vector, [23] * LANES)))
        return cgutils.pack_array(builder, [builder.sitofp(exponent, _vector), builder.bitcast(mantissa, _vector)])

    return types.UniTuple(f32x16, 2)(f32x16), codegen


def _reduction(name: str, combine: Callable[[Any, Any, Any], Any], doc: str) -> Any:
    def typer(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes, width = args[0], LANES
            while width > 1:
                width //= 2
                order = list(range(width, 2 * width)) + list(range(LANES - width))
                upper = builder.shuffle_vector(lanes, lanes, ir.Constant(_int_vector, order))
                lanes = combine(builder, lanes, upper)
            return builder.extract_element(lanes, ir.Constant(_i32, 0))

        return types.float32(f32x16), codegen

    typer.__name__, typer.__doc__ = name, doc
    return intrinsic(typer)


sum_lanes = _reduction(
    "sum_lanes",
    lambda builder, a, b: builder.fadd(a, b),
    "Sum of the lanes, halves added to halves: an order that does not depend on the target.",
)
max_lanes = _reduction(
    "max_lanes",
    lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), b, a),
    "Largest lane.",
)
largest_magnitude = _reduction(
    "largest_magnitude",
    lambda builder, a, b: builder.select(
        builder.icmp_signed("<", builder.bitcast(a, _int_vector), builder.bitcast(b, _int_vector)), b, a
    ),
    "Largest lane of what `larger_magnitude` has given; NaN if there is one.",
)


def _arithmetic(python_operator: Callable[..., Any], instruction: str) -> None:
    @type_callable(python_operator)
    def typer(context: Any) -> Any:
        return lambda a, b: f32x16 if isinstance(a, F32x16) and isinstance(b, F32x16) else None

    @lower_builtin(python_operator, F32x16, F32x16)
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
