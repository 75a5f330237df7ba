"""One operation of a plan, over the rows of a block."""

from grurt.kernels import codes
from grurt.kernels.attention import AttentionMemory, attend_in_sequence, attend_so_far
from grurt.kernels.combining import binary, constant, select
from grurt.kernels.conv import ConvMemory, conv1d, depthwise_conv1d
from grurt.kernels.dense import Matrix, dense
from grurt.kernels.elementwise import add, batch_norm, function, mul, prelu
from grurt.kernels.gru import gru_grid, gru_positions, gru_sequence, gru_streams, gru_timestep
from grurt.kernels.gru_memory import GRUMemory, GRUWeights
from grurt.kernels.lookup import Table, embedding, feature_mask, token_mask
from grurt.kernels.normalize import layer_norm, log_softmax, rms_norm, softmax
from grurt.kernels.options import inlined_kernel, kernel
from grurt.kernels.pooling import PoolingMemory, pool_time
from grurt.kernels.programs.walk import run_steps
from grurt.kernels.quantize import LEAST_INPUT, quantize_rows
from grurt.kernels.reduction import reduce
from grurt.kernels.rows import Rows, behind, copy_rows, every, row_at, rows_from
from grurt.kernels.simd import load_f32, load_i64, store_i64
from grurt.kernels.sizes import F32_BYTES, I64_BYTES, TEMPORARY_BYTES, VECTOR_BYTES
from grurt.kernels.tables import Block, States, port_slot, state_of, stream_of, temp_rows, value_rows


@kernel
def run_operation(c, op, block):
    """Run one operation over the rows of a block; one behind LastStep only at the end of a whole sequence."""
    if load_i64(op, codes.OP_KIND) == codes.TIME_POOLING:  # which reads every row
        _run_time_pooling(c, op, block)
        return
    if load_i64(op, codes.OP_KIND) == codes.ATTENTION:
        _run_attention(c, op, block)
        return
    first = 0
    n_rows = block.n_rows
    if load_i64(op, codes.OP_SINGLE) and load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
        if not block.ends_sequence:
            return
        if not block.streams:
            first = n_rows - 1
            n_rows = 1
    x_timesteps = _timesteps(c, op, codes.OP_IN, codes.OP_IN_TIMESTEP_STRIDE, first)
    out_timesteps = _timesteps(c, op, codes.OP_OUT, codes.OP_OUT_TIMESTEP_STRIDE, first)
    x = Rows(x_timesteps.address, load_i64(op, codes.OP_IN_STRIDE))
    out = Rows(out_timesteps.address, load_i64(op, codes.OP_OUT_STRIDE))
    n_positions = n_rows * load_i64(op, codes.OP_POSITIONS)
    kind = load_i64(op, codes.OP_KIND)
    if kind <= codes.GRU_RESET_BEFORE:
        _run_gru(c, op, x, out, n_rows, block.streams)
    elif kind == codes.CONV1D or kind == codes.DEPTHWISE_CONV1D:
        _run_conv1d(c, op, x, out, n_rows, block.streams)
    elif kind == codes.DENSE:
        _run_dense(c, op, x, out, n_positions)
    elif kind == codes.ADD or kind == codes.MUL or kind == codes.COPY or kind == codes.COPY_FIRST_ROW:
        _run_combining(c, op, x, out, first, n_positions)
    elif kind == codes.COPY_POSITIONS:
        _copy_positions(op, x_timesteps, out_timesteps, n_rows)
    elif kind == codes.PROGRAM:
        _run_program(c, op, out, first, n_rows, block.streams)
    elif kind == codes.EMBEDDING or kind == codes.TOKEN_MASK:
        _run_on_tokens(c, op, block.first + block.spacing * first, block.spacing, out, n_rows)
    else:
        _run_rowwise(c, op, x, out, first, n_positions)


@inlined_kernel
def run_on_timestep(c, op, timestep, is_last):
    """Run one operation over one of the call's timesteps, perhaps the last, of stream 0."""
    if load_i64(op, codes.OP_KIND) == codes.GRU and _is_plain(op):
        x = value_rows(c, load_i64(op, codes.OP_IN), load_i64(op, codes.OP_IN_STRIDE))
        out = value_rows(c, load_i64(op, codes.OP_OUT), load_i64(op, codes.OP_OUT_STRIDE))
        memory = GRUMemory(x, Rows(0, 0), _factor(c, op), temp_rows(c, op), out)
        state = load_i64(c, codes.CONTEXT_STATES) + load_i64(op, codes.OP_STATE)
        gru_timestep(op, _gru_weights(c, op), state, memory, load_i64(c, codes.CONTEXT_BACKWARD))
    else:
        run_operation(c, op, Block(timestep, 1, 1, is_last, 0))


