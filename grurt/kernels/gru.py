"""The GRU, over the rows of one block of timesteps.

The input's part of all three gates is a `dense` product of the whole block, made first: a block of timesteps reads
those weights once for four timesteps. What is left is the recurrence, one timestep after the other. A single timestep
makes both at once, 32 hidden units at a time.

Panels are read forwards and backwards in turn: of weights that a cache cannot hold, those that were read last, and are
still there, are read first.

Packed recurrent weights are panels of 16 hidden units: with ``linear_before_reset`` c_n and then the weights of z, r
and n, as `grurt.kernels.products` has them; without it the weights of z and r, and behind those of all units the
weights of n. All biases but c_n are part of the projection.

A row of working memory holds the projections of z, r and n, panel by panel, the row's own h, without
``linear_before_reset`` also r * h, and with INT8 two records: of x, and of h or r * h.
"""

from grurt.kernels import codes
from grurt.kernels.dense import PANEL, dense, dense_bytes
from grurt.kernels.functions import apply, gate_sigmoid, limit, tanh
from grurt.kernels.options import kernel
from grurt.kernels.products import VECTOR_BYTES, block_product, weights_bytes
from grurt.kernels.quantize import LEAST_INPUT, LEAST_STATE, quantize_rows
from grurt.kernels.rows import copy, copy_rows, flush
from grurt.kernels.simd import F32_BYTES, fma, load, load_f32, load_i64, splat, store
from grurt.lanes import LANES

