"""Beam search: of all ways on from the best sequences so far, the best are gone on with.

The sequences that are alive are the rows of a context, as streams 0, 1, and so on: their states move with them. A table
as that of `decoding` says how their scores come about; what it has for beams is in `codes` behind that.

Scores are sums of logarithms of probabilities, in float64. Of equal ones that of the earlier row, and of the lower
token, comes first. A sequence that has ended counts by its score divided by a number for its length.
"""

from numpy import float32, float64

from grurt.kernels import codes
from grurt.kernels.choosing import is_stop, prepare
from grurt.kernels.decoding import output_rows, run_rows, write_input
from grurt.kernels.functions import exp, log
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy_padded
from grurt.kernels.simd import (
    load,
    load_f32,
    load_f64,
    load_i64,
    max_lanes,
    splat,
    store,
    store_f64,
    store_i64,
)
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lanes import LANES

_LEAST = -1.7976931348623157e308
"""Below the score of any sequence."""


@kernel
def search(c):
    """Run up to as many timesteps as a call has, as long as a better sequence may come; return a status."""
    d = load_i64(c, codes.CONTEXT_DECODING)
    n_steps = load_i64(c, codes.CONTEXT_N_STEPS)
    store_i64(c, codes.CONTEXT_N_STEPS, 1)
    for _ in range(n_steps):
        n_rows = load_i64(d, codes.DECODING_N_ROWS)
        if n_rows == 0:
            break
        status = run_rows(c, n_rows)
        if status != codes.OK:
            return status
        _find_candidates(c, d, n_rows)
        if load_f64(load_i64(d, codes.BEAMS_CANDIDATE_SCORES), 0) > _LEAST:
            _go_on(c, d)
        elif load_i64(d, codes.BEAMS_N_ENDED):
            store_i64(d, codes.DECODING_N_ROWS, 0)
        else:
            return codes.NOTHING_TO_CHOOSE
    return codes.OK


@kernel
def _find_candidates(c, d, n_rows):
    """Find the best continuations, twice as many as there are beams: as many may be ends."""
    scores, size = load_i64(d, codes.DECODING_WORK), load_i64(d, codes.DECODING_VOCABULARY_SIZE)
    found, count = load_i64(d, codes.BEAMS_CANDIDATE_SCORES), 2 * load_i64(d, codes.BEAMS_SIZE)
    row_scores, previous = load_i64(d, codes.BEAMS_SCORES), load_i64(d, codes.DECODING_PREVIOUS)
    for i in range(count):
        store_f64(found, i, float64(_LEAST))
    for row in range(n_rows):
        logits = output_rows(c, d) + F32_BYTES * size * row
        largest = prepare(d, row, load_i64(previous, row), logits, scores)
        if largest - largest != float32(0.0):
            continue  # nothing can be chosen
        weights = scores + load_i64(d, codes.DECODING_ROW_BYTES)
        offset = load_f64(row_scores, row) - _log_of_sum(scores, weights, size, largest)
        for token in range(size):
            score = offset + float64(load_f32(scores, token))
            if score > load_f64(found, count - 1):
                _insert(d, count, score, row, token)


@kernel
def _log_of_sum(scores, weights, size, largest):
    """``log(sum(exp(scores)))``; weights is working memory."""
    total = float64(0.0)
    for i in range(0, size, LANES):
        store(weights, i, exp(load(scores, i) - splat(largest)))
    for token in range(size):
        total += float64(load_f32(weights, token))
    return float64(largest) + float64(max_lanes(log(splat(float32(total)))))


@kernel
def _insert(d, count, score, row, token):
    """Put a candidate behind those that are at least as good, in place of the last one."""
    scores = load_i64(d, codes.BEAMS_CANDIDATE_SCORES)
    rows, tokens = load_i64(d, codes.BEAMS_CANDIDATE_ROWS), load_i64(d, codes.BEAMS_CANDIDATE_TOKENS)
    i = count - 1
    while i > 0 and load_f64(scores, i - 1) < score:
        store_f64(scores, i, load_f64(scores, i - 1))
        store_i64(rows, i, load_i64(rows, i - 1))
        store_i64(tokens, i, load_i64(tokens, i - 1))
        i -= 1
    store_f64(scores, i, score)
    store_i64(rows, i, row)
    store_i64(tokens, i, token)


