"""Walks a plan's operations over the timesteps of one call.

`run` takes the address of one context, a flat ``int64`` array of addresses and sizes (see `codes`), allocates nothing,
raises nothing and calls nothing outside the kernels. Inputs are checked before any of the state is touched.
"""

from grurt.kernels import codes
from grurt.kernels.conv import conv1d, depthwise_conv1d
from grurt.kernels.dense import dense
from grurt.kernels.gru import gru, gru_grid, gru_positions, gru_streams
from grurt.kernels.normalize import layer_norm, log_softmax, softmax
from grurt.kernels.options import kernel
from grurt.kernels.quantize import LEAST_INPUT, quantize_rows
from grurt.kernels.rows import (
    add,
    batch_norm,
    copy_positions,
    copy_rows,
    embedding,
    feature_mask,
    function,
    mul,
    prelu,
    read_rows,
    token_mask,
)
from grurt.kernels.simd import (
    F32_BYTES,
    I64_BYTES,
    load,
    load_f32,
    load_i64,
    splat,
    store_i64,
    sum_lanes,
)
from grurt.kernels.team import call_sleepers, close_call, copy_call, join_call, open_call, take, watch
from grurt.lanes import LANES


@kernel
def run(c):
    """Run the plan of the context at address ``c``; return a status.

    Any status but OK means that nothing was computed and no state has changed.
    """
    phase = load_i64(c, codes.CONTEXT_PHASE)
    if phase == codes.FOLLOW:
        return _follow(c)
    if phase != codes.RUN and phase != codes.LEAD_ON:
        status = _check_streams(c)
        if status == codes.OK:
            status = _check_inputs(c)
        if status != codes.OK or phase == codes.CHECK:
            return status
    if phase == codes.LEAD or phase == codes.LEAD_ON:
        return _lead(c, phase)
    if load_i64(c, codes.CONTEXT_STREAMS):
        _run_streams(c)
    else:
        _run_timesteps(c)
    return codes.OK


@kernel
def _lead(c, phase):
    """Run many streams with a team; return a status that says whether members have to be woken, or waited for."""
    team = load_i64(c, codes.CONTEXT_TEAM)
    if phase == codes.LEAD:
        open_call(team)
        timesteps = load_i64(c, codes.CONTEXT_N_STREAMS) * load_i64(c, codes.CONTEXT_N_STEPS)
        if timesteps >= load_i64(c, codes.CONTEXT_WORTH_WAKING) and call_sleepers(team):
            return codes.MEMBERS_SLEEP
    _run_taken_streams(c, team)
    return codes.OK if close_call(team) else codes.MEMBERS_WORK


@kernel
def _follow(c):
    """Run streams of a team's calls, until there has been no call for a while."""
    member = load_i64(c, codes.CONTEXT_MEMBER)
    works = join_call(member)
    while works:
        copy_call(c, load_i64(c, codes.CONTEXT_LEADER))
        _run_taken_streams(c, load_i64(c, codes.CONTEXT_TEAM))
        works = watch(member)
    return codes.OK


@kernel
def _run_timesteps(c):
    """Run one stream, in blocks of at most as many timesteps as there are rows."""
    n_steps = load_i64(c, codes.CONTEXT_N_STEPS)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    for start in range(0, n_steps, capacity):
        rows = min(capacity, n_steps - start)
        _run_rows(c, start, 1, rows, start + rows == n_steps, 0)
        store_i64(steps_done, 0, load_i64(steps_done, 0) + rows)


@kernel
def _run_streams(c):
    """Run many streams, in groups of at most as many as there are rows."""
    n_streams = load_i64(c, codes.CONTEXT_N_STREAMS)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    for start in range(0, n_streams, capacity):
        _run_group(c, start, min(capacity, n_streams - start))


@kernel
def _run_taken_streams(c, team):
    """Run groups of streams until those of the call have all been taken."""
    n_streams = load_i64(c, codes.CONTEXT_N_STREAMS)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    start, rows = take(team, n_streams, capacity)
    while rows:
        _run_group(c, start, rows)
        start, rows = take(team, n_streams, capacity)


@kernel
def _run_group(c, start, rows):
    """Run as many streams as there are rows, from the call's number ``start`` on, timestep by timestep."""
    n_steps = load_i64(c, codes.CONTEXT_N_STEPS)
    streams = load_i64(c, codes.CONTEXT_STREAMS) + I64_BYTES * start
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    for t in range(n_steps):
        _run_rows(c, start * n_steps + t, n_steps, rows, t == n_steps - 1, streams)
        for i in range(rows):
            stream = load_i64(streams, i)
            store_i64(steps_done, stream, load_i64(steps_done, stream) + 1)


