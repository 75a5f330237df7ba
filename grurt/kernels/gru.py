"""The GRU over a block of timesteps: of one sequence, of many streams, of a grid of positions, or along its positions.

The input's part of all three gates is a `dense` product of the whole block, made first: a block of timesteps reads
those weights once for four timesteps. What is left is the recurrence, one timestep after the other: see
`grurt.kernels.cell`. A single timestep makes both at once.
"""

from grurt.kernels import codes
from grurt.kernels.cell import (
    hidden_features,
    input_features,
    recur_rows,
    single_timestep,
    timestep,
    timestep_reset_before,
)
from grurt.kernels.dense import PANEL, dense, dense_bytes
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy, copy_rows
from grurt.kernels.simd import F32_BYTES, load_f32, load_i64
from grurt.lanes import LANES


@kernel
def gru(op, weights, parameters, state, mask, x, out, projected, rows, backward):
    """Advance one GRU by ``rows`` timesteps: x ``(rows, in_size)`` -> out ``(rows, hidden_size)``.

    ::

        z = f(P_z + R_z h)                       P = W x + b, the biases that are not reset being one
        r = f(P_r + R_r h)
        n = g(P_n + r * (R_n h + c_n))           linear_before_reset
        n = g(P_n + R_n (r * h))                 otherwise
        h' = n + z * (h - n)

    Reads and writes ``state (hidden_size,)``; writes ``projected``, the rows' working memory. All are addresses; hidden
    sizes are padded to whole vectors, and nothing may alias. Where the first number of a row of ``mask`` is 0, h' = h;
    at the address 0 there is no mask. ``backward`` is the order of panels in the first timestep.
    """
    if rows == 1 and load_i64(op, codes.OP_KIND) == codes.GRU and not mask:
        single_timestep(op, weights, parameters, state, x, out, projected, backward)
        copy(out, state, load_i64(op, codes.OP_OUT_STRIDE))
    else:
        recurrent = _project(op, weights, x, projected, rows)
        h = _scan(op, parameters, recurrent, state, mask, projected, out, rows)
        copy(h, state, load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def _scan(op, parameters, recurrent, h, mask, projected, out, rows):
    """Advance from the state at h over rows that are one sequence, and return the address of the last state."""
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    projected_stride = load_i64(op, codes.OP_TEMP_STRIDE)
    step = 1
    row = 0
    if load_i64(op, codes.OP_REVERSE):
        step = -1
        row = rows - 1
    for i in range(rows):
        p = projected + F32_BYTES * projected_stride * row
        h_next = out + F32_BYTES * out_stride * row
        if _is_skipped(mask, row):
            copy(h, h_next, out_stride)
        elif load_i64(op, codes.OP_KIND) == codes.GRU:
            features = hidden_features(op, h, p)
            timestep(op, parameters, p, F32_BYTES * PANEL, 0, 0, recurrent, features, h, h_next, i & 1)
        else:
            timestep_reset_before(op, parameters, recurrent, p, h, h_next)
        h = h_next
        row += step
    return h


@kernel
def gru_streams(op, weights, parameters, states, state_size, streams, mask, x, out, projected, rows, backward):
    """Advance one GRU by one timestep of ``rows`` streams: x ``(rows, positions, in_size)`` -> out.

    The equations are those of `gru`. The states of row i, one for each position, are ``states[streams[i]]``,
    ``state_size`` long. With linear_before_reset, four streams or positions share each read of the recurrent weights.
    """
    recurrent = _project(op, weights, x, projected, rows * load_i64(op, codes.OP_POSITIONS))
    _advance_streams(op, parameters, recurrent, states, state_size, streams, mask, projected, out, rows, backward)


@kernel
def gru_grid(op, weights, parameters, state, mask, x, out, projected, rows):
    """Advance one GRU by ``rows`` timesteps of a grid: x ``(rows, positions, in_size)`` -> out.

    The equations are those of `gru`, with a state for each position: ``state (positions, hidden_size)``.
    """
    positions = load_i64(op, codes.OP_POSITIONS)
    recurrent = _project(op, weights, x, projected, rows * positions)
    for i in range(rows):
        first = positions * i
        if load_i64(op, codes.OP_REVERSE):
            first = positions * (rows - 1 - i)
        p = projected + F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE) * first
        h_next = out + F32_BYTES * load_i64(op, codes.OP_OUT_STRIDE) * first
        _advance_streams(op, parameters, recurrent, state, 0, 0, _mask_row(mask, first), p, h_next, 1, i & 1)


