"""The way of a block's rows from the caller's inputs into scratch memory, and from there into its outputs."""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.rows import Rows, copy, copy_rows, every, read_rows, rows_from, transpose_rows
from grurt.kernels.simd import load_i64
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.kernels.tables import is_wanted_once, port_slot, value_rows


@kernel
def read_inputs(c, block):
    """Copy a block's rows of the feature inputs to scratch memory, where they are padded to whole vectors."""
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = port_slot(i)
        if not load_i64(c, port + codes.PORT_IS_TOKENS):
            size = load_i64(c, port + codes.PORT_SIZE)
            rows, value = _callers_rows(c, port, block), _value(c, port)
            if load_i64(c, port + codes.PORT_TRANSPOSED):
                n_rows = load_i64(c, port + codes.PORT_ROWS)
                transpose_rows(rows, value, n_rows, size // n_rows, block.n_rows)
                rows = value
            read_rows(rows, value, size, block.n_rows)


@kernel
def store_states(c):
    """Copy inputs that are states, as they are, to the state of a stream: their values are offsets in it."""
    state = load_i64(c, codes.CONTEXT_STATES)
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = port_slot(i)
        given, own = load_i64(c, port + codes.PORT_ADDRESS), state + load_i64(c, port + codes.PORT_VALUE)
        copy(given, own, load_i64(c, port + codes.PORT_SIZE))


@kernel
def write_outputs(c, block):
    """Copy a block's rows of the outputs from scratch memory.

    Of an output that is wanted once, that is the last row of a whole sequence.
    """
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    for i in range(n_inputs, n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)):
        port = port_slot(i)
        size = load_i64(c, port + codes.PORT_SIZE)
        value = _value(c, port)
        if is_wanted_once(c, port):
            whole = Rows(load_i64(c, port + codes.PORT_ADDRESS), F32_BYTES * size)
            if block.ends_sequence and block.streams:
                first = (block.streams - load_i64(c, codes.CONTEXT_STREAMS)) // I64_BYTES
                _write_frames(c, port, value, rows_from(whole, first), block.n_rows)
            elif block.ends_sequence:
                _write_frames(c, port, rows_from(value, block.n_rows - 1), whole, 1)
        else:
            _write_frames(c, port, value, _callers_rows(c, port, block), block.n_rows)


@kernel
def _write_frames(c, port, value, target, count):
    """Copy rows of an output's value to the caller's, in the order of the caller's frame."""
    size = load_i64(c, port + codes.PORT_SIZE)
    if load_i64(c, port + codes.PORT_TRANSPOSED):
        n_rows = load_i64(c, port + codes.PORT_ROWS)
        transpose_rows(value, target, size // n_rows, n_rows, count)
    else:
        copy_rows(value, target, size, count)


@kernel
def _callers_rows(c, port, block):
    """A block's rows in the caller's memory: contiguous timesteps, of which it may be every so many."""
    timesteps = Rows(load_i64(c, port + codes.PORT_ADDRESS), F32_BYTES * load_i64(c, port + codes.PORT_SIZE))
    return every(rows_from(timesteps, block.first), block.spacing)


@kernel
def _value(c, port):
    """A port's rows in scratch memory."""
    return value_rows(c, load_i64(c, port + codes.PORT_VALUE), load_i64(c, port + codes.PORT_STRIDE))