@kernel
def _run_rows(c, first, step, rows, ends_sequence, streams):
    """Run all operations over some rows: input and output rows ``first``, ``first + step``, and so on.

    ``streams`` is the address of the rows' streams; 0 where the rows are timesteps of one stream. ``ends_sequence``
    says that the last row, or every stream's row, is the last timestep of the call.
    """
    _read_inputs(c, first, step, rows)
    store_i64(c, codes.CONTEXT_BACKWARD, 1 - load_i64(c, codes.CONTEXT_BACKWARD))
    for i in range(load_i64(c, codes.CONTEXT_N_OPS)):
        op = load_i64(c, codes.CONTEXT_OPS) + I64_BYTES * codes.OP_SLOTS * i
        _run_operation(c, op, first, step, rows, ends_sequence, streams)
    _write_outputs(c, first, step, rows, ends_sequence, streams)


@kernel
def _port(index):
    """Slot of the context where a port begins: inputs come first, then outputs."""
    return codes.CONTEXT_PORTS + codes.PORT_SLOTS * index


@kernel
def _rows_at(c, offset, stride, row):
    """Address of a row of the value at an offset in scratch memory."""
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    return load_i64(c, codes.CONTEXT_SCRATCH) + F32_BYTES * (capacity * offset + stride * row)


@kernel
def _check_streams(c):
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
def _check_inputs(c):
    rows = load_i64(c, codes.CONTEXT_N_STEPS)
    if load_i64(c, codes.CONTEXT_STREAMS):
        rows *= load_i64(c, codes.CONTEXT_N_STREAMS)
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = _port(i)
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
def _read_inputs(c, first, step, rows):
    """Copy rows of the feature inputs to scratch memory, where they are padded to whole vectors."""
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = _port(i)
        if not load_i64(c, port + codes.PORT_IS_TOKENS):
            size = load_i64(c, port + codes.PORT_SIZE)
            stride = load_i64(c, port + codes.PORT_STRIDE)
            source = load_i64(c, port + codes.PORT_ADDRESS) + F32_BYTES * size * first
            read_rows(source, size * step, _rows_at(c, load_i64(c, port + codes.PORT_VALUE), 0, 0), stride, size, rows)


@kernel
def _write_outputs(c, first, step, rows, ends_sequence, streams):
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    for i in range(n_inputs, n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)):
        port = _port(i)
        size = load_i64(c, port + codes.PORT_SIZE)
        stride = load_i64(c, port + codes.PORT_STRIDE)
        value = load_i64(c, port + codes.PORT_VALUE)
        target = load_i64(c, port + codes.PORT_ADDRESS)
        if load_i64(c, port + codes.PORT_SINGLE) and load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
            if ends_sequence and streams:
                row = first // step
                copy_rows(_rows_at(c, value, 0, 0), stride, target + F32_BYTES * size * row, size, size, rows)
            elif ends_sequence:
                copy_rows(_rows_at(c, value, stride, rows - 1), stride, target, size, size, 1)
        else:
            copy_rows(_rows_at(c, value, 0, 0), stride, target + F32_BYTES * size * first, size * step, size, rows)


@kernel
def _run_operation(c, op, first, step, rows, ends_sequence, streams):
    """Run one operation over the rows of a block; one behind LastStep only at the end of a whole sequence."""
    row = 0
    if load_i64(op, codes.OP_SINGLE) and load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
        if not ends_sequence:
            return
        if not streams:
            row = rows - 1
            rows = 1
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    in_step = load_i64(op, codes.OP_IN_STEP)
    out_step = load_i64(op, codes.OP_OUT_STEP)
    x = _rows_at(c, load_i64(op, codes.OP_IN), in_step, row)
    out = _rows_at(c, load_i64(op, codes.OP_OUT), out_step, row)
    weights = load_i64(c, codes.CONTEXT_WEIGHTS) + F32_BYTES * load_i64(op, codes.OP_WEIGHTS)
    positions = load_i64(op, codes.OP_POSITIONS)
    kind = load_i64(op, codes.OP_KIND)
    if kind <= codes.GRU_RESET_BEFORE:
        _run_gru(c, op, weights, x, out, rows, streams)
    elif kind == codes.CONV1D or kind == codes.DEPTHWISE_CONV1D:
        _run_conv1d(c, op, kind, weights, x, out, rows, streams)
    elif kind == codes.DENSE:
        _run_dense(c, op, weights, x, out, rows * positions)
    elif kind == codes.ADD or kind == codes.MUL or kind == codes.COPY or kind == codes.COPY_FIRST_ROW:
        _run_combining(c, op, kind, x, out, row, rows * positions)
    elif kind == codes.COPY_POSITIONS:
        in_size = load_i64(op, codes.OP_IN_SIZE)
        copy_positions(x, in_step, in_stride, out, out_step, out_stride, in_size, positions, rows)
    elif kind == codes.EMBEDDING or kind == codes.TOKEN_MASK:
        port = _port(load_i64(op, codes.OP_INPUT))
        tokens = load_i64(c, port + codes.PORT_ADDRESS) + I64_BYTES * (first + step * row)
        if kind == codes.EMBEDDING:
            weights_format = load_i64(op, codes.OP_FORMAT)
            embedding(weights_format, weights, load_i64(c, port + codes.PORT_SIZE), tokens, step, out, out_stride, rows)
        else:
            token_mask(load_i64(op, codes.OP_TOKEN), tokens, step, out, out_stride, rows)
    else:
        _run_rowwise(c, op, kind, weights, x, out, rows * positions)


