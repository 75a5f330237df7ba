"""Searches for sequences: of all ways on from the best so far, the best are gone on with, or one that is drawn.

The sequences of all sources that are alive are the rows of a context: each has a stream, whose state moves to the rows
that go on from it. A table as that of `decoding` says how their scores come about; what it has for a search is in
`codes` behind that.

Scores are sums of logarithms of probabilities, in float64. Of equal ones that of the earlier row, and of the lower
token, comes first. A sequence that has ended counts by its score divided by a number for its length.
"""

from numpy import float32, float64

from grurt.kernels import codes
from grurt.kernels.choosing import is_stop, pick, prepare
from grurt.kernels.decoding import output_rows, run_rows, steps_done, write_input
from grurt.kernels.functions import exp, log
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy, copy_padded
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
from grurt.kernels.tables import port_slot
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
        if load_i64(d, codes.SEARCH_N_SOURCES) == 0:
            break
        status = run_rows(c, load_i64(d, codes.DECODING_N_ROWS))
        if status != codes.OK:
            return status
        _keep_shown(c, d)
        if not _advance_sources(c, d):
            return codes.NOTHING_TO_CHOOSE
        _place_rows(c, d)
        store_i64(d, codes.SEARCH_STEP, load_i64(d, codes.SEARCH_STEP) + 1)
    return codes.OK


@kernel
def _keep_shown(c, d):
    """Keep what the rows give of the output that is kept."""
    shown = load_i64(d, codes.SEARCH_SHOWN)
    if shown == 0:
        return
    address, size = load_i64(c, port_slot(shown) + codes.PORT_ADDRESS), load_i64(c, port_slot(shown) + codes.PORT_SIZE)
    history = load_i64(d, codes.SEARCH_HISTORY) + F32_BYTES * size * _at_step(d)
    for i in range(load_i64(d, codes.DECODING_N_ROWS)):
        row = load_i64(load_i64(d, codes.DECODING_ROWS), i)
        copy(address + F32_BYTES * size * i, history + F32_BYTES * size * row, size)


@kernel
def _at_step(d):
    """Where the present timestep begins in what there is for all of them."""
    return load_i64(d, codes.SEARCH_MAX_ROWS) * load_i64(d, codes.SEARCH_STEP)


@kernel
def _advance_sources(c, d):
    """Let the sequences of each source go on, and those leave of which none better may come; return whether all can."""
    sources, alive = load_i64(d, codes.SEARCH_SOURCES), load_i64(d, codes.SEARCH_ALIVE)
    place, left = 0, 0
    for i in range(load_i64(d, codes.SEARCH_N_SOURCES)):
        source = load_i64(sources, i)
        n_rows = load_i64(alive, source)
        _find_candidates(c, d, source, place, n_rows)
        place += n_rows
        if load_f64(load_i64(d, codes.SEARCH_CANDIDATE_SCORES), 0) > _LEAST:
            _go_on(c, d, source)
        elif load_i64(load_i64(d, codes.SEARCH_N_ENDED), source):
            store_i64(alive, source, 0)
        else:
            store_i64(d, codes.DECODING_FAULT, source)
            return False
        if load_i64(alive, source):
            store_i64(sources, left, source)
            left += 1
        else:
            _write_sequences(d, source)
    store_i64(d, codes.SEARCH_N_SOURCES, left)
    return True


