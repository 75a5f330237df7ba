"""What kernels are told by the tables of `grurt.kernels.codes`, and hand on to each other."""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.rows import Rows
from grurt.kernels.simd import load_i64


class Block(NamedTuple):
    """Rows that all operations run over together: timesteps of one stream, or the next timestep of each of many.

    Parameters
    ----------
    first, spacing
        The first row's timestep among those of the call's inputs and outputs, and how far from there the next row's is.
    n_rows
        How many rows.
    ends_sequence
        Whether the last row, or every stream's row, is the last timestep of the call.
    streams
        Address of the rows' streams (int64); 0 where the rows are timesteps of stream 0.
    """

    first: int
    spacing: int
    n_rows: int
    ends_sequence: bool
    streams: int


class States(NamedTuple):
    """A layer's states in a block.

    Parameters
    ----------
    address, stride
        Where the layer's part of the state of stream 0 is, and how far that of the next stream is from it.
    streams
        As in `Block`.
    steps_done
        Address of the timesteps of each stream since its last reset (int64).
    """

    address: int
    stride: int
    streams: int
    steps_done: int


@kernel
def stream_of(states, row):
    """The stream whose timestep is in a row."""
    if states.streams:
        return load_i64(states.streams, row)
    return 0


@kernel
def state_of(states, row):
    """Address of the state of the stream whose timestep is in a row."""
    return states.address + states.stride * stream_of(states, row)


@kernel
def port_slot(index):
    """Slot of the context where a port begins: inputs come first, then outputs, then initial and final states."""
    return codes.CONTEXT_PORTS + codes.PORT_SLOTS * index


@kernel
def n_ports(c):
    """How many ports a context has: inputs and outputs, and the states in tensors."""
    n_values = load_i64(c, codes.CONTEXT_N_INPUTS) + load_i64(c, codes.CONTEXT_N_OUTPUTS)
    return n_values + load_i64(c, codes.CONTEXT_N_INITIAL) + load_i64(c, codes.CONTEXT_N_FINAL)


@kernel
def value_rows(c, offset, stride):
    """The rows of the value at an offset in scratch memory."""
    return Rows(load_i64(c, codes.CONTEXT_SCRATCH) + load_i64(c, codes.CONTEXT_CAPACITY) * offset, stride)


@kernel
def temp_rows(c, op):
    """An operation's rows of working memory."""
    return value_rows(c, load_i64(op, codes.OP_TEMP), load_i64(op, codes.OP_TEMP_STRIDE))


@kernel
def timesteps_of_call(c):
    """How many timesteps a call has, those of all its streams."""
    if load_i64(c, codes.CONTEXT_STREAMS):
        return load_i64(c, codes.CONTEXT_N_STEPS) * load_i64(c, codes.CONTEXT_N_STREAMS)
    return load_i64(c, codes.CONTEXT_N_STEPS)


@kernel
def is_wanted_once(c, port):
    """Whether an output is one answer to a whole sequence, and a call is one: that of the last timestep."""
    return load_i64(c, port + codes.PORT_SINGLE) and load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE)