_one_panel = block_product(1, 1, 3)
_two_panels = block_product(1, 2, 3)
_four_rows_of_panel = block_product(4, 1, 3)
_two_vectors = block_product(1, 1, 2)
_one_vector = block_product(1, 1, 1)


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
        _single_timestep(op, weights, parameters, state, x, out, projected, backward)
        copy(out, state, load_i64(op, codes.OP_OUT_STRIDE))
    else:
        recurrent = _project(op, weights, x, projected, rows)
        h = _scan(op, parameters, recurrent, state, mask, projected, out, rows)
        copy(h, state, load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def _single_timestep(op, weights, parameters, h, x, h_next, p, backward):
    """One timestep, its projection made panel by panel."""
    in_size = load_i64(op, codes.OP_IN_SIZE)
    panel_stride = dense_bytes(load_i64(op, codes.OP_FORMAT), 3, in_size)
    recurrent = weights + panel_stride * (load_i64(op, codes.OP_OUT_STRIDE) // LANES)
    features, _ = _input_features(op, x, p, 1)
    hidden = _hidden_features(op, h, p)
    _timestep(op, parameters, weights, panel_stride, features, in_size, recurrent, hidden, h, h_next, backward)


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
            features = _hidden_features(op, h, p)
            _timestep(op, parameters, p, F32_BYTES * PANEL, 0, 0, recurrent, features, h, h_next, i & 1)
        else:
            _timestep_reset_before(op, parameters, recurrent, p, h, h_next)
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
    _recur_rows(op, parameters, recurrent, projected, p_stride, mask, LANES, out, stride, rows, backward)
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
        _recur_rows(
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
    features, features_stride = _input_features(op, x, projected, rows)
    dense(weights_format, weights, vectors, features, features_stride, in_size, projected, p_stride, rows)
    return weights + dense_bytes(weights_format, vectors, in_size)


@kernel
def _input_features(op, x, p, rows):
    """``(address, stride)`` of the rows of x as products read them: as they are, or as the records of rows at p."""
    x_stride = F32_BYTES * load_i64(op, codes.OP_IN_STRIDE)
    if load_i64(op, codes.OP_FORMAT) != codes.INT8:
        return x, x_stride
    p_stride = F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE)
    records = p + F32_BYTES * load_i64(op, codes.OP_RECORD)
    quantize_rows(x, x_stride, load_i64(op, codes.OP_IN_SIZE), LEAST_INPUT, records, p_stride, rows)
    return records, p_stride


@kernel
def _hidden_features(op, h, p):
    """Address of a state as products read it: as it is, or as the second record of the row at p."""
    if load_i64(op, codes.OP_FORMAT) != codes.INT8:
        return h
    record = p + F32_BYTES * load_i64(op, codes.OP_HIDDEN_RECORD)
    quantize_rows(h, 0, load_i64(op, codes.OP_OUT_SIZE), LEAST_STATE, record, 0, 1)
    return record


@kernel
def _recur_rows(op, parameters, w, p, p_stride, mask, mask_stride, h_next, h_stride, rows, backward):
    """One timestep of independent rows at p; those that the mask skips keep their state. Strides are in float32."""
    own_h = 3 * load_i64(op, codes.OP_OUT_STRIDE)
    if load_i64(op, codes.OP_KIND) == codes.GRU:
        _recur_in_panels(op, parameters, w, p, F32_BYTES * p_stride, h_next, F32_BYTES * h_stride, rows, backward)
    else:
        for i in range(rows):
            row_p = p + F32_BYTES * p_stride * i
            row_h_next = h_next + F32_BYTES * h_stride * i
            _timestep_reset_before(op, parameters, w, row_p, row_p + F32_BYTES * own_h, row_h_next)
    if mask:
        for i in range(rows):
            if load_f32(mask, mask_stride * i) == 0.0:
                row_h = p + F32_BYTES * (p_stride * i + own_h)
                copy(row_h, h_next + F32_BYTES * h_stride * i, load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def _recur_in_panels(op, parameters, w, p, p_stride, h_next, h_stride, rows, backward):
    """The rows of `_recur_rows` with linear_before_reset: panel by panel, four rows to a read of the weights."""
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    panel_stride = VECTOR_BYTES + weights_bytes(load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_OUT_SIZE), 3)
    own_h = PANEL * F32_BYTES * vectors
    features = own_h
    if load_i64(op, codes.OP_FORMAT) == codes.INT8:
        features = F32_BYTES * load_i64(op, codes.OP_HIDDEN_RECORD)
        size = load_i64(op, codes.OP_OUT_SIZE)
        quantize_rows(p + own_h, p_stride, size, LEAST_STATE, p + features, p_stride, rows)
    for i in range(vectors):
        unit = vectors - 1 - i if backward else i
        panel = w + panel_stride * unit
        row = 0
        while row + 4 <= rows:
            row_p = p + p_stride * row
            row_h_next = h_next + h_stride * row
            _four_rows(op, parameters, panel, row_p, row_p + features, p_stride, row_h_next, h_stride, unit)
            row += 4
        while row < rows:
            row_p = p + p_stride * row
            start = row_p + PANEL * F32_BYTES * unit
            row_h_next = h_next + h_stride * row
            _unit(op, parameters, start, 0, 0, 0, panel, row_p + features, row_p + own_h, row_h_next, unit)
            row += 1


@kernel
def _four_rows(op, parameters, w, p, features, p_stride, h_next, h_stride, unit):
    """One panel of four rows."""
    h = p + F32_BYTES * 3 * load_i64(op, codes.OP_OUT_STRIDE)
    p += F32_BYTES * PANEL * unit
    q, s, t = p + p_stride, p + 2 * p_stride, p + 3 * p_stride
    c = load(w, 0)
    first_two = (load(p, 0), load(p, LANES), c, load(q, 0), load(q, LANES), c)
    last_two = (load(s, 0), load(s, LANES), c, load(t, 0), load(t, LANES), c)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    weights_format = load_i64(op, codes.OP_FORMAT)
    sums = _four_rows_of_panel(
        weights_format, w + VECTOR_BYTES, 0, features, p_stride, hidden_size, (*first_two, *last_two)
    )
    _finish(op, parameters, sums[0], sums[1], load(p, 2 * LANES), sums[2], h, h_next, unit)
    h, h_next = h + p_stride, h_next + h_stride
    _finish(op, parameters, sums[3], sums[4], load(q, 2 * LANES), sums[5], h, h_next, unit)
    h, h_next = h + p_stride, h_next + h_stride
    _finish(op, parameters, sums[6], sums[7], load(s, 2 * LANES), sums[8], h, h_next, unit)
    h, h_next = h + p_stride, h_next + h_stride
    _finish(op, parameters, sums[9], sums[10], load(t, 2 * LANES), sums[11], h, h_next, unit)


@kernel
def _timestep(op, parameters, start, start_stride, x, in_size, recurrent, features, h, h_next, backward):
    """One timestep of one row, two panels at a time: independent sums hide the latency of additions.

    ``start`` is the address of the vectors z, r, n that a panel's sums start from; behind them, unless in_size is 0,
    are the weights of the input features x. ``features`` are those of h.
    """
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    panel_stride = VECTOR_BYTES + weights_bytes(load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_OUT_SIZE), 3)
    turns = (vectors + 1) // 2
    for i in range(turns):
        unit = 2 * (turns - 1 - i if backward else i)
        s = start + start_stride * unit
        w = recurrent + panel_stride * unit
        if unit + 1 < vectors:
            _two_units(op, parameters, s, start_stride, x, in_size, w, panel_stride, features, h, h_next, unit)
        else:
            _unit(op, parameters, s, start_stride, x, in_size, w, features, h, h_next, unit)


@kernel
def _unit(op, parameters, start, start_stride, x, in_size, w, features, h, h_next, unit):
    """One panel, 16 hidden units, of `_timestep`."""
    weights_format = load_i64(op, codes.OP_FORMAT)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    sums = (load(start, 0), load(start, LANES), load(start, 2 * LANES))
    if in_size:
        sums = _one_panel(weights_format, start + 3 * VECTOR_BYTES, start_stride, x, 0, in_size, sums)
    z, r, projected = sums
    z, r, n = _one_panel(weights_format, w + VECTOR_BYTES, 0, features, 0, hidden_size, (z, r, load(w, 0)))
    _finish(op, parameters, z, r, projected, n, h, h_next, unit)


@kernel
def _two_units(op, parameters, start, start_stride, x, in_size, w, w_stride, features, h, h_next, unit):
    """Two panels of `_timestep`."""
    weights_format = load_i64(op, codes.OP_FORMAT)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    second = start + start_stride
    sums = (
        load(start, 0),
        load(start, LANES),
        load(start, 2 * LANES),
        load(second, 0),
        load(second, LANES),
        load(second, 2 * LANES),
    )
    if in_size:
        sums = _two_panels(weights_format, start + 3 * VECTOR_BYTES, start_stride, x, 0, in_size, sums)
    z0, r0, projected0, z1, r1, projected1 = sums
    sums = (z0, r0, load(w, 0), z1, r1, load(w + w_stride, 0))
    sums = _two_panels(weights_format, w + VECTOR_BYTES, w_stride, features, 0, hidden_size, sums)
    z0, r0, n0, z1, r1, n1 = sums
    _finish(op, parameters, z0, r0, projected0, n0, h, h_next, unit)
    _finish(op, parameters, z1, r1, projected1, n1, h, h_next, unit + 1)


@kernel
def _finish(op, parameters, z, r, n_projected, n_recurrent, h, h_next, unit):
    """From the sums of 16 hidden units to their new state (linear_before_reset)."""
    r = _gate(op, parameters, r)
    n = _candidate(op, parameters, fma(r, n_recurrent, n_projected))
    _blend(_gate(op, parameters, z), n, h, h_next, unit)


@kernel
def _blend(z, n, h, h_next, unit):
    """``h' = (1 - z) * n + z * h``, as ``n + z * (h - n)``; a state that decays ends at zero."""
    new = fma(z, load(h, LANES * unit) - n, n)
    store(h_next, LANES * unit, flush(new))


@kernel
def _timestep_reset_before(op, parameters, w, p, h, h_next):
    """One timestep without linear_before_reset: n needs r of every unit before its own sums begin."""
    weights_format = load_i64(op, codes.OP_FORMAT)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    reset_h = p + F32_BYTES * (PANEL + LANES) * vectors
    features = _hidden_features(op, h, p)
    for unit in range(vectors):
        sums = (load(p, PANEL * unit), load(p, PANEL * unit + LANES))
        z, r = _two_vectors(weights_format, w, 0, features, 0, hidden_size, sums)
        w += weights_bytes(weights_format, hidden_size, 2)
        store(p, PANEL * unit, _gate(op, parameters, z))
        store(reset_h, LANES * unit, _gate(op, parameters, r) * load(h, LANES * unit))
    features = _hidden_features(op, reset_h, p)
    for unit in range(vectors):
        (n,) = _one_vector(weights_format, w, 0, features, 0, hidden_size, (load(p, PANEL * unit + 2 * LANES),))
        w += weights_bytes(weights_format, hidden_size, 1)
        _blend(load(p, PANEL * unit), _candidate(op, parameters, n), h, h_next, unit)


@kernel
def _gate(op, parameters, x):
    code = load_i64(op, codes.OP_GATE)
    if code == codes.GATE_SIGMOID and not load_i64(op, codes.OP_CLIPPED):
        return gate_sigmoid(x)
    return apply(code, parameters, _clip(op, parameters, x))


@kernel
def _candidate(op, parameters, x):
    code = load_i64(op, codes.OP_CANDIDATE)
    if code == codes.TANH and not load_i64(op, codes.OP_CLIPPED):
        return tanh(x)
    return apply(code, parameters + 2 * F32_BYTES, _clip(op, parameters, x))


@kernel
def _clip(op, parameters, x):
    if not load_i64(op, codes.OP_CLIPPED):
        return x
    bound = splat(load_f32(parameters, 4))
    return limit(x, splat(0.0) - bound, bound)
