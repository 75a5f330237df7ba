"""Whether a call can be computed: looked at before anything is."""

from grurt.kernels import codes
from grurt.kernels.attention import has_room
from grurt.kernels.options import kernel
from grurt.kernels.simd import load, load_f32, load_first, load_i64, masks_memory, splat, store_i64, sum_lanes
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.kernels.tables import States, port_slot, timesteps_of_call
from grurt.lanes import LANES


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
            fault = first_nonfinite(address, size * rows)
            status = codes.NONFINITE
        if fault >= 0:
            store_i64(c, codes.CONTEXT_FAULT_PORT, i)
            store_i64(c, codes.CONTEXT_FAULT_INDEX, fault)
            return status
    return codes.OK


@kernel
def check_memories(c):
    """Whether every stream of a call may have as many timesteps more as the call has."""
    if not load_i64(c, codes.CONTEXT_REMEMBERS) or load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
        return codes.OK
    for i in range(load_i64(c, codes.CONTEXT_N_OPS)):
        op = load_i64(c, codes.CONTEXT_OPS) + I64_BYTES * codes.OP_SLOTS * i
        if load_i64(op, codes.OP_KIND) == codes.ATTENTION:
            status = check_memory(c, op)
            if status != codes.OK:
                return status
    return codes.OK


@kernel
def check_memory(c, op):
    """Whether there is room for the timesteps of a call in what an operation remembers of every stream."""
    streams, n_steps = load_i64(c, codes.CONTEXT_STREAMS), load_i64(c, codes.CONTEXT_N_STEPS)
    address = load_i64(c, codes.CONTEXT_STATES) + load_i64(op, codes.OP_STATE)
    states = States(address, load_i64(c, codes.CONTEXT_STATE_STRIDE), streams, 0)
    for row in range(load_i64(c, codes.CONTEXT_N_STREAMS) if streams else 1):
        if not has_room(op, states, row, n_steps):
            store_i64(c, codes.CONTEXT_FAULT_INDEX, row)
            return codes.MEMORY_FULL
    return codes.OK


@kernel
def _first_token_out_of_range(tokens, vocabulary_size, count):
    for i in range(count):
        if not 0 <= load_i64(tokens, i) < vocabulary_size:
            return i
    return -1


@kernel
def first_nonfinite(x, count):
    """Index of the first NaN or infinity, or -1: x - x is zero for every other number."""
    differences = splat(0.0)
    i = 0
    while i + LANES <= count:
        xi = load(x, i)
        differences = differences + (xi - xi)
        i += LANES
    if i < count and masks_memory():
        xi = load_first(x + F32_BYTES * i, count - i)
        differences = differences + (xi - xi)
        i = count
    difference = sum_lanes(differences)
    while i < count:
        number = load_f32(x, i)
        difference += number - number
        i += 1
    if difference == 0.0:
        return -1
    for i in range(count):
        number = load_f32(x, i)
        if number - number != 0.0:
            return i
    return -1
