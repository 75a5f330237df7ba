"""Recurrent operators: a scan over the timesteps inside of one timestep of the program, in one direction.

Hidden sizes are padded to whole vectors. A row is one timestep of one of the batch; those of a timestep follow each
other. The input's part of the gates is made first, for all rows, in working memory.
"""

from grurt.kernels import codes
from grurt.kernels.dense import Matrix, dense
from grurt.kernels.functions import apply, gate_sigmoid, tanh
from grurt.kernels.gru import gru_grid, gru_sequence, gru_timestep
from grurt.kernels.gru_memory import GRUMemory, GRUWeights
from grurt.kernels.options import kernel
from grurt.kernels.panels import Panels, reads_records, weights_bytes
from grurt.kernels.products import row_times_four_vectors, row_times_vector
from grurt.kernels.programs.tables import arena_at, number_at, table_at, view_at
from grurt.kernels.quantize import LEAST_INPUT, LEAST_STATE, quantize_rows
from grurt.kernels.rows import Rows, behind, copy_padded, flush, row_at
from grurt.kernels.simd import fma, load, load_i64, store
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.kernels.tables import States
from grurt.lanes import LANES


@kernel
def run_gru(bases, step):
    """A GRU: see `grurt.kernels.cell` for its equations."""
    op = table_at(bases, step, codes.STEP_OPERATION)
    packed = load_i64(bases, codes.BASE_WEIGHTS)
    weights = GRUWeights(
        input=packed + load_i64(op, codes.OP_WEIGHTS),
        recurrent=packed + load_i64(op, codes.OP_RECURRENT_WEIGHTS),
        parameters=packed + load_i64(op, codes.OP_PARAMETERS),
    )
    memory = GRUMemory(_x(bases, step), Rows(0, 0), Rows(0, 0), _work(bases, step), _out(bases, step))
    state, length = arena_at(bases, step, codes.STEP_STATE), number_at(step, codes.STEP_N_ROWS)
    if number_at(step, codes.STEP_BATCH) > 1:
        gru_grid(op, weights, States(state, 0, 0, 0), memory, length)
    elif length == 1 and load_i64(op, codes.OP_KIND) == codes.GRU:
        out = Rows(memory.out.address, load_i64(op, codes.OP_OUT_STRIDE))
        gru_timestep(op, weights, state, GRUMemory(memory.x, memory.mask, memory.factor, memory.work, out), 0)
    else:
        gru_sequence(op, weights, state, memory, length)


@kernel
def run_lstm(bases, step):
    """An LSTM: ``c' = f * c + i * g``, ``h' = o * tanh(c')``, with i, f, o sigmoids and g a tanh of their sums."""
    out, work = _out(bases, step), _work(bases, step)
    state, cell = arena_at(bases, step, codes.STEP_STATE), arena_at(bases, step, codes.STEP_CELL)
    hidden_size, batch = number_at(step, codes.STEP_HIDDEN_SIZE), number_at(step, codes.STEP_BATCH)
    recurrent = table_at(bases, step, codes.STEP_RECURRENT_WEIGHTS)
    state_stride = F32_BYTES * number_at(step, codes.STEP_STATE_STRIDE)
    vectors = (hidden_size + LANES - 1) // LANES
    weight_format = number_at(step, codes.STEP_FORMAT)
    panel_bytes = weights_bytes(weight_format, hidden_size, 4)
    _project(bases, step, work, 4 * vectors)
    for i in range(batch * number_at(step, codes.STEP_N_ROWS)):
        row, member = _row_and_member(step, i)
        h, c = state + state_stride * member, cell + state_stride * member
        sums, h_next = row_at(work, row), row_at(out, row)
        features = Rows(_hidden_features(step, h, sums), 0)
        for unit in range(vectors):
            gates = sums + 4 * VECTOR_BYTES * unit
            start = (load(gates, 0), load(gates, LANES), load(gates, 2 * LANES), load(gates, 3 * LANES))
            panel = Panels(weight_format, recurrent + panel_bytes * unit, 0, hidden_size)
            i_sum, o_sum, f_sum, c_sum = row_times_four_vectors(panel, features, start)
            kept = gate_sigmoid(f_sum) * load(c, LANES * unit)
            c_next = flush(fma(gate_sigmoid(i_sum), tanh(c_sum), kept))
            store(c, LANES * unit, c_next)
            store(h_next, LANES * unit, flush(gate_sigmoid(o_sum) * tanh(c_next)))
        copy_padded(h_next, h, VECTOR_BYTES * vectors)


