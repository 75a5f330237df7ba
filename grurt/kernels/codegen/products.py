"""The code of the blocks of `grurt.kernels.products`: in LLVM's language, a loop for each format of weights."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from grurt.kernels import codes, targets
from grurt.kernels.codegen.narrow import read_float16
from grurt.kernels.codegen.simd import f32x16
from grurt.kernels.products import BLOCKS, RECORD_HEADER, Product, Shape
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES

_f32 = ir.FloatType()
_i8 = ir.IntType(8)
_i16 = ir.IntType(16)
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_floats = ir.VectorType(_f32, LANES)
_ints = ir.VectorType(_i32, LANES)
_shorts = ir.VectorType(_i16, 2 * LANES)
_products = ir.VectorType(_i32, 2 * LANES)


def _register(definition: Product, block: Shape) -> None:
    """Teach Numba to compile calls of a block's instruction."""
    sums_type = types.UniTuple(f32x16, block.rows * block.outputs)

    @type_callable(definition)
    def type_call(context: Any) -> Any:
        def typed(weights: Any, x: Any, sums: Any) -> Any:
            return sums_type(weights, x, sums_type)

        return typed

    @lower_builtin(definition, types.NamedUniTuple, types.NamedUniTuple, sums_type)
    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return cgutils.pack_array(builder, _product(builder, block, *values))


def _product(builder: Any, block: Shape, panels: Any, x: Any, sums: Any) -> list[Any]:
    """Write a loop for each format of weights, one of which is taken; return the sums."""
    weight_format, weights, panel_stride, inputs = cgutils.unpack_tuple(builder, panels)
    first_row, x_stride = cgutils.unpack_tuple(builder, x)
    start = cgutils.unpack_tuple(builder, sums)
    starts = [_at(builder, weights, panel_stride, i) for i in range(block.panels)]
    rows = [_at(builder, first_row, x_stride, i) for i in range(block.rows)]
    results = [cgutils.alloca_once(builder, _floats) for _ in start]
    after = builder.append_basic_block("product")
    unknown = builder.append_basic_block("unknown_format")
    switch = builder.switch(weight_format, unknown)
    for code, write in _LOOPS.items():
        case = builder.append_basic_block("format")
        switch.add_case(ir.Constant(_i64, code), case)
        builder.position_at_end(case)
        for total, result in zip(write(builder, block, starts, rows, inputs, start), results, strict=True):
            builder.store(total, result)
        builder.branch(after)
    builder.position_at_end(unknown)
    builder.unreachable()
    builder.position_at_end(after)
    return [builder.load(result) for result in results]


def _add_float32(builder: Any, block: Shape, panels: Any, rows: Any, inputs: Any, start: Any) -> list[Any]:
    return _add_floats(builder, block, panels, rows, inputs, start, _load_float32, VECTOR_BYTES)