@kernel
def _find_candidates(c, d, source, place, n_rows):
    """Find the best continuations, twice as many as there are beams: as many may be ends. Of one beam, find one."""
    scores, size = load_i64(d, codes.DECODING_WORK), load_i64(d, codes.DECODING_VOCABULARY_SIZE)
    found, beams = load_i64(d, codes.SEARCH_CANDIDATE_SCORES), load_i64(d, codes.SEARCH_BEAMS)
    row_scores, previous = load_i64(d, codes.SEARCH_SCORES), load_i64(d, codes.DECODING_PREVIOUS)
    for i in range(2 * beams):
        store_f64(found, i, float64(_LEAST))
    for i in range(place, place + n_rows):
        row = load_i64(load_i64(d, codes.DECODING_ROWS), i)
        logits = output_rows(c, d) + F32_BYTES * size * i
        largest = prepare(d, row, load_i64(previous, row), logits, scores)
        if largest - largest != float32(0.0):
            continue  # nothing can be chosen
        chosen = pick(d, source, steps_done(c, i), largest) if beams == 1 else 0
        offset = load_f64(row_scores, row) - _log_of_sum(
            scores, scores + load_i64(d, codes.DECODING_ROW_BYTES), size, largest
        )
        if beams == 1:
            _insert(d, 1, offset + float64(load_f32(scores, chosen)), row, chosen)
            continue
        for token in range(size):
            score = offset + float64(load_f32(scores, token))
            if score > load_f64(found, 2 * beams - 1):
                _insert(d, 2 * beams, score, row, token)


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
    scores = load_i64(d, codes.SEARCH_CANDIDATE_SCORES)
    rows, tokens = load_i64(d, codes.SEARCH_CANDIDATE_ROWS), load_i64(d, codes.SEARCH_CANDIDATE_TOKENS)
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
def _go_on(c, d, source):
    """Let the best candidates be a source's rows, those that end be sequences; no rows where no better one may come."""
    beams, step, first = load_i64(d, codes.SEARCH_BEAMS), load_i64(d, codes.SEARCH_STEP), _first_row(d, source)
    scores, tokens = load_i64(d, codes.SEARCH_CANDIDATE_SCORES), load_i64(d, codes.SEARCH_CANDIDATE_TOKENS)
    rows, here = load_i64(d, codes.SEARCH_CANDIDATE_ROWS), I64_BYTES * (_at_step(d) + first)
    parents, chosen = load_i64(d, codes.SEARCH_PARENTS) + here, load_i64(d, codes.DECODING_OUT) + here
    is_last = step + 1 == load_i64(d, codes.DECODING_MAX_TOKENS)
    alive = 0
    for i in range(2 * beams):
        score = load_f64(scores, i)
        if score <= _LEAST or alive == beams:
            break
        token = load_i64(tokens, i)
        ends = is_stop(d, token)
        if (ends and i < beams) or (is_last and not ends):
            _end(d, source, load_i64(rows, i), token, score)
        if not ends:
            store_i64(parents, alive, load_i64(rows, i))
            store_i64(chosen, alive, token)
            store_f64(load_i64(d, codes.SEARCH_SCORES), first + alive, score)
            alive += 1
    if is_last or alive == 0 or _is_over(d, source):
        alive = 0
    _move_states(c, d, parents, first, alive)
    store_i64(load_i64(d, codes.SEARCH_ALIVE), source, alive)


@kernel
def _first_row(d, source):
    """The number of a source's first row, and the place of the first of its sequences that have ended."""
    return load_i64(d, codes.SEARCH_BEAMS) * source


@kernel
def _end(d, source, row, token, score):
    """Take note of a sequence that ends, if it is among the best: the worst of them, if there are too many, leaves."""
    beams, step, n_ended = (
        load_i64(d, codes.SEARCH_BEAMS),
        load_i64(d, codes.SEARCH_STEP),
        load_i64(d, codes.SEARCH_N_ENDED),
    )
    first, count = _first_row(d, source), load_i64(n_ended, source)
    ended = load_i64(d, codes.SEARCH_ENDED_SCORES) + I64_BYTES * first
    ends = load_i64(d, codes.SEARCH_ENDED) + 3 * I64_BYTES * first
    value = score / load_f64(load_i64(d, codes.SEARCH_LENGTH_NORMS), step + 1)
    if count == beams and value <= load_f64(ended, beams - 1):
        return
    i = count if count < beams else beams - 1
    while i > 0 and load_f64(ended, i - 1) < value:
        store_f64(ended, i, load_f64(ended, i - 1))
        for k in range(3):
            store_i64(ends, 3 * i + k, load_i64(ends, 3 * i - 3 + k))
        i -= 1
    store_f64(ended, i, value)
    store_i64(ends, 3 * i, step)
    store_i64(ends, 3 * i + 1, row)
    store_i64(ends, 3 * i + 2, token)
    store_i64(n_ended, source, count + 1 if count < beams else beams)