@kernel
def run_rnn(bases, step):
    """A simple recurrent unit: ``h' = f(W x + R h + b)``."""
    out, work = _out(bases, step), _work(bases, step)
    state, code = arena_at(bases, step, codes.STEP_STATE), number_at(step, codes.STEP_CODE)
    parameters = table_at(bases, step, codes.STEP_PARAMETERS)
    hidden_size, batch = number_at(step, codes.STEP_HIDDEN_SIZE), number_at(step, codes.STEP_BATCH)
    recurrent = table_at(bases, step, codes.STEP_RECURRENT_WEIGHTS)
    state_stride = F32_BYTES * number_at(step, codes.STEP_STATE_STRIDE)
    vectors = (hidden_size + LANES - 1) // LANES
    weight_format = number_at(step, codes.STEP_FORMAT)
    panel_bytes = weights_bytes(weight_format, hidden_size, 1)
    _project(bases, step, work, vectors)
    for i in range(batch * number_at(step, codes.STEP_N_ROWS)):
        row, member = _row_and_member(step, i)
        h = state + state_stride * member
        sums, h_next = row_at(work, row), row_at(out, row)
        features = Rows(_hidden_features(step, h, sums), 0)
        for unit in range(vectors):
            panel = Panels(weight_format, recurrent + panel_bytes * unit, 0, hidden_size)
            (total,) = row_times_vector(panel, features, (load(sums, LANES * unit),))
            store(h_next, LANES * unit, flush(apply(code, parameters, total)))
        copy_padded(h_next, h, VECTOR_BYTES * vectors)


@kernel
def _row_and_member(step, i):
    """The row that comes when i have been, and whose of the batch it is."""
    batch = number_at(step, codes.STEP_BATCH)
    t, member = i // batch, i % batch
    if number_at(step, codes.STEP_REVERSE):
        t = number_at(step, codes.STEP_N_ROWS) - 1 - t
    return t * batch + member, member


@kernel
def _project(bases, step, work, vectors):
    """Write the input's part of the gates' sums."""
    weights, n_inputs = table_at(bases, step, codes.STEP_WEIGHTS), number_at(step, codes.STEP_N_INPUTS)
    n_rows = number_at(step, codes.STEP_BATCH) * number_at(step, codes.STEP_N_ROWS)
    matrix, x = Matrix(number_at(step, codes.STEP_FORMAT), weights, n_inputs, vectors), _x(bases, step)
    if reads_records(matrix.format):
        records = behind(work, F32_BYTES * number_at(step, codes.STEP_RECORD))
        quantize_rows(x, n_inputs, LEAST_INPUT, records, n_rows)
        x = records
    dense(matrix, x, work, n_rows)


@kernel
def _hidden_features(step, h, work):
    """Address of a state as products read it: as it is, or as the second record of a row of working memory."""
    if not reads_records(number_at(step, codes.STEP_FORMAT)):
        return h
    record = work + F32_BYTES * number_at(step, codes.STEP_HIDDEN_RECORD)
    quantize_rows(Rows(h, 0), number_at(step, codes.STEP_HIDDEN_SIZE), LEAST_STATE, Rows(record, 0), 1)
    return record


@kernel
def _x(bases, step):
    return Rows(view_at(bases, step, codes.STEP_A_BASE), F32_BYTES * number_at(step, codes.STEP_A_STRIDE))


@kernel
def _out(bases, step):
    return Rows(view_at(bases, step, codes.STEP_OUT_BASE), F32_BYTES * number_at(step, codes.STEP_OUT_STRIDE))


@kernel
def _work(bases, step):
    return Rows(arena_at(bases, step, codes.STEP_WORK), F32_BYTES * number_at(step, codes.STEP_WORK_STRIDE))
