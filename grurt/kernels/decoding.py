"""The loop of a generator: what the model answers becomes what it reads next, without a way through Python.

A context in the phase DECODE or FEED_BACK has a table of how it goes on: see `codes`. Inputs, outputs and streams lie
where Python has put them, and are known to be sound.
"""

from numpy import float32

from grurt.kernels import codes
from grurt.kernels.advance import run_block, run_group
from grurt.kernels.checks import check_memories
from grurt.kernels.choosing import choose, is_stop, note_seen
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy
from grurt.kernels.simd import load_i64, store_f32, store_i64
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.kernels.tables import Block, port_slot

_ENDED = -1
_STUCK = -2


@kernel
def decode(c):
    """Run up to as many timesteps as a call has, as long as a row goes on; return a status.

    A row reads its prompt, and then what is chosen of its scores. One that has ended leaves: those behind it move up.
    """
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
        left = 0
        for i in range(n_rows):
            token = _next(c, d, i)
            if token == _STUCK:
                return codes.NOTHING_TO_CHOOSE
            if token >= 0:
                _move_row(c, d, i, left)
                write_input(c, d, left, token)
                left += 1
        store_i64(d, codes.DECODING_N_ROWS, left)
    return codes.OK


@kernel
def run_rows(c, n_rows):
    """Advance stream 0, or those of the call, by one timestep, if they may have it; return a status."""
    if load_i64(c, codes.CONTEXT_STREAMS):
        store_i64(c, codes.CONTEXT_N_STREAMS, n_rows)
    status = check_memories(c)
    if status != codes.OK:
        return status
    if load_i64(c, codes.CONTEXT_STREAMS):
        capacity = load_i64(c, codes.CONTEXT_CAPACITY)
        for start in range(0, n_rows, capacity):
            run_group(c, start, min(capacity, n_rows - start))
    else:  # as a block, whose code there is already: that of a timestep becomes part of each caller
        run_block(c, Block(0, 1, 1, True, 0))
        steps = load_i64(c, codes.CONTEXT_STEPS_DONE)
        store_i64(steps, 0, load_i64(steps, 0) + 1)
    return codes.OK


@kernel
def _next(c, d, i):
    """Return what the row at a place reads next, of its prompt or chosen, or `_ENDED`, or `_STUCK`."""
    row = load_i64(load_i64(d, codes.DECODING_ROWS), i)
    positions, lengths = load_i64(d, codes.DECODING_POSITIONS), load_i64(d, codes.DECODING_LENGTHS)
    position = load_i64(positions, row) + 1
    store_i64(positions, row, position)
    n_prompt, n_forced = load_i64(lengths, 2 * row), load_i64(lengths, 2 * row + 1)
    prompt = load_i64(d, codes.DECODING_PROMPTS) + load_i64(d, codes.DECODING_PROMPT_BYTES) * row
    if position < n_prompt:
        return load_i64(prompt, position)
    if position < n_prompt + n_forced:
        token = load_i64(prompt, position)
    else:
        logits = output_rows(c, d) + F32_BYTES * load_i64(d, codes.DECODING_VOCABULARY_SIZE) * i
        token = choose(d, row, load_i64(load_i64(d, codes.DECODING_PREVIOUS), row), steps_done(c, i), logits)
        if token < 0:
            store_i64(d, codes.DECODING_FAULT, row)
            return _STUCK
    note_seen(d, row, token)
    counts = load_i64(d, codes.DECODING_COUNTS)
    count = load_i64(counts, row)
    most = load_i64(d, codes.DECODING_MAX_TOKENS)
    store_i64(load_i64(d, codes.DECODING_OUT) + I64_BYTES * most * row, count, token)
    store_i64(counts, row, count + 1)
    return _ENDED if count + 1 == most or is_stop(d, token) else token


@kernel
def output_rows(c, d):
    """Address of the scores of all rows."""
    return load_i64(c, port_slot(load_i64(d, codes.DECODING_OUTPUT)) + codes.PORT_ADDRESS)


@kernel
def steps_done(c, i):
    """Timesteps of the stream at a place of the call since its last reset."""
    streams = load_i64(c, codes.CONTEXT_STREAMS)
    return load_i64(load_i64(c, codes.CONTEXT_STEPS_DONE), load_i64(streams, i) if streams else 0)


@kernel
def _move_row(c, d, i, target):
    """Move all that belongs to the row at a place to another one, further ahead."""
    if i == target:
        return
    rows, streams = load_i64(d, codes.DECODING_ROWS), load_i64(c, codes.CONTEXT_STREAMS)
    store_i64(rows, target, load_i64(rows, i))
    store_i64(streams, target, load_i64(streams, i))
    for number in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = port_slot(number)
        if number != load_i64(d, codes.DECODING_INPUT):
            address, size = load_i64(c, port + codes.PORT_ADDRESS), load_i64(c, port + codes.PORT_SIZE)
            if load_i64(c, port + codes.PORT_IS_TOKENS):
                store_i64(address, target, load_i64(address, i))
            else:
                copy(address + F32_BYTES * size * i, address + F32_BYTES * size * target, size)


@kernel
def write_input(c, d, i, token):
    """Have the row at a place read a token next: its number, or a vector that is 1 there and 0 elsewhere."""
    row = load_i64(load_i64(d, codes.DECODING_ROWS), i)
    store_i64(load_i64(d, codes.DECODING_PREVIOUS), row, token)
    port = port_slot(load_i64(d, codes.DECODING_INPUT))
    address = load_i64(c, port + codes.PORT_ADDRESS)
    if load_i64(c, port + codes.PORT_IS_TOKENS):
        store_i64(address, i, token)
        return
    size = load_i64(c, port + codes.PORT_SIZE)
    vector = address + F32_BYTES * size * i
    for k in range(size):
        store_f32(vector, k, float32(1.0) if k == token else float32(0.0))


@kernel
def feed_back(c):
    """Run as many timesteps as a call has: each of them reads what the one before has answered; return a status.

    The table has, for each input, the output that it reads, or -1 for one that is given for every timestep.
    """
    sources = load_i64(c, codes.CONTEXT_DECODING)
    n_steps, n_rows = load_i64(c, codes.CONTEXT_N_STEPS), 1
    if load_i64(c, codes.CONTEXT_STREAMS):
        n_rows = load_i64(c, codes.CONTEXT_N_STREAMS)
    store_i64(c, codes.CONTEXT_N_STEPS, 1)
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    for _ in range(n_steps):
        status = run_rows(c, n_rows)
        if status != codes.OK:
            return status
        for i in range(n_inputs):
            if load_i64(sources, i) >= 0:
                answer = load_i64(c, port_slot(n_inputs + load_i64(sources, i)) + codes.PORT_ADDRESS)
                store_i64(c, port_slot(i) + codes.PORT_ADDRESS, answer)
            else:
                _go_on(c, port_slot(i), n_rows)
        for i in range(n_inputs, n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)):
            _go_on(c, port_slot(i), n_rows)
    return codes.OK


@kernel
def _go_on(c, port, n_rows):
    """Go to the next timestep of an array ``(n_steps, n_rows, ...)``."""
    row_bytes = F32_BYTES * load_i64(c, port + codes.PORT_SIZE)
    if load_i64(c, port + codes.PORT_IS_TOKENS):
        row_bytes = I64_BYTES
    store_i64(c, port + codes.PORT_ADDRESS, load_i64(c, port + codes.PORT_ADDRESS) + row_bytes * n_rows)