@kernel
def _is_over(d, source):
    """Whether as many sequences have ended as there are beams, the worst of them no worse than what goes on."""
    beams, first = load_i64(d, codes.SEARCH_BEAMS), _first_row(d, source)
    if load_i64(load_i64(d, codes.SEARCH_N_ENDED), source) < beams:
        return False
    norm = load_f64(load_i64(d, codes.SEARCH_LENGTH_NORMS), load_i64(d, codes.SEARCH_STEP) + 1)
    best = load_f64(load_i64(d, codes.SEARCH_SCORES), first) / norm
    return load_f64(load_i64(d, codes.SEARCH_ENDED_SCORES), first + beams - 1) >= best


@kernel
def _move_states(c, d, parents, first, count):
    """Let each of a source's rows go on from the state of its parent: all states are read before one is written."""
    states, n_bytes = load_i64(c, codes.CONTEXT_STATES), load_i64(c, codes.CONTEXT_STATE_STRIDE)
    room, steps = load_i64(d, codes.SEARCH_STATES), load_i64(c, codes.CONTEXT_STEPS_DONE)
    for i in range(count):
        parent = load_i64(parents, i)
        if parent != first + i:
            copy_padded(states + n_bytes * parent, room + n_bytes * i, n_bytes)
    for i in range(count):
        if load_i64(parents, i) != first + i:
            copy_padded(room + n_bytes * i, states + n_bytes * (first + i), n_bytes)
        store_i64(steps, first + i, load_i64(steps, first))


@kernel
def _write_sequences(d, source):
    """Write down a source's sequences, each read from its end: its tokens, and of which rows' scores they are."""
    first, most = _first_row(d, source), load_i64(d, codes.DECODING_MAX_TOKENS)
    chosen, parents = load_i64(d, codes.DECODING_OUT), load_i64(d, codes.SEARCH_PARENTS)
    for place in range(first, first + load_i64(load_i64(d, codes.SEARCH_N_ENDED), source)):
        ends = load_i64(d, codes.SEARCH_ENDED) + 3 * I64_BYTES * place
        tokens = load_i64(d, codes.SEARCH_FOUND_TOKENS) + I64_BYTES * most * place
        rows = load_i64(d, codes.SEARCH_FOUND_ROWS) + I64_BYTES * most * place
        step, row, token = load_i64(ends, 0), load_i64(ends, 1), load_i64(ends, 2)
        store_i64(tokens, step, token)
        store_i64(rows, step, row)
        for t in range(step - 1, -1, -1):
            here = load_i64(d, codes.SEARCH_MAX_ROWS) * t + row
            row = load_i64(parents, here)
            store_i64(tokens, t, load_i64(chosen, here))
            store_i64(rows, t, row)


@kernel
def _place_rows(c, d):
    """Lay the rows that go on one behind the other, each with the token that it reads next."""
    rows, chosen = load_i64(d, codes.DECODING_ROWS), load_i64(d, codes.DECODING_OUT) + I64_BYTES * _at_step(d)
    place = 0
    for i in range(load_i64(d, codes.SEARCH_N_SOURCES)):
        source = load_i64(load_i64(d, codes.SEARCH_SOURCES), i)
        first = _first_row(d, source)
        for row in range(first, first + load_i64(load_i64(d, codes.SEARCH_ALIVE), source)):
            store_i64(rows, place, row)
            write_input(c, d, place, load_i64(chosen, row))
            _write_given(c, d, source, place)
            place += 1
    store_i64(d, codes.DECODING_N_ROWS, place)


@kernel
def _write_given(c, d, source, place):
    """Have the row at a place read what its source is given beside tokens."""
    given = load_i64(d, codes.SEARCH_GIVEN)
    for number in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        if number == load_i64(d, codes.DECODING_INPUT):
            continue
        port = port_slot(number)
        address, size = load_i64(c, port + codes.PORT_ADDRESS), load_i64(c, port + codes.PORT_SIZE)
        if load_i64(c, port + codes.PORT_IS_TOKENS):
            store_i64(address, place, load_i64(load_i64(given, number), source))
        else:
            copy(load_i64(given, number) + F32_BYTES * size * source, address + F32_BYTES * size * place, size)
