"""What the timesteps of a sequence come to: sums, means, maxima, and means weighted by a softmax.

The state of a stream begins with rows as those of x: of sums ``total`` and ``rest``, what rounding has left of it; of
maxima ``largest``. Behind them is a row of ``count`` and its rest: how many timesteps have counted. A softmax has three
rows of scores instead: the ``reference`` that scores are compared with, and the sum of weights with its rest. States
begin as zeros; where nothing has counted, what is behind the rows says so.

Sums are compensated: the error of each addition is known exactly (Knuth, "The Art of Computer Programming", volume 2,
4.2.2), and summed beside.
"""

from typing import NamedTuple

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.combining import maximum
from grurt.kernels.functions import exp
from grurt.kernels.options import kernel
from grurt.kernels.rows import Rows, flush, row_at
from grurt.kernels.simd import (
    fma,
    load,
    load_f32,
    load_i64,
    magnitude,
    select_equal,
    select_less,
    splat,
    store,
    store_f32,
)
from grurt.kernels.sizes import F32_BYTES
from grurt.kernels.tables import state_of
from grurt.lanes import LANES

_INFINITY = float("inf")

SCORE_MARGIN = 8.0
"""How far scores may exceed the reference before they become it: so sums are seldom multiplied, and stay exact."""


class PoolingMemory(NamedTuple):
    """The rows that a pooling reads and writes: where there is no mask, its address is 0.

    ``work`` is the address of two rows of scores: weights, and factors of the sums so far.
    """

    x: Rows
    scores: Rows
    mask: Rows
    work: int
    out: Rows


@kernel
def pool_time(op, memory, states, n_rows, first_answer):
    """``out = what x has come to so far``, in the rows from ``first_answer`` on; a row is a timestep, or a stream."""
    for row in range(n_rows):
        state = state_of(states, row)
        if memory.mask.address == 0 or load_f32(row_at(memory.mask, row), 0) != 0.0:
            _take(op, memory, state, row)
        if row >= first_answer:
            _answer(op, state, memory.x.stride, row_at(memory.out, row))


@kernel
def _take(op, memory, state, row):
    """Let a timestep count."""
    operation, size, stride = load_i64(op, codes.OP_FUNCTION), load_i64(op, codes.OP_IN_SIZE), memory.x.stride
    x = row_at(memory.x, row)
    if operation == codes.POOL_SOFTMAX:
        score_size = load_i64(op, codes.OP_SCORE_SIZE)
        _weigh(row_at(memory.scores, row), score_size, state + 2 * stride, memory.work)
        _add_weighted(x, size, score_size, memory.work, state, stride)
    elif operation == codes.POOL_MAX:
        _enlarge(x, size, state, state + stride)
        _count(state + stride)
    else:
        for i in range(0, size, LANES):
            _add(state, stride, i, load(x, i))
        _count(state + 2 * stride)


@kernel
def _add(state, stride, i, x):
    """``total + rest += x``, at an index of two rows."""
    total = load(state, i)
    new = total + x
    back = new - total
    error = (total - (new - back)) + (x - back)
    store(state, i, new)
    store(state + stride, i, flush(load(state + stride, i) + error))


@kernel
def _scale(state, stride, i, factor):
    """``total + rest *= factor``, at an index of two rows."""
    total = load(state, i)
    product = total * factor
    error = fma(total, factor, splat(0.0) - product)
    store(state, i, flush(product))
    store(state + stride, i, flush(fma(load(state + stride, i), factor, error)))


@kernel
def _sum(state, stride, i):
    """``total + rest``; where the total is infinite or NaN, that."""
    total = load(state, i)
    return select_less(magnitude(total), splat(_INFINITY), total + load(state + stride, i), total)


@kernel
def _count(address):
    """``count + rest += 1``: two numbers count beyond the 2**24 of one."""
    count = load_f32(address, 0)
    new = count + float32(1.0)
    back = new - count
    store_f32(address, 0, new)
    store_f32(address, 1, load_f32(address, 1) + ((count - (new - back)) + (float32(1.0) - back)))


@kernel
def _enlarge(x, size, state, count):
    """``largest = max(largest, x)``, or x where nothing has counted yet; NaN stays."""
    is_first = load_f32(count, 0) == float32(0.0)
    for i in range(0, size, LANES):
        xi = load(x, i)
        store(state, i, xi if is_first else maximum(load(state, i), xi))


@kernel
def _weigh(scores, size, state, work):
    """``weight = exp(score - reference)``; the sum of weights, whose reference a score becomes that is far above it."""
    stride = F32_BYTES * ((size + LANES - 1) // LANES * LANES)
    for i in range(0, size, LANES):
        score, old, weights = load(scores, i), load(state, i), load(state + stride, i)
        zero = splat(0.0)
        reference = select_less(old + splat(SCORE_MARGIN), score, score, old)
        reference = select_equal(weights, zero, score, reference)
        factor = select_equal(weights, zero, zero, select_equal(reference, old, splat(1.0), exp(old - reference)))
        weight = select_equal(score, splat(-_INFINITY), zero, flush(exp(score - reference)))
        store(state, i, reference)
        store(work, i, weight)
        store(work + stride, i, factor)
        _scale(state + stride, stride, i, factor)
        _add(state + stride, stride, i, weight)


@kernel
def _add_weighted(x, size, score_size, work, state, stride):
    """``total = factor * total + weight * x``."""
    factors = work + F32_BYTES * ((score_size + LANES - 1) // LANES * LANES)
    if score_size == 1:
        weight, factor = splat(load_f32(work, 0)), splat(load_f32(factors, 0))
        for i in range(0, size, LANES):
            _scale(state, stride, i, factor)
            _add(state, stride, i, flush(weight * load(x, i)))
    else:
        for i in range(0, size, LANES):
            _scale(state, stride, i, load(factors, i))
            _add(state, stride, i, flush(load(work, i) * load(x, i)))


@kernel
def _answer(op, state, stride, out):
    """Write what the timesteps so far have come to: 0 where none has counted."""
    operation, size = load_i64(op, codes.OP_FUNCTION), load_i64(op, codes.OP_IN_SIZE)
    if operation == codes.POOL_MAX:
        for i in range(0, size, LANES):
            store(out, i, load(state, i))
    elif operation == codes.POOL_SOFTMAX:
        _answer_weighted(size, load_i64(op, codes.OP_SCORE_SIZE), state, stride, out)
    elif operation == codes.POOL_MEAN:
        count = state + 2 * stride
        counted = load_f32(count, 0) + load_f32(count, 1)
        divisor = splat(counted if counted > float32(0.0) else float32(1.0))
        for i in range(0, size, LANES):
            store(out, i, _sum(state, stride, i) / divisor)
    else:
        for i in range(0, size, LANES):
            store(out, i, _sum(state, stride, i))


@kernel
def _answer_weighted(size, score_size, state, stride, out):
    """``out = total / weights``; 0 where nothing weighs anything."""
    score_stride = F32_BYTES * ((score_size + LANES - 1) // LANES * LANES)
    weights = state + 2 * stride + score_stride
    if score_size == 1:
        weight = splat(load_f32(weights, 0) + load_f32(weights + score_stride, 0))
        for i in range(0, size, LANES):
            store(out, i, _divided(_sum(state, stride, i), weight))
    else:
        for i in range(0, size, LANES):
            store(out, i, _divided(_sum(state, stride, i), _sum(weights, score_stride, i)))


@kernel
def _divided(total, weight):
    return total / select_equal(weight, splat(0.0), splat(1.0), weight)