@kernel
def _run_dense(c, op, weights, x, out, rows):
    weights_format = load_i64(op, codes.OP_FORMAT)
    in_size = load_i64(op, codes.OP_IN_SIZE)
    x_stride = F32_BYTES * load_i64(op, codes.OP_IN_STRIDE)
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    if weights_format == codes.INT8:
        records = _rows_at(c, load_i64(op, codes.OP_TEMP), 0, 0)
        stride = F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE)
        quantize_rows(x, x_stride, in_size, LEAST_INPUT, records, stride, rows)
        x = records
        x_stride = stride
    dense(weights_format, weights, out_stride // LANES, x, x_stride, in_size, out, F32_BYTES * out_stride, rows)


@kernel
def _run_gru(c, op, weights, x, out, rows, streams):
    states = _states(c, op)
    parameters = _parameters(c, op)
    temp = _rows_at(c, load_i64(op, codes.OP_TEMP), 0, 0)
    backward = load_i64(c, codes.CONTEXT_BACKWARD)
    mask = 0
    if load_i64(op, codes.OP_MASKED):
        mask = _rows_at(c, load_i64(op, codes.OP_MASK), 0, 0)
    if load_i64(op, codes.OP_SCANS_POSITIONS):
        initial = load_i64(c, codes.CONTEXT_WEIGHTS) + F32_BYTES * load_i64(op, codes.OP_INITIAL)
        gru_positions(op, weights, parameters, initial, mask, x, out, temp, rows)
    elif streams:
        state_size = load_i64(c, codes.CONTEXT_STATE_SIZE)
        gru_streams(op, weights, parameters, states, state_size, streams, mask, x, out, temp, rows, backward)
    elif load_i64(op, codes.OP_POSITIONS) > 1:
        gru_grid(op, weights, parameters, states, mask, x, out, temp, rows)
    else:
        gru(op, weights, parameters, states, mask, x, out, temp, rows, backward)


@kernel
def _run_conv1d(c, op, kind, weights, x, out, rows, streams):
    states = _states(c, op)
    state_size = load_i64(c, codes.CONTEXT_STATE_SIZE)
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    if kind == codes.CONV1D:
        temp = _rows_at(c, load_i64(op, codes.OP_TEMP), 0, 0)
        conv1d(op, weights, states, state_size, streams, steps_done, x, out, temp, rows)
    else:
        depthwise_conv1d(op, weights, states, state_size, streams, steps_done, x, out, rows)


@kernel
def _states(c, op):
    """Address of the operation's state in that of the first stream."""
    return load_i64(c, codes.CONTEXT_STATES) + F32_BYTES * load_i64(op, codes.OP_STATE)


@kernel
def _run_combining(c, op, kind, x, out, row, rows):
    """Combine rows, those of all positions, from the timestep ``row`` on."""
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    if kind == codes.COPY:
        source = x + F32_BYTES * load_i64(op, codes.OP_SOURCE_COLUMN)
        target = out + F32_BYTES * load_i64(op, codes.OP_COLUMN)
        copy_rows(source, in_stride, target, out_stride, load_i64(op, codes.OP_IN_SIZE), rows)
    elif kind == codes.COPY_FIRST_ROW:
        first = x - F32_BYTES * load_i64(op, codes.OP_IN_STEP) * row
        copy_rows(first, in_stride, out, out_stride, load_i64(op, codes.OP_IN_SIZE), rows)
    else:
        stride = load_i64(op, codes.OP_OTHER_STRIDE)
        other = _rows_at(c, load_i64(op, codes.OP_OTHER), stride * load_i64(op, codes.OP_POSITIONS), row)
        if kind == codes.ADD:
            add(x, in_stride, other, stride, out, out_stride, rows)
        else:
            mul(x, in_stride, other, stride, out, out_stride, rows)


@kernel
def _run_rowwise(c, op, kind, weights, x, out, rows):
    size = load_i64(op, codes.OP_OUT_SIZE)
    stride = load_i64(op, codes.OP_OUT_STRIDE)
    if kind == codes.FUNCTION:
        function(load_i64(op, codes.OP_FUNCTION), _parameters(c, op), x, out, stride, rows)
    elif kind == codes.LAYER_NORM:
        layer_norm(weights, load_f32(_parameters(c, op), 0), x, out, size, stride, rows)
    elif kind == codes.BATCH_NORM:
        batch_norm(weights, x, out, stride, rows)
    elif kind == codes.PRELU:
        prelu(weights, x, out, stride, rows)
    elif kind == codes.SOFTMAX:
        softmax(x, out, size, stride, rows)
    elif kind == codes.FEATURE_MASK:
        value = load_f32(_parameters(c, op), 0)
        feature_mask(value, x, load_i64(op, codes.OP_IN_STRIDE), load_i64(op, codes.OP_IN_SIZE), out, stride, rows)
    else:
        log_softmax(x, out, size, stride, rows)


@kernel
def _parameters(c, op):
    return load_i64(c, codes.CONTEXT_WEIGHTS) + F32_BYTES * load_i64(op, codes.OP_PARAMETERS)
