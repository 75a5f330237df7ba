"""The GRU over a block of timesteps: of one sequence, of many streams, of a grid of positions, or along its positions.

The input's part of all three gates is a `dense` product of the whole block, made first: a block of timesteps reads
those weights once for four timesteps. What is left is the recurrence, one timestep after the other: see
`grurt.kernels.cell`, which has the equations. A single timestep makes both at once.

In all of them, hidden sizes are padded to whole vectors, nothing may alias, and where the first number of a row of the
mask is 0, h' = h. Where there is a factor, h stands for the state of the timestep before times the row of the factor.
"""

from grurt.kernels import codes
from grurt.kernels.cell import AT_ONCE, Projection, State, projected, timestep, timestep_reset_before
from grurt.kernels.cell_rows import recur_rows
from grurt.kernels.dense import Matrix, dense
from grurt.kernels.gru_memory import (
    GATES,
    GRUMemory,
    hidden_features,
    hidden_rows,
    input_features,
    input_panel_bytes,
    is_skipped,
    memory_from,
    scale_state,
)
from grurt.kernels.options import kernel
from grurt.kernels.rows import Rows, copy_padded, copy_padded_rows, every, row_at, rows_from
from grurt.kernels.simd import load_i64
from grurt.kernels.sizes import VECTOR_BYTES
from grurt.kernels.tables import state_of


@kernel
def gru_timestep(op, weights, state, memory, backward):
    """Advance one GRU with linear_before_reset by one timestep: x ``(in_size,)`` -> out ``(hidden_size,)``.

    The projection is made panel by panel, in the order that ``backward`` says. Reads and writes ``state
    (hidden_size,)``, an address: in place, where all of h has been read before any of it is written, since the next
    timestep waits for it.
    """
    if memory.factor.address:
        scale_state(op, memory, 0, state, state)
    features = input_features(op, memory.x, memory.work, 1)
    projection = Projection(weights.input, input_panel_bytes(op), features.address, load_i64(op, codes.OP_IN_SIZE))
    hidden = hidden_features(op, state, memory.work.address)
    written, other = memory.out.address, state
    if memory.out.stride <= AT_ONCE * VECTOR_BYTES:
        written, other = state, memory.out.address
    timestep(op, weights, projection, State(state, written, hidden), backward)
    copy_padded(written, other, memory.out.stride)


@kernel
def gru_sequence(op, weights, state, memory, n_rows):
    """Advance one GRU by ``n_rows`` timesteps: x ``(n_rows, in_size)`` -> out ``(n_rows, hidden_size)``.

    Reads and writes ``state (hidden_size,)``, an address.
    """
    _project(op, weights, memory, n_rows)
    copy_padded(_scan(op, weights, state, memory, n_rows), state, load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def _scan(op, weights, h, memory, n_rows):
    """Advance from the state at h over rows that are one sequence, and return the address of the last state."""
    for i in range(n_rows):
        row = n_rows - 1 - i if load_i64(op, codes.OP_REVERSE) else i
        work = row_at(memory.work, row)
        h_next = row_at(memory.out, row)
        if memory.factor.address:
            scaled = row_at(hidden_rows(op, memory.work), row)
            scale_state(op, memory, row, h, scaled)
            h = scaled
        if is_skipped(memory.mask, row):
            copy_padded(h, h_next, memory.out.stride)
        elif load_i64(op, codes.OP_KIND) == codes.GRU:
            timestep(op, weights, projected(work), State(h, h_next, hidden_features(op, h, work)), i & 1)
        else:
            timestep_reset_before(op, weights, work, h, h_next)
        h = h_next
    return h


@kernel
def gru_streams(op, weights, states, memory, n_streams, backward):
    """Advance one GRU by one timestep of ``n_streams`` streams: x ``(n_streams, positions, in_size)`` -> out.

    A stream has a state for each position. With linear_before_reset, four streams or positions share each read of the
    recurrent weights.
    """
    _project(op, weights, memory, n_streams * load_i64(op, codes.OP_POSITIONS))
    _advance_streams(op, weights, states, memory, n_streams, backward)


@kernel
def gru_grid(op, weights, states, memory, n_rows):
    """Advance one GRU by ``n_rows`` timesteps of a grid: x ``(n_rows, positions, in_size)`` -> out.

    There is a state for each position: ``(positions, hidden_size)``, those of stream 0.
    """
    positions = load_i64(op, codes.OP_POSITIONS)
    _project(op, weights, memory, n_rows * positions)
    for i in range(n_rows):
        row = n_rows - 1 - i if load_i64(op, codes.OP_REVERSE) else i
        _advance_streams(op, weights, states, memory_from(memory, positions * row), 1, i & 1)


@kernel
def _advance_streams(op, weights, states, memory, n_streams, backward):
    """One timestep of every position of streams."""
    positions = load_i64(op, codes.OP_POSITIONS)
    own_h = hidden_rows(op, memory.work)
    for i in range(n_streams):
        state = Rows(state_of(states, i), memory.out.stride)
        copy_padded_rows(state, rows_from(own_h, positions * i), memory.out.stride, positions)
    for i in range(n_streams * positions if memory.factor.address else 0):
        scale_state(op, memory, i, row_at(own_h, i), row_at(own_h, i))
    recur_rows(op, weights, memory, n_streams * positions, backward)
    for i in range(n_streams):
        state = Rows(state_of(states, i), memory.out.stride)
        copy_padded_rows(rows_from(memory.out, positions * i), state, memory.out.stride, positions)


@kernel
def gru_positions(op, weights, initial, memory, n_rows):
    """Scan the positions of each of ``n_rows`` timesteps: x ``(n_rows, positions, in_size)`` -> out.

    Every timestep begins at the state at the address ``initial``. Timesteps are independent: with linear_before_reset,
    four share each read of the recurrent weights.
    """
    positions = load_i64(op, codes.OP_POSITIONS)
    _project(op, weights, memory, n_rows * positions)
    if n_rows < 4:
        for i in range(n_rows):
            _scan(op, weights, initial, memory_from(memory, positions * i), positions)
        return
    h = Rows(initial, 0)
    for i in range(positions):
        position = positions - 1 - i if load_i64(op, codes.OP_REVERSE) else i
        rows = _at_position(memory_from(memory, position), positions)
        copy_padded_rows(h, hidden_rows(op, rows.work), memory.out.stride, n_rows)
        recur_rows(op, weights, rows, n_rows, i & 1)
        h = rows.out


@kernel
def _at_position(memory, positions):
    """The memory of the first position of each timestep."""
    x, mask = every(memory.x, positions), every(memory.mask, positions)
    return GRUMemory(x, mask, memory.factor, every(memory.work, positions), every(memory.out, positions))


@kernel
def _project(op, weights, memory, n_rows):
    """Write the input's part of the gates' sums."""
    vectors = GATES * (load_i64(op, codes.OP_OUT_STRIDE) // VECTOR_BYTES)
    matrix = Matrix(load_i64(op, codes.OP_FORMAT), weights.input, load_i64(op, codes.OP_IN_SIZE), vectors)
    dense(matrix, input_features(op, memory.x, memory.work, n_rows), memory.work, n_rows)
