"""One operation of a plan, over the rows of a block."""

from grurt.kernels import codes
from grurt.kernels.conv import conv1d, depthwise_conv1d
from grurt.kernels.dense import dense
from grurt.kernels.gru import gru, gru_grid, gru_positions, gru_streams
from grurt.kernels.normalize import layer_norm, log_softmax, softmax
from grurt.kernels.options import kernel
from grurt.kernels.ports import port_slot, rows_at
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
    token_mask,
)
from grurt.kernels.simd import (
    F32_BYTES,
    I64_BYTES,
    load_f32,
    load_i64,
)
from grurt.lanes import LANES


@kernel
def run_operation(c, op, first, step, rows, ends_sequence, streams):
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
    x = rows_at(c, load_i64(op, codes.OP_IN), in_step, row)
    out = rows_at(c, load_i64(op, codes.OP_OUT), out_step, row)
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
        port = port_slot(load_i64(op, codes.OP_INPUT))
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
        records = rows_at(c, load_i64(op, codes.OP_TEMP), 0, 0)
        stride = F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE)
        quantize_rows(x, x_stride, in_size, LEAST_INPUT, records, stride, rows)
        x = records
        x_stride = stride
    dense(weights_format, weights, out_stride // LANES, x, x_stride, in_size, out, F32_BYTES * out_stride, rows)


@kernel
def _run_gru(c, op, weights, x, out, rows, streams):
    states = _states(c, op)
    parameters = _parameters(c, op)
    temp = rows_at(c, load_i64(op, codes.OP_TEMP), 0, 0)
    backward = load_i64(c, codes.CONTEXT_BACKWARD)
    mask = 0
    if load_i64(op, codes.OP_MASKED):
        mask = rows_at(c, load_i64(op, codes.OP_MASK), 0, 0)
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
        temp = rows_at(c, load_i64(op, codes.OP_TEMP), 0, 0)
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
        other = rows_at(c, load_i64(op, codes.OP_OTHER), stride * load_i64(op, codes.OP_POSITIONS), row)
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