def _add_float16(builder: Any, block: Shape, panels: Any, rows: Any, inputs: Any, start: Any) -> list[Any]:
    return _add_floats(builder, block, panels, rows, inputs, start, read_float16, VECTOR_BYTES // 2)


def _add_floats(
    builder: Any,
    block: Shape,
    panels: list[Any],
    rows: list[Any],
    inputs: Any,
    start: list[Any],
    load_weights: Callable[..., Any],
    vector_bytes: int,
) -> list[Any]:
    """``sum = fma(W[:, k], x[k], sum)`` for every k in order."""
    sums = [cgutils.alloca_once_value(builder, value) for value in start]

    def turn(k: Any) -> None:
        column = [
            load_weights(builder, _at(builder, _at(builder, panel, k, block.vectors * vector_bytes), i, vector_bytes))
            for panel in panels
            for i in range(block.vectors)
        ]
        for row, address in enumerate(rows):
            xk = _splat(builder, _load(builder, _at(builder, address, k, F32_BYTES), _f32))
            for i, w in enumerate(column):
                total = sums[row * block.outputs + i]
                builder.store(_fma(builder, w, xk, builder.load(total)), total)

    # A block of rows is limited by arithmetic, in whose way counting and branching would be; one row by memory.
    _repeat(builder, inputs, 2 if len(rows) > 1 else 1, turn)
    return [builder.load(total) for total in sums]


def _add_int8(builder: Any, block: Shape, panels: Any, rows: Any, inputs: Any, start: Any) -> list[Any]:
    return _add_bytes(builder, block, panels, rows, inputs, start, _whole_bytes, 1)


def _add_int4(builder: Any, block: Shape, panels: Any, rows: Any, inputs: Any, start: Any) -> list[Any]:
    return _add_bytes(builder, block, panels, rows, inputs, start, _halves_of_bytes, 2)


def _whole_bytes(builder: Any, loaded: Any) -> list[Any]:
    return [loaded]


def _halves_of_bytes(builder: Any, loaded: Any) -> list[Any]:
    """Return the lower and the upper halves, each as a byte of 16 times its value: shifting keeps the sign."""
    upper = _all(-0x0F0F0F10)
    return [builder.and_(builder.shl(loaded, _all(4)), upper), builder.and_(loaded, upper)]


def _add_bytes(
    builder: Any,
    block: Shape,
    panels: list[Any],
    rows: list[Any],
    inputs: Any,
    start: list[Any],
    unpack: Callable[..., list[Any]],
    parts: int,
) -> list[Any]:
    """``sum + scale * (correction + sum of W[:, k] q[k])``: q are bytes from 1 to 255, 128 being zero.

    ``unpack`` makes vectors of four inputs' weights, ``parts`` of them, of a vector as it lies in memory. Where the CPU
    multiplies signed bytes by signed ones only, the sum is that of ``W[:, k] (q[k] - 128)``, and nothing is corrected.
    """
    capabilities = targets.capabilities()
    is_signed = targets.DOT_PRODUCT in capabilities
    header = [
        (
            _load(builder, _at(builder, panel, i, VECTOR_BYTES), _floats),
            _load(builder, _at(builder, panel, block.vectors + i, VECTOR_BYTES), _ints),
        )
        for panel in panels
        for i in range(block.vectors)
    ]
    first = [_all(0) if is_signed else correction for _, correction in header]
    sums = [cgutils.alloca_once_value(builder, value) for _ in rows for value in first]

    def turn(group: Any) -> None:
        starts = [_at(builder, panel, group, block.vectors * VECTOR_BYTES) for panel in panels]
        column = [
            unpack(builder, _load(builder, _at(builder, start, 2 * block.vectors + i, VECTOR_BYTES), _ints))
            for start in starts
            for i in range(block.vectors)
        ]
        for row, address in enumerate(rows):
            features = _at(builder, _at(builder, address, 1, RECORD_HEADER), group, 4 * parts)
            for part in range(parts):
                four = _load(builder, _at(builder, features, part, 4), _i32)
                q = _splat(builder, builder.xor(four, ir.Constant(_i32, -0x7F7F7F80)) if is_signed else four)
                for i, w in enumerate(column):
                    total = sums[row * block.outputs + i]
                    builder.store(_add_dot(builder, capabilities, builder.load(total), q, w[part]), total)

    groups = builder.sdiv(builder.add(inputs, ir.Constant(_i64, 4 * parts - 1)), ir.Constant(_i64, 4 * parts))
    _repeat(builder, groups, 1, turn)
    results = []
    for row, address in enumerate(rows):
        row_scale = _splat(builder, _load(builder, address, _f32))
        for i, (scale, _) in enumerate(header):
            index = row * block.outputs + i
            total = builder.sitofp(builder.load(sums[index]), _floats)
            results.append(_fma(builder, total, builder.fmul(scale, row_scale), start[index]))
    return results


_LOOPS: dict[int, Callable[..., list[Any]]] = {
    codes.FLOAT32: _add_float32,
    codes.FLOAT16: _add_float16,
    codes.INT8: _add_int8,
    codes.INT4: _add_int4,
}


def _repeat(builder: Any, count: Any, unrolled: int, turn: Callable[[Any], None]) -> None:
    """Write a loop of ``turn(0), turn(1), ...``, some turns at a time."""
    whole = builder.sdiv(count, ir.Constant(_i64, unrolled))
    with cgutils.for_range(builder, whole) as loop:
        for i in range(unrolled):
            turn(builder.add(builder.mul(loop.index, ir.Constant(_i64, unrolled)), ir.Constant(_i64, i)))
    if unrolled > 1:
        done = builder.mul(whole, ir.Constant(_i64, unrolled))
        with cgutils.for_range(builder, builder.sub(count, done)) as loop:
            turn(builder.add(done, loop.index))


def _at(builder: Any, address: Any, *factors: Any) -> Any:
    """``address`` plus the product of the factors, which are numbers or values."""
    offset = ir.Constant(_i64, 1)
    for factor in factors:
        offset = builder.mul(offset, ir.Constant(_i64, factor) if isinstance(factor, int) else factor)
    return builder.add(address, offset)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1 if kind is _i32 else 4)


