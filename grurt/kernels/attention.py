"""Attention: what a query finds among the timesteps of a sequence.

A stream's state is its memory: a row of one number, how many timesteps there are; then as many rows of keys, and of
values, as there may be, and their biases. Where keys are values, there are the latter only. A whole sequence is in
scratch memory, all of it.

Timesteps are gone through in tiles of sixteen. What earlier tiles have come to is scaled where a later one has a larger
score, so that no exponential overflows.
"""

import math
from typing import NamedTuple

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.functions import exp, tanh
from grurt.kernels.options import kernel
from grurt.kernels.rows import Rows, copy, row_at
from grurt.kernels.simd import (
    fma,
    load,
    load_f32,
    load_first,
    load_i64,
    max_lanes,
    select_equal,
    select_first,
    select_less,
    splat,
    store,
    store_f32,
    store_first,
)
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.kernels.sums import PARTIAL_SUMS, add_features, add_products, no_features, total
from grurt.kernels.tables import state_of
from grurt.lanes import LANES

_INFINITY = math.inf

TILE = PARTIAL_SUMS
"""Timesteps that are looked at together."""


class AttentionMemory(NamedTuple):
    """The rows that an attention reads and writes: where there is no bias, its address is 0.

    ``weight`` is the address of what additive scores are weighted with, or of what products are scaled by, and ``work``
    that of room for the scores of a tile.
    """

    query: Rows
    keys: Rows
    values: Rows
    bias: Rows
    weight: int
    work: int
    out: Rows


@kernel
def attend_in_sequence(op, memory, first, n_rows):
    """Answer to the queries from row ``first`` on: rows are all timesteps of a sequence."""
    for row in range(first, n_rows):
        _answer(op, memory, row, row + 1 if load_i64(op, codes.OP_CAUSAL) else n_rows)


@kernel
def attend_so_far(op, memory, states, n_rows):
    """Remember each row, a timestep or that of a stream, and answer to its query."""
    max_steps = load_i64(op, codes.OP_MAX_STEPS)
    for row in range(n_rows):
        count = state_of(states, row)
        keys = Rows(count + VECTOR_BYTES, memory.keys.stride)
        values = Rows(keys.address, memory.values.stride)
        shares = load_i64(op, codes.OP_SHARES_MEMORY)
        if not shares:
            values = Rows(keys.address + max_steps * keys.stride, values.stride)
        last = _remembered(count, max_steps)
        copy(row_at(memory.values, row), row_at(values, last), load_i64(op, codes.OP_OUT_SIZE))
        if not shares:
            copy(row_at(memory.keys, row), row_at(keys, last), load_i64(op, codes.OP_KEY_SIZE))
        bias = Rows(0, 0)
        if memory.bias.address:
            bias = Rows(values.address + max_steps * values.stride, F32_BYTES)
            store_f32(bias.address, last, load_f32(row_at(memory.bias, row), 0))
        store_f32(count, 0, float32(last + 1))
        remembered = AttentionMemory(memory.query, keys, values, bias, memory.weight, memory.work, memory.out)
        _answer(op, remembered, row, last + 1)


@kernel
def _remembered(count, max_steps):
    """How many timesteps a memory has; there is room for one more, whatever a caller has set this to."""
    number = load_f32(count, 0)
    if not number > float32(0.0):
        return 0
    if number > float32(max_steps - 1):
        return max_steps - 1
    return int(number)


@kernel
def has_room(op, states, row, n_steps):
    """Whether the stream in a row may have so many timesteps more."""
    n_read = load_f32(state_of(states, row), 0)
    return n_read + float32(n_steps) <= float32(load_i64(op, codes.OP_MAX_STEPS))


@kernel
def _answer(op, memory, row, n_steps):
    """Answer to the query of a row, by the first ``n_steps`` of the timesteps."""
    heads = load_i64(op, codes.OP_HEADS)
    size, key_size = load_i64(op, codes.OP_OUT_SIZE) // heads, load_i64(op, codes.OP_KEY_SIZE) // heads
    for head in range(heads):
        _answer_of_head(op, memory, row, n_steps, head * key_size, key_size, head * size, size)