@kernel
def _is_plain(op):
    """Whether a GRU has one row in a timestep, and computes it in every timestep."""
    others = load_i64(op, codes.OP_SCANS_POSITIONS) | load_i64(op, codes.OP_MASKED) | load_i64(op, codes.OP_SINGLE)
    return load_i64(op, codes.OP_POSITIONS) == 1 and others == 0


@kernel
def _timesteps(c, op, offset_slot, stride_slot, first):
    """The timesteps of an operand, from the block's row ``first`` on."""
    return rows_from(value_rows(c, load_i64(op, offset_slot), load_i64(op, stride_slot)), first)


@kernel
def _weights(c, op, slot):
    """Address of what is packed at an offset among the weights."""
    return load_i64(c, codes.CONTEXT_WEIGHTS) + load_i64(op, slot)


@kernel
def _run_dense(c, op, x, out, n_rows):
    n_inputs = load_i64(op, codes.OP_IN_SIZE)
    weights = _weights(c, op, codes.OP_WEIGHTS)
    matrix = Matrix(load_i64(op, codes.OP_FORMAT), weights, n_inputs, out.stride // VECTOR_BYTES)
    features = x
    if matrix.format == codes.INT8:
        features = temp_rows(c, op)
        quantize_rows(x, n_inputs, LEAST_INPUT, features, n_rows)
    dense(matrix, features, out, n_rows)


@kernel
def _run_gru(c, op, x, out, n_rows, streams):
    backward = load_i64(c, codes.CONTEXT_BACKWARD)
    weights = _gru_weights(c, op)
    mask = Rows(0, 0)
    if load_i64(op, codes.OP_MASKED):
        mask = value_rows(c, load_i64(op, codes.OP_MASK), VECTOR_BYTES)
    memory = GRUMemory(x, mask, _factor(c, op), temp_rows(c, op), out)
    if load_i64(op, codes.OP_SCANS_POSITIONS):
        gru_positions(op, weights, _weights(c, op, codes.OP_INITIAL), memory, n_rows)
    elif streams:
        gru_streams(op, weights, _states(c, op, streams), memory, n_rows, backward)
    elif load_i64(op, codes.OP_POSITIONS) > 1:
        gru_grid(op, weights, _states(c, op, 0), memory, n_rows)
    else:
        gru_sequence(op, weights, _states(c, op, 0).address, memory, n_rows)


@kernel
def _gru_weights(c, op):
    return GRUWeights(
        input=_weights(c, op, codes.OP_WEIGHTS),
        recurrent=_weights(c, op, codes.OP_RECURRENT_WEIGHTS),
        parameters=_weights(c, op, codes.OP_PARAMETERS),
    )


@kernel
def _factor(c, op):
    """The rows that a GRU's state is multiplied by."""
    stride = load_i64(op, codes.OP_FACTOR_STRIDE)
    if stride:
        return value_rows(c, load_i64(op, codes.OP_FACTOR), stride)
    return Rows(0, 0)


@kernel
def _run_conv1d(c, op, x, out, n_rows, streams):
    weights = _weights(c, op, codes.OP_WEIGHTS)
    states = _states(c, op, streams)
    memory = ConvMemory(x, temp_rows(c, op), out)
    if load_i64(op, codes.OP_KIND) == codes.CONV1D:
        conv1d(op, weights, states, memory, n_rows)
    else:
        depthwise_conv1d(op, weights, states, memory, n_rows)


@kernel
def _run_time_pooling(c, op, block):
    """Pool all rows of a block; the answers of a whole sequence are wanted once, at its end."""
    x = value_rows(c, load_i64(op, codes.OP_IN), load_i64(op, codes.OP_IN_STRIDE))
    out = value_rows(c, load_i64(op, codes.OP_OUT), load_i64(op, codes.OP_OUT_STRIDE))
    scores, mask = _other_rows(c, op, 0), Rows(0, 0)
    if load_i64(op, codes.OP_MASKED):
        mask = value_rows(c, load_i64(op, codes.OP_MASK), VECTOR_BYTES)
    first_answer = 0
    if load_i64(op, codes.OP_SINGLE) and load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
        if not block.ends_sequence:
            first_answer = block.n_rows
        elif not block.streams:
            first_answer = block.n_rows - 1
    memory = PoolingMemory(x, scores, mask, temp_rows(c, op).address, out)
    pool_time(op, memory, _states(c, op, block.streams), block.n_rows, first_answer)


@kernel
def _run_attention(c, op, block):
    """Answer to the queries of a block; a whole sequence is one, and where one answer is wanted, it is at its end."""
    query = value_rows(c, load_i64(op, codes.OP_IN), load_i64(op, codes.OP_IN_STRIDE))
    values = value_rows(c, load_i64(op, codes.OP_VALUES), load_i64(op, codes.OP_VALUES_STRIDE))
    bias = Rows(0, 0)
    if load_i64(op, codes.OP_MASKED):
        bias = value_rows(c, load_i64(op, codes.OP_MASK), VECTOR_BYTES)
    weight, work = _weights(c, op, codes.OP_WEIGHTS), temp_rows(c, op).address
    out = value_rows(c, load_i64(op, codes.OP_OUT), load_i64(op, codes.OP_OUT_STRIDE))
    memory = AttentionMemory(query, _other_rows(c, op, 0), values, bias, weight, work, out)
    if load_i64(c, codes.CONTEXT_WHOLE_SEQUENCE):
        attend_in_sequence(op, memory, block.n_rows - 1 if load_i64(op, codes.OP_SINGLE) else 0, block.n_rows)
    else:
        attend_so_far(op, memory, _states(c, op, block.streams), block.n_rows)


@kernel
def _states(c, op, streams):
    """The operation's states in those of the streams."""
    address = load_i64(c, codes.CONTEXT_STATES) + load_i64(op, codes.OP_STATE)
    stride = load_i64(c, codes.CONTEXT_STATE_STRIDE)
    return States(address, stride, streams, load_i64(c, codes.CONTEXT_STEPS_DONE))


@kernel
def _run_program(c, op, out, first, n_rows, streams):
    """Run a program for each row, from the block's row ``first`` on."""
    arena = value_rows(c, load_i64(op, codes.OP_TEMP), 0).address
    bases = arena + TEMPORARY_BYTES
    store_i64(bases, codes.BASE_WEIGHTS, load_i64(c, codes.CONTEXT_WEIGHTS))
    store_i64(bases, codes.BASE_ARENA, arena)
    states, sources = _states(c, op, streams), _weights(c, op, codes.OP_SOURCES)
    given = load_i64(c, codes.CONTEXT_GIVEN)
    for row in range(n_rows):
        store_i64(bases, codes.BASE_STATE, state_of(states, row))
        if given:
            context = load_i64(given, stream_of(states, row)) + load_i64(op, codes.OP_CONTEXT)
            store_i64(bases, codes.BASE_CONTEXT, context)
        store_i64(bases, codes.BASE_OUT, row_at(out, row))
        for i in range(load_i64(op, codes.OP_N_SOURCES)):
            x = value_rows(c, load_i64(sources, 2 * i), load_i64(sources, 2 * i + 1))
            store_i64(bases, codes.BASE_INPUTS + i, row_at(x, first + row))
        run_steps(bases, _weights(c, op, codes.OP_STEPS), load_i64(op, codes.OP_N_STEPS))


@kernel
def _run_combining(c, op, x, out, first, n_rows):
    """Combine rows, those of all positions, from the block's row ``first`` on."""
    kind = load_i64(op, codes.OP_KIND)
    if kind == codes.COPY:
        source = behind(x, F32_BYTES * load_i64(op, codes.OP_SOURCE_COLUMN))
        target = behind(out, F32_BYTES * load_i64(op, codes.OP_COLUMN))
        copy_rows(source, target, load_i64(op, codes.OP_IN_SIZE), n_rows)
    elif kind == codes.COPY_FIRST_ROW:
        source = value_rows(c, load_i64(op, codes.OP_IN), x.stride)
        copy_rows(source, out, load_i64(op, codes.OP_IN_SIZE), n_rows)
    else:
        size = load_i64(op, codes.OP_OUT_SIZE)
        other = _other_rows(c, op, first)
        if kind == codes.ADD:
            add(x, other, out, size, n_rows)
        else:
            mul(x, other, out, size, n_rows)


@kernel
def _run_on_two(c, op, x, out, first, n_rows):
    size = load_i64(op, codes.OP_OUT_SIZE)
    other = _other_rows(c, op, first)
    if load_i64(op, codes.OP_KIND) == codes.BINARY:
        binary(load_i64(op, codes.OP_FUNCTION), x, other, out, size, n_rows)
    else:
        select(other, x, out, size, n_rows)


@kernel
def _other_rows(c, op, first):
    """The rows of the second operand, from the block's row ``first`` on."""
    other = value_rows(c, load_i64(op, codes.OP_OTHER), load_i64(op, codes.OP_OTHER_STRIDE))
    return rows_from(other, first * load_i64(op, codes.OP_POSITIONS))


@kernel
def _copy_positions(op, x_timesteps, out_timesteps, n_rows):
    """A vector to a grid, or back: copy the features at each position of each timestep."""
    for row in range(n_rows):
        x = Rows(row_at(x_timesteps, row), load_i64(op, codes.OP_IN_STRIDE))
        out = Rows(row_at(out_timesteps, row), load_i64(op, codes.OP_OUT_STRIDE))
        copy_rows(x, out, load_i64(op, codes.OP_IN_SIZE), load_i64(op, codes.OP_POSITIONS))


@kernel
def _run_on_tokens(c, op, first, spacing, out, n_rows):
    """Look up the tokens of the call's timesteps ``first``, ``first + spacing``, and so on."""
    port = port_slot(load_i64(op, codes.OP_INPUT))
    timesteps = Rows(load_i64(c, port + codes.PORT_ADDRESS), I64_BYTES)
    tokens = every(rows_from(timesteps, first), spacing)
    if load_i64(op, codes.OP_KIND) == codes.EMBEDDING:
        weights, vocabulary_size = _weights(c, op, codes.OP_WEIGHTS), load_i64(c, port + codes.PORT_SIZE)
        table = Table(load_i64(op, codes.OP_FORMAT), weights, vocabulary_size, load_i64(op, codes.OP_OUT_SIZE))
        embedding(table, tokens, out, n_rows)
    else:
        token_mask(load_i64(op, codes.OP_TOKEN), tokens, out, n_rows)


@kernel
def _run_rowwise(c, op, x, out, first, n_rows):
    """Run what goes row by row, those of all positions, from the block's row ``first`` on."""
    kind = load_i64(op, codes.OP_KIND)
    weights = _weights(c, op, codes.OP_WEIGHTS)
    parameters = _weights(c, op, codes.OP_PARAMETERS)
    size = load_i64(op, codes.OP_OUT_SIZE)
    if kind == codes.FUNCTION:
        in_all = n_rows * (out.stride // F32_BYTES)
        function(load_i64(op, codes.OP_FUNCTION), parameters, x.address, out.address, in_all)
    elif kind == codes.LAYER_NORM:
        layer_norm(weights, load_f32(parameters, 0), x, out, size, n_rows)
    elif kind == codes.RMS_NORM:
        rms_norm(weights, load_f32(parameters, 0), x, out, size, n_rows)
    elif kind == codes.BATCH_NORM:
        batch_norm(weights, x, out, size, n_rows)
    elif kind == codes.PRELU:
        prelu(weights, x, out, size, n_rows)
    elif kind == codes.SOFTMAX:
        softmax(x, out, size, n_rows)
    elif kind == codes.FEATURE_MASK:
        feature_mask(load_f32(parameters, 0), x, load_i64(op, codes.OP_IN_SIZE), out, n_rows)
    elif kind == codes.LOG_SOFTMAX:
        log_softmax(x, out, size, n_rows)
    elif kind == codes.REDUCE:
        reduce(load_i64(op, codes.OP_FUNCTION), x, out, load_i64(op, codes.OP_IN_SIZE), n_rows)
    elif kind == codes.CONSTANT:
        constant(weights, out, n_rows)
    else:
        _run_on_two(c, op, x, out, first, n_rows)
