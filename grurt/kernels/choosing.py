"""How a token is chosen from the scores of a vocabulary: the best one, or one that is drawn.

Scores are logits, or probabilities, of which logarithms are taken. The sum of weights is added up in float64, in the
order of the tokens, and so every CPU draws the same. Of equal scores the token with the lower number comes first.
"""

import math

from numpy import float32, float64

from grurt.kernels import codes
from grurt.kernels.elementwise import function
from grurt.kernels.functions import exp
from grurt.kernels.options import kernel
from grurt.kernels.philox import uniform
from grurt.kernels.simd import (
    load,
    load_f32,
    load_i64,
    max_lanes,
    select_equal,
    select_first,
    select_less,
    splat,
    store,
    store_f32,
    store_i64,
)
from grurt.lanes import LANES

_INFINITY = math.inf
_LARGEST = 3.4028234663852886e38


@kernel
def prepare(d, row, previous, logits, scores):
    """Write what can be chosen by: the logits, with what row and previous token make of them; return the largest.

    ``scores`` is ``(vocabulary_size,)`` in whole vectors. NaN becomes minus infinity, which is never chosen.
    """
    size, penalized = load_i64(d, codes.DECODING_VOCABULARY_SIZE), load_i64(d, codes.DECODING_SEEN)
    allowed = load_i64(d, codes.DECODING_ALLOWED)
    allowed += load_i64(d, codes.DECODING_ALLOWED_STRIDE) * previous
    seen = penalized + load_i64(d, codes.DECODING_ROW_BYTES) * row
    penalty = splat(load_f32(load_i64(d, codes.DECODING_PARAMETERS), codes.DECODING_PENALTY))
    if load_i64(d, codes.DECODING_OF_PROBABILITIES):
        function(codes.LOG, 0, logits, scores, size)
        logits = scores
    largest = splat(-_INFINITY)
    for i in range(0, size, LANES):
        x = load(logits, i)
        x = select_equal(x, x, select_less(splat(_LARGEST), x, splat(_LARGEST), x), splat(-_INFINITY))
        if penalized:
            changed = select_less(x, splat(0.0), x * penalty, x / penalty)
            x = select_equal(load(seen, i), splat(0.0), x, changed)
        if load_i64(d, codes.DECODING_ALLOWED):
            x = x + load(allowed, i)
        x = select_first(size - i, x, splat(-_INFINITY))
        largest = select_less(largest, x, x, largest)
        store(scores, i, x)
    return max_lanes(largest)


@kernel
def choose(d, row, previous, step, logits):
    """Return the token that comes next, or -1 if none can: ``row`` has the seed, ``step`` numbers the draw."""
    largest = prepare(d, row, previous, logits, load_i64(d, codes.DECODING_WORK))
    return -1 if largest == float32(-_INFINITY) else pick(d, row, step, largest)


@kernel
def pick(d, row, step, largest):
    """Return one of the tokens that `prepare` has left scores of, in working memory: the best, or one that is drawn."""
    scores = load_i64(d, codes.DECODING_WORK)
    size, parameters = load_i64(d, codes.DECODING_VOCABULARY_SIZE), load_i64(d, codes.DECODING_PARAMETERS)
    temperature = load_f32(parameters, codes.DECODING_TEMPERATURE)
    if temperature == float32(0.0):
        return _first_of(scores, largest)
    weights = scores + load_i64(d, codes.DECODING_ROW_BYTES)
    for i in range(0, size, LANES):
        store(weights, i, exp((load(scores, i) - splat(largest)) / splat(temperature)))
    top_k, top_p = load_i64(d, codes.DECODING_TOP_K), load_f32(parameters, codes.DECODING_TOP_P)
    if top_k < size or top_p < float32(1.0):
        weights = _best(d, scores, weights, top_k, top_p)
    return draw(weights, size, uniform(load_i64(load_i64(d, codes.DECODING_SEEDS), row), step))


@kernel
def _first_of(scores, score):
    token = 0
    while load_f32(scores, token) != score:
        token += 1
    return token


@kernel
def draw(weights, size, number):
    """The first token at which the sum of weights exceeds a number in [0, 1) times that of all."""
    total = float64(0.0)
    for token in range(size):
        total += float64(load_f32(weights, token))
    target, so_far, chosen = number * total, float64(0.0), 0
    for token in range(size):
        weight = float64(load_f32(weights, token))
        so_far += weight
        if weight > 0.0:
            chosen = token  # of rounding, nothing may exceed it
            if so_far > target:
                return token
    return chosen


@kernel
def _best(d, scores, weights, top_k, top_p):
    """Return weights, of which all are 0 but those of the best tokens, so many or with so much of the sum."""
    size, row_bytes = load_i64(d, codes.DECODING_VOCABULARY_SIZE), load_i64(d, codes.DECODING_ROW_BYTES)
    kept, heap = weights + row_bytes, weights + 2 * row_bytes
    total = float64(0.0)
    for i in range(0, size, LANES):
        store(kept, i, splat(0.0))
    for token in range(size):
        store_i64(heap, token, token)
        total += float64(load_f32(weights, token))
    for i in range(size // 2 - 1, -1, -1):
        _sift(heap, size, i, scores)
    count = min(top_k, size)
    if count < size:
        total = float64(0.0)
        for left in range(size, size - count, -1):
            total += float64(load_f32(weights, _pop(heap, left, scores)))
        left, so_far, limit = size, float64(0.0), float64(top_p) * total
        while left > size - count and (so_far < limit or left == size):
            left -= 1
            token = load_i64(heap, left)
            so_far += float64(load_f32(weights, token))
            store_f32(kept, token, load_f32(weights, token))
        return kept
    so_far, limit, left = float64(0.0), float64(top_p) * total, size
    while left > 0 and (so_far < limit or left == size):
        token = _pop(heap, left, scores)
        left -= 1
        so_far += float64(load_f32(weights, token))
        store_f32(kept, token, load_f32(weights, token))
    return kept


@kernel
def _pop(heap, size, scores):
    """Take the best of a heap of tokens, which goes behind the others; return it."""
    best = load_i64(heap, 0)
    store_i64(heap, 0, load_i64(heap, size - 1))
    store_i64(heap, size - 1, best)
    _sift(heap, size - 1, 0, scores)
    return best


@kernel
def _sift(heap, size, i, scores):
    """Let the token at a place of a heap sink below those that are better."""
    token = load_i64(heap, i)
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and _is_better(scores, load_i64(heap, child + 1), load_i64(heap, child)):
            child += 1
        if not _is_better(scores, load_i64(heap, child), token):
            break
        store_i64(heap, i, load_i64(heap, child))
        i = child
    store_i64(heap, i, token)


@kernel
def _is_better(scores, token, other):
    score, others = load_f32(scores, token), load_f32(scores, other)
    return score > others or (score == others and token < other)


@kernel
def note_seen(d, row, token):
    """Take note that a row has read or given a token, where that counts."""
    seen = load_i64(d, codes.DECODING_SEEN)
    if seen:
        store_f32(seen + load_i64(d, codes.DECODING_ROW_BYTES) * row, token, float32(1.0))


@kernel
def is_stop(d, token):
    """Whether a token ends a sequence."""
    tokens = load_i64(d, codes.DECODING_STOP)
    is_one = False
    for i in range(load_i64(d, codes.DECODING_N_STOP)):
        is_one = is_one or load_i64(tokens, i) == token
    return is_one