@kernel
def _answer_of_head(op, memory, row, n_steps, first_key, key_size, first, size):
    """The part ``out[first : first + size]`` of an answer, by the keys' features from ``first_key`` on."""
    out = row_at(memory.out, row) + F32_BYTES * first
    query = row_at(memory.query, row) + F32_BYTES * first_key
    for i in range(0, size, LANES):
        _store(out, i, size, splat(0.0))
    reference, weight_sum = splat(-_INFINITY), splat(0.0)
    for start in range(0, n_steps, TILE):
        count = min(TILE, n_steps - start)
        for j in range(count):
            store_f32(memory.work, j, _score(op, memory, query, start + j, first_key, key_size))
        new = _largest(memory.work, count, reference)
        factor = select_equal(reference, new, splat(1.0), exp(reference - new))
        weight_sum = fma(weight_sum, factor, splat(_weigh(memory.work, count, new)))
        values = Rows(row_at(memory.values, start) + F32_BYTES * first, memory.values.stride)
        _add_weighted(memory.work, values, out, size, count, factor)
        reference = new
    weight_sum = select_equal(weight_sum, splat(0.0), splat(1.0), weight_sum)
    for i in range(0, size, LANES):
        _store(out, i, size, _load(out, i, size) / weight_sum)


@kernel
def _score(op, memory, query, t, first_key, key_size):
    """How well the key of a timestep matches a query."""
    key = row_at(memory.keys, t) + F32_BYTES * first_key
    bias = load_f32(row_at(memory.bias, t), 0) if memory.bias.address else float32(0.0)
    sums = no_features()
    if load_i64(op, codes.OP_FUNCTION) == codes.ATTEND_ADDITIVE:
        weight = memory.weight + F32_BYTES * first_key
        for i in range(0, key_size, LANES):
            compared = tanh(_load(query, i, key_size) + _load(key, i, key_size))
            sums = add_products(sums, compared, _load(weight, i, key_size))
        return total(sums, key_size) + bias
    for i in range(0, key_size, LANES):
        sums = add_products(sums, _load(query, i, key_size), _load(key, i, key_size))
    return total(sums, key_size) * load_f32(memory.weight, 0) + bias


@kernel
def _largest(scores, count, largest):
    """The largest of scores and of what every lane holds, in every lane."""
    for i in range(0, TILE, LANES):
        score = select_first(count - i, load(scores, i), splat(-_INFINITY))
        largest = select_less(largest, score, score, largest)
    return splat(max_lanes(largest))


@kernel
def _weigh(scores, count, reference):
    """Put ``exp(score - reference)`` in the place of each score, and return the sum of these."""
    sums = no_features()
    for i in range(0, TILE, LANES):
        score = select_first(count - i, load(scores, i), splat(-_INFINITY))
        weights = select_equal(score, splat(-_INFINITY), splat(0.0), exp(score - reference))
        store(scores, i, weights)
        sums = add_features(sums, weights)
    return total(sums, TILE)


@kernel
def _add_weighted(weights, values, out, size, count, factor):
    """``out = factor * out + sum_t weight_t value_t``, over the timesteps of a tile."""
    for i in range(0, size, LANES):
        total_so_far = factor * _load(out, i, size)
        for j in range(count):
            total_so_far = fma(splat(load_f32(weights, j)), _load(row_at(values, j), i, size), total_so_far)
        _store(out, i, size, total_so_far)


@kernel
def _load(address, i, size):
    """The features from i on, zeros behind the last: the next head's are not among them."""
    if i + LANES <= size:
        return load(address, i)
    return load_first(address + F32_BYTES * i, size - i)


@kernel
def _store(address, i, size, value):
    """Write the features from i on, and none behind the last."""
    if i + LANES <= size:
        store(address, i, value)
    else:
        store_first(address + F32_BYTES * i, size - i, value)
