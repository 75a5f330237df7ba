"""Operations on rows of features that need no neighbouring timestep: copies, arithmetic, functions, lookups."""

from numba import float32

from grurt.kernels import codes
from grurt.kernels.functions import apply
from grurt.kernels.narrow import load_float16, load_int8
from grurt.kernels.options import kernel
from grurt.kernels.simd import (
    F32_BYTES,
    fma,
    load,
    load_f32,
    load_i64,
    magnitude,
    select_less,
    splat,
    store,
    store_f32,
)
from grurt.lanes import LANES

_TINY = 1e-30


@kernel
def copy(source, target, count):
    """``target[:count] = source[:count]``, float32 at addresses; whole vectors first, then what is left."""
    i = 0
    while i + LANES <= count:
        store(target, i, load(source, i))
        i += LANES
    while i < count:
        store_f32(target, i, load_f32(source, i))
        i += 1


@kernel
def flush(x):
    """Zero where |x| is below 1e-30: on the way to denormal numbers, which are slow; NaN stays NaN."""
    return select_less(magnitude(x), splat(_TINY), splat(0.0), x)


@kernel
def read_rows(source, source_stride, target, target_stride, count, rows):
    """``target[i, :count] = flush(source[i, :count])`` for each row; strides in float32."""
    for _ in range(rows):
        i = 0
        while i + LANES <= count:
            store(target, i, flush(load(source, i)))
            i += LANES
        while i < count:
            # One by one: a vector load right behind stores of single numbers would wait for them.
            number = load_f32(source, i)
            store_f32(target, i, float32(0.0) if abs(number) < float32(_TINY) else number)
            i += 1
        source += F32_BYTES * source_stride
        target += F32_BYTES * target_stride


@kernel
def copy_rows(source, source_stride, target, target_stride, count, rows):
    """``target[i, :count] = source[i, :count]`` for each row; strides in float32."""
    for _ in range(rows):
        copy(source, target, count)
        source += F32_BYTES * source_stride
        target += F32_BYTES * target_stride


@kernel
def copy_positions(source, source_step, source_stride, target, target_step, target_stride, count, positions, rows):
    """Copy ``count`` numbers at each position of each row: positions are a stride apart, rows a step."""
    for _ in range(rows):
        copy_rows(source, source_stride, target, target_stride, count, positions)
        source += F32_BYTES * source_step
        target += F32_BYTES * target_step


@kernel
def feature_mask(value, x, x_stride, size, out, out_stride, rows):
    """``out[i, 0] = 0 if all(x[i, :size] == value) else 1``."""
    for _ in range(rows):
        used = float32(0.0)
        for k in range(size):
            if load_f32(x, k) != value:
                used = float32(1.0)
        store_f32(out, 0, used)
        x += F32_BYTES * x_stride
        out += F32_BYTES * out_stride


@kernel
def token_mask(token, tokens, tokens_stride, out, out_stride, rows):
    """``out[i, 0] = 0 if tokens[i] == token else 1``: tokens int64."""
    for i in range(rows):
        used = float32(1.0)
        if load_i64(tokens, tokens_stride * i) == token:
            used = float32(0.0)
        store_f32(out, out_stride * i, used)


@kernel
def add(a, a_stride, b, b_stride, out, out_stride, rows):
    """``out = a + b``, in whole vectors; out may be a."""
    for _ in range(rows):
        for i in range(0, out_stride, LANES):
            store(out, i, load(a, i) + load(b, i))
        a += F32_BYTES * a_stride
        b += F32_BYTES * b_stride
        out += F32_BYTES * out_stride


@kernel
def mul(a, a_stride, b, b_stride, out, out_stride, rows):
    """``out = a * b``, in whole vectors; out may be a."""
    for _ in range(rows):
        for i in range(0, out_stride, LANES):
            store(out, i, load(a, i) * load(b, i))
        a += F32_BYTES * a_stride
        b += F32_BYTES * b_stride
        out += F32_BYTES * out_stride


@kernel
def function(code, parameters, x, out, stride, rows):
    """``out = f(x)``, in whole vectors, for the function ``code`` of `codes` with parameters at an address."""
    for i in range(0, rows * stride, LANES):
        store(out, i, apply(code, parameters, load(x, i)))


@kernel
def prelu(weights, x, out, stride, rows):
    """``out = x if x >= 0 else weight * x``: weights ``(stride,)``."""
    zero = splat(0.0)
    for _ in range(rows):
        for i in range(0, stride, LANES):
            xi = load(x, i)
            store(out, i, select_less(xi, zero, load(weights, i) * xi, xi))
        x += F32_BYTES * stride
        out += F32_BYTES * stride


@kernel
def batch_norm(weights, x, out, stride, rows):
    """``out = (x - mean) * scale + bias``: weights ``(3, stride)`` are mean, scale and bias.

    The mean is taken off first, not folded into the bias, because x and mean can be far larger than their difference.
    """
    for _ in range(rows):
        for i in range(0, stride, LANES):
            centred = load(x, i) - load(weights, i)
            store(out, i, fma(centred, load(weights, stride + i), load(weights, 2 * stride + i)))
        x += F32_BYTES * stride
        out += F32_BYTES * stride


@kernel
def embedding(weights_format, weights, vocabulary_size, tokens, tokens_stride, out, stride, rows):
    """``out[i] = weights[tokens[i]]``: tokens int64, weights ``(vocabulary, stride)``.

    With INT8, the scales of the rows stand before them, ``(vocabulary,)`` float32, filled up to whole vectors.
    """
    scales = weights
    if weights_format == codes.INT8:
        weights += F32_BYTES * ((vocabulary_size + LANES - 1) // LANES * LANES)
    for i in range(rows):
        # In range when it was checked, but the caller's memory may have changed since.
        token = min(max(load_i64(tokens, tokens_stride * i), 0), vocabulary_size - 1)
        target = out + F32_BYTES * stride * i
        if weights_format == codes.FLOAT32:
            copy(weights + F32_BYTES * stride * token, target, stride)
        elif weights_format == codes.FLOAT16:
            for k in range(0, stride, LANES):
                store(target, k, load_float16(weights + 2 * (stride * token + k)))
        else:
            scale = splat(load_f32(scales, token))
            for k in range(0, stride, LANES):
                store(target, k, load_int8(weights + stride * token + k) * scale)