def _load_float32(builder: Any, address: Any) -> Any:
    return _load(builder, address, _floats)


def _splat(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_i32, 0))
    return builder.shuffle_vector(first, undefined, _all(0))


def _all(number: int, kind: Any = _ints) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def _call(builder: Any, name: str, result: Any, args: list[Any]) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, f"llvm.fma.v{LANES}f32", _floats, [a, b, c])


def _add_dot(builder: Any, capabilities: frozenset[str], total: Any, q: Any, w: Any) -> Any:
    """``total + sum of q[i] w[i]`` over the four bytes of each lane, w with a sign; nothing saturates.

    q is without a sign, but for Arm's dot product.
    """
    if targets.VNNI_512 in capabilities:
        return _call(builder, "llvm.x86.avx512.vpdpbusd.512", _ints, [total, q, w])
    if targets.VNNI_256 in capabilities:
        return _in_parts(builder, 8, _dot_of_eight, total, q, w)
    if targets.DOT_PRODUCT in capabilities:
        return _in_parts(builder, 4, _signed_dot_of_four, total, q, w)
    # Even and odd bytes as 16-bit numbers, whose products LLVM adds up in pairs.
    w16, q16 = builder.bitcast(w, _shorts), builder.bitcast(q, _shorts)
    eight = _all(8, _shorts)
    even = _pair_sums(
        builder,
        builder.ashr(builder.shl(w16, eight), eight),
        builder.and_(q16, _all(255, _shorts)),
    )
    odd = _pair_sums(builder, builder.ashr(w16, eight), builder.lshr(q16, eight))
    return builder.add(total, builder.add(even, odd))


def _dot_of_eight(builder: Any, total: Any, q: Any, w: Any) -> Any:
    return _call(builder, "llvm.x86.avx512.vpdpbusd.256", total.type, [total, q, w])


def _signed_dot_of_four(builder: Any, total: Any, q: Any, w: Any) -> Any:
    q, w = (builder.bitcast(vector, ir.VectorType(_i8, 16)) for vector in (q, w))
    return _call(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", total.type, [total, q, w])


def _in_parts(builder: Any, lanes: int, compute: Callable[..., Any], *vectors: Any) -> Any:
    """Compute with one part of the lanes of vectors after the other, and join the results."""
    undefined = ir.Constant(_ints, ir.Undefined)
    results = []
    for first in range(0, LANES, lanes):
        chosen = ir.Constant(ir.VectorType(_i32, lanes), list(range(first, first + lanes)))
        results.append(compute(builder, *(builder.shuffle_vector(vector, undefined, chosen) for vector in vectors)))
    while len(results) > 1:
        count = 2 * results[0].type.count
        both = ir.Constant(ir.VectorType(_i32, count), list(range(count)))
        results = [builder.shuffle_vector(a, b, both) for a, b in zip(results[::2], results[1::2], strict=True)]
    return results[0]


def _pair_sums(builder: Any, a: Any, b: Any) -> Any:
    """``a[2 i] b[2 i] + a[2 i + 1] b[2 i + 1]`` as int32, exactly."""
    products = builder.mul(builder.sext(a, _products), builder.sext(b, _products))
    undefined = ir.Constant(_products, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(products, undefined, ir.Constant(_ints, list(range(first, 2 * LANES, 2))))
        for first in (0, 1)
    )
    return builder.add(even, odd)


for _definition, _shape in BLOCKS.items():
    _register(_definition, _shape)