@kernel
def _go_on(c, d):
    """Let the best candidates be the rows, those that end be sequences; and stop where no better one may come."""
    size, step = load_i64(d, codes.BEAMS_SIZE), load_i64(d, codes.BEAMS_STEP)
    scores, tokens = load_i64(d, codes.BEAMS_CANDIDATE_SCORES), load_i64(d, codes.BEAMS_CANDIDATE_TOKENS)
    rows, parents = load_i64(d, codes.BEAMS_CANDIDATE_ROWS), load_i64(d, codes.BEAMS_PARENTS) + I64_BYTES * size * step
    chosen = load_i64(d, codes.DECODING_OUT) + I64_BYTES * size * step
    is_last = step + 1 == load_i64(d, codes.DECODING_MAX_TOKENS)
    alive = 0
    for i in range(2 * size):
        score = load_f64(scores, i)
        if score <= _LEAST or alive == size:
            break
        token = load_i64(tokens, i)
        ends = is_stop(d, token)
        if (ends and i < size) or (is_last and not ends):
            _end(d, step, load_i64(rows, i), token, score)
        if not ends:
            store_i64(parents, alive, load_i64(rows, i))
            store_i64(chosen, alive, token)
            store_f64(load_i64(d, codes.BEAMS_SCORES), alive, score)
            alive += 1
    store_i64(d, codes.BEAMS_STEP, step + 1)
    if is_last or alive == 0 or _is_over(d, step):
        store_i64(d, codes.DECODING_N_ROWS, 0)
        return
    _move_states(c, d, parents, alive)
    for row in range(alive):
        write_input(c, d, row, load_i64(chosen, row))
    store_i64(d, codes.DECODING_N_ROWS, alive)


@kernel
def _end(d, step, row, token, score):
    """Take note of a sequence that ends, if it is among the best: the worst of them, if there are too many, leaves."""
    size, count = load_i64(d, codes.BEAMS_SIZE), load_i64(d, codes.BEAMS_N_ENDED)
    ended, places = load_i64(d, codes.BEAMS_ENDED_SCORES), load_i64(d, codes.BEAMS_ENDED)
    value = score / load_f64(load_i64(d, codes.BEAMS_LENGTH_NORMS), step + 1)
    if count == size and value <= load_f64(ended, size - 1):
        return
    i = count if count < size else size - 1
    while i > 0 and load_f64(ended, i - 1) < value:
        store_f64(ended, i, load_f64(ended, i - 1))
        for k in range(3):
            store_i64(places, 3 * i + k, load_i64(places, 3 * i - 3 + k))
        i -= 1
    store_f64(ended, i, value)
    store_i64(places, 3 * i, step)
    store_i64(places, 3 * i + 1, row)
    store_i64(places, 3 * i + 2, token)
    store_i64(d, codes.BEAMS_N_ENDED, count + 1 if count < size else size)


@kernel
def _is_over(d, step):
    """Whether as many sequences have ended as there are beams, the worst of them no worse than what goes on."""
    size = load_i64(d, codes.BEAMS_SIZE)
    if load_i64(d, codes.BEAMS_N_ENDED) < size:
        return False
    best = load_f64(load_i64(d, codes.BEAMS_SCORES), 0) / load_f64(load_i64(d, codes.BEAMS_LENGTH_NORMS), step + 1)
    return load_f64(load_i64(d, codes.BEAMS_ENDED_SCORES), size - 1) >= best


@kernel
def _move_states(c, d, parents, count):
    """Let each row go on from the state of its parent: all states are read before one is written."""
    states, n_bytes = load_i64(c, codes.CONTEXT_STATES), load_i64(c, codes.CONTEXT_STATE_STRIDE)
    room, steps_done = load_i64(d, codes.BEAMS_STATES), load_i64(c, codes.CONTEXT_STEPS_DONE)
    steps = load_i64(steps_done, 0)
    for row in range(count):
        parent = load_i64(parents, row)
        if parent != row:
            copy_padded(states + n_bytes * parent, room + n_bytes * row, n_bytes)
    for row in range(count):
        if load_i64(parents, row) != row:
            copy_padded(room + n_bytes * row, states + n_bytes * row, n_bytes)
        store_i64(steps_done, row, steps)