@kernel
def _advance_streams(op, parameters, recurrent, states, state_size, streams, mask, projected, out, n_streams, backward):
    """One timestep of every position of streams; of the first stream alone where ``streams`` is 0."""
    stride = load_i64(op, codes.OP_OUT_STRIDE)
    p_stride = load_i64(op, codes.OP_TEMP_STRIDE)
    positions = load_i64(op, codes.OP_POSITIONS)
    rows = n_streams * positions
    hidden = projected + F32_BYTES * PANEL * (stride // LANES)
    for i in range(n_streams):
        state = _state(states, state_size, streams, i)
        copy_rows(state, stride, hidden + F32_BYTES * p_stride * positions * i, p_stride, stride, positions)
    recur_rows(op, parameters, recurrent, projected, p_stride, mask, LANES, out, stride, rows, backward)
    for i in range(n_streams):
        state = _state(states, state_size, streams, i)
        copy(out + F32_BYTES * stride * positions * i, state, stride * positions)


@kernel
def _state(states, state_size, streams, i):
    """Address of the state of the stream in row i."""
    if streams:
        return states + F32_BYTES * state_size * load_i64(streams, i)
    return states


@kernel
def gru_positions(op, weights, parameters, initial, mask, x, out, projected, rows):
    """Scan the positions of each of ``rows`` timesteps: x ``(rows, positions, in_size)`` -> out.

    The equations are those of `gru`; every timestep begins at the state ``initial``. Timesteps are independent: with
    linear_before_reset, four share each read of the recurrent weights.
    """
    stride = load_i64(op, codes.OP_OUT_STRIDE)
    p_stride = load_i64(op, codes.OP_TEMP_STRIDE)
    positions = load_i64(op, codes.OP_POSITIONS)
    recurrent = _project(op, weights, x, projected, rows * positions)
    if rows < 4:
        for i in range(rows):
            p = projected + F32_BYTES * p_stride * positions * i
            row_out = out + F32_BYTES * stride * positions * i
            _scan(op, parameters, recurrent, initial, _mask_row(mask, positions * i), p, row_out, positions)
        return
    step = 1
    position = 0
    if load_i64(op, codes.OP_REVERSE):
        step = -1
        position = positions - 1
    h = initial
    h_stride = 0
    for i in range(positions):
        p = projected + F32_BYTES * p_stride * position
        h_next = out + F32_BYTES * stride * position
        copy_rows(h, h_stride, p + F32_BYTES * PANEL * (stride // LANES), p_stride * positions, stride, rows)
        position_mask = _mask_row(mask, position)
        recur_rows(
            op,
            parameters,
            recurrent,
            p,
            p_stride * positions,
            position_mask,
            LANES * positions,
            h_next,
            stride * positions,
            rows,
            i & 1,
        )
        h = h_next
        h_stride = stride * positions
        position += step


@kernel
def _is_skipped(mask, row):
    return mask != 0 and load_f32(mask, LANES * row) == 0.0


@kernel
def _mask_row(mask, row):
    """Address of a row of the mask; 0 where there is none."""
    if mask:
        return mask + F32_BYTES * LANES * row
    return mask


@kernel
def _project(op, weights, x, projected, rows):
    """Write the input's part of the gates' sums, and return the address of the recurrent weights."""
    weights_format = load_i64(op, codes.OP_FORMAT)
    vectors = 3 * (load_i64(op, codes.OP_OUT_STRIDE) // LANES)
    in_size = load_i64(op, codes.OP_IN_SIZE)
    p_stride = F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE)
    features, features_stride = input_features(op, x, projected, rows)
    dense(weights_format, weights, vectors, features, features_stride, in_size, projected, p_stride, rows)
    return weights + dense_bytes(weights_format, vectors, in_size)
