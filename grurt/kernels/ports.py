"""Inputs and outputs of a call: checked before anything is computed, read into scratch memory, and written."""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.rows import (
    copy_rows,
    read_rows,
)
from grurt.kernels.simd import (
    F32_BYTES,
    load,
    load_f32,
    load_i64,
    splat,
    store_i64,
    sum_lanes,
)
from grurt.lanes import LANES


@kernel
def port_slot(index):
    """Slot of the context where a port begins: inputs come first, then outputs."""
    return codes.CONTEXT_PORTS + codes.PORT_SLOTS * index


@kernel
def rows_at(c, offset, stride, row):
    """Address of a row of the value at an offset in scratch memory."""
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    return load_i64(c, codes.CONTEXT_SCRATCH) + F32_BYTES * (capacity * offset + stride * row)


@kernel
def timesteps_of_call(c):
    """How many timesteps a call has, those of all its streams."""
    if load_i64(c, codes.CONTEXT_STREAMS):
        return load_i64(c, codes.CONTEXT_N_STEPS) * load_i64(c, codes.CONTEXT_N_STREAMS)
    return load_i64(c, codes.CONTEXT_N_STEPS)


@kernel
def check_streams(c):
    """Whether every stream exists, and stands in the call once; if so, the call goes on with a copy of them."""
    streams = load_i64(c, codes.CONTEXT_STREAMS)
    if not streams:
        return codes.OK
    last_call = load_i64(c, codes.CONTEXT_LAST_CALL)
    own = load_i64(c, codes.CONTEXT_OWN_STREAMS)
    call = load_i64(c, codes.CONTEXT_CALL)
    for i in range(load_i64(c, codes.CONTEXT_N_STREAMS)):
        stream = load_i64(streams, i)
        status = codes.OK
        if not 0 <= stream < load_i64(c, codes.CONTEXT_N_SLOTS) or load_i64(last_call, stream) < 0:
            status = codes.NO_SUCH_STREAM
        elif load_i64(last_call, stream) == call:
            status = codes.STREAM_TWICE
        if status != codes.OK:
            store_i64(c, codes.CONTEXT_FAULT_INDEX, i)
            return status
        store_i64(last_call, stream, call)
        store_i64(own, i, stream)
    store_i64(c, codes.CONTEXT_STREAMS, own)
    return codes.OK


@kernel
def check_inputs(c):
    """Whether the inputs can be computed with: tokens exist, and numbers are finite where that is asked for."""
    rows = timesteps_of_call(c)
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = port_slot(i)
        address = load_i64(c, port + codes.PORT_ADDRESS)
        size = load_i64(c, port + codes.PORT_SIZE)
        fault = -1
        status = codes.OK
        if load_i64(c, port + codes.PORT_IS_TOKENS):
            fault = _first_token_out_of_range(address, size, rows)
            status = codes.TOKEN_OUT_OF_RANGE
        elif load_i64(c, codes.CONTEXT_REFUSE_NONFINITE):
            fault = _first_nonfinite(address, size * rows)
            status = codes.NONFINITE
        if fault >= 0:
            store_i64(c, codes.CONTEXT_FAULT_PORT, i)
            store_i64(c, codes.CONTEXT_FAULT_INDEX, fault)
            return status
    return codes.OK


@kernel
def _first_token_out_of_range(tokens, vocabulary_size, count):
    for i in range(count):
        if not 0 <= load_i64(tokens, i) < vocabulary_size:
            return i
    return -1


@kernel
def _first_nonfinite(x, count):
    """Index of the first NaN or infinity, or -1: x - x is zero for every other number."""
    differences = splat(0.0)
    i = 0
    while i + LANES <= count:
        xi = load(x, i)
        differences = differences + (xi - xi)
        i += LANES
    difference = sum_lanes(differences)
    while i < count:
        xi = load_f32(x, i)
        difference += xi - xi
        i += 1
    if difference == 0.0:
        return -1
    for i in range(count):
        xi = load_f32(x, i)
        if xi - xi != 0.0:
            return i
    return -1


@kernel
def read_inputs(c, first, step, rows):
    """Copy rows of the feature inputs to scratch memory, where they are padded to whole vectors."""
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = port_slot(i)
        if not load_i64(c, port + codes.PORT_IS_TOKENS):
            size = load_i64(c, port + codes.PORT_SIZE)
            stride = load_i64(c, port + codes.PORT_STRIDE)
            source = load_i64(c, port + codes.PORT_ADDRESS) + F32_BYTES * size * first
            read_rows(source, size * step, rows_at(c, load_i64(c, port + codes.PORT_VALUE), 0, 0), stride, size, rows)


@kernel
def write_outputs(c, first, step, rows, ends_sequence, streams):
    """Copy rows of the outputs from scratch memory; of one that is wanted once, the last row of a whole sequence."""
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    for i in range(n_inputs, n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)):
        port = port_slot(i)
        size = load_i64(c, port + codes.PORT_SIZE)
        stride = load_i64(c, port + codes.PORT_STRIDE)
        value = load_i64(c, port + codes.PORT_VALUE)
        target = load_i64(c, port + codes.PORT_ADDRESS)
        if load_i64(c, port + codes.PORT_SINGLE) and load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
            if ends_sequence and streams:
                row = first // step
                copy_rows(rows_at(c, value, 0, 0), stride, target + F32_BYTES * size * row, size, size, rows)
            elif ends_sequence:
                copy_rows(rows_at(c, value, stride, rows - 1), stride, target, size, size, 1)
        else:
            copy_rows(rows_at(c, value, 0, 0), stride, target + F32_BYTES * size * first, size * step, size, rows)
