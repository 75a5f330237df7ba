"""The GRU, over the rows of one block of timesteps.

The input's part of all three gates is a `dense` product of the whole block, made first: a block of timesteps reads
those weights once for four timesteps. What is left is the recurrence, one timestep after the other.

Packed recurrent weights are panels of 16 hidden units. With ``linear_before_reset`` a panel is ``[c_n | R[:, 0] |
R[:, 1] | ...]`` with the vectors z, r, n of each column side by side, and without it ``[R[:, 0] | ...]`` with z, r;
the n vectors of all units follow. All biases but c_n are part of the projection.
"""

from grurt.kernels import codes
from grurt.kernels.dense import PANEL, dense
from grurt.kernels.functions import apply, gate_sigmoid, limit, tanh
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy, flush
from grurt.kernels.simd import (
    F32_BYTES,
    LANES,
    fma,
    load,
    load_f32,
    load_i64,
    splat,
    store,
)


@kernel
def gru(op, weights, parameters, state, x, out, projected, rows):
    """Advance one GRU by ``rows`` timesteps: x ``(rows, in_size)`` -> out ``(rows, hidden_size)``.

    ::

        z = f(P_z + R_z h)                       P = W x + b, the biases that are not reset being one
        r = f(P_r + R_r h)
        n = g(P_n + r * (R_n h + c_n))           linear_before_reset
        n = g(P_n + R_n (r * h))                 otherwise
        h' = n + z * (h - n)

    Reads and writes ``state (hidden_size,)``; writes ``projected (rows, 4 * hidden_size)``. All are addresses; hidden
    sizes are padded to whole vectors, and nothing may alias.
    """
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    projected_stride = load_i64(op, codes.OP_TEMP_STRIDE)
    vectors = out_stride // LANES
    recurrent = _project(op, weights, x, projected, rows)

    step = 1
    row = 0
    if load_i64(op, codes.OP_REVERSE):
        step = -1
        row = rows - 1
    h = state
    for _ in range(rows):
        p = projected + F32_BYTES * projected_stride * row
        h_next = out + F32_BYTES * out_stride * row
        if load_i64(op, codes.OP_KIND) == codes.GRU:
            _timestep(op, parameters, recurrent, p, h, h_next, vectors)
        else:
            _timestep_reset_before(op, parameters, recurrent, p, h, h_next, vectors)
        h = h_next
        row += step
    copy(h, state, out_stride)


@kernel
def gru_streams(op, weights, parameters, states, state_size, streams, x, out, projected, rows):
    """Advance one GRU by one timestep of ``rows`` streams: x ``(rows, in_size)`` -> out ``(rows, hidden_size)``.

    The equations are those of `gru`. The state of row i is ``states[streams[i]]``, ``state_size`` long. With
    linear_before_reset, four streams share each read of the recurrent weights.
    """
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    projected_stride = load_i64(op, codes.OP_TEMP_STRIDE)
    vectors = out_stride // LANES
    recurrent = _project(op, weights, x, projected, rows)
    if load_i64(op, codes.OP_KIND) == codes.GRU:
        hidden = projected + F32_BYTES * PANEL * vectors
        for i in range(rows):
            state = states + F32_BYTES * state_size * load_i64(streams, i)
            copy(state, hidden + F32_BYTES * projected_stride * i, out_stride)
        _recur_rows(op, parameters, recurrent, projected, projected_stride, out, out_stride, rows)
    else:
        for i in range(rows):
            state = states + F32_BYTES * state_size * load_i64(streams, i)
            p = projected + F32_BYTES * projected_stride * i
            _timestep_reset_before(op, parameters, recurrent, p, state, out + F32_BYTES * out_stride * i, vectors)
    for i in range(rows):
        state = states + F32_BYTES * state_size * load_i64(streams, i)
        copy(out + F32_BYTES * out_stride * i, state, out_stride)


@kernel
def _project(op, weights, x, projected, rows):
    """Write the input's part of the gates' sums, and return the address of the recurrent weights."""
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    in_size = load_i64(op, codes.OP_IN_SIZE)
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    dense(weights, 3 * vectors, x, in_stride, in_size, projected, load_i64(op, codes.OP_TEMP_STRIDE), rows)
    return weights + F32_BYTES * PANEL * vectors * (1 + in_size)


@kernel
def _recur_rows(op, parameters, w, p, p_stride, h_next, h_stride, rows):
    """One timestep of independent rows: panel by panel, four rows to a read of the weights.

    ``p`` holds ``(rows, 4 * hidden_size)``: the projections, and behind them each row's own h.
    """
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    h_offset = F32_BYTES * PANEL * vectors
    for unit in range(vectors):
        row = 0
        while row + 4 <= rows:
            row_p = p + F32_BYTES * p_stride * row
            row_h = h_next + F32_BYTES * h_stride * row
            _four_rows(op, parameters, w, row_p, row_p + h_offset, p_stride, row_h, h_stride, unit, hidden_size)
            row += 4
        while row < rows:
            row_p = p + F32_BYTES * p_stride * row
            row_h = h_next + F32_BYTES * h_stride * row
            _one_panel(op, parameters, w, row_p, row_p + h_offset, row_h, unit, hidden_size)
            row += 1
        w += F32_BYTES * (LANES + PANEL * hidden_size)


@kernel
def _four_rows(op, parameters, w, p, h, p_stride, h_next, h_stride, unit, hidden_size):
    p1 = p + F32_BYTES * p_stride
    p2 = p1 + F32_BYTES * p_stride
    p3 = p2 + F32_BYTES * p_stride
    z0, r0 = load(p, PANEL * unit), load(p, PANEL * unit + LANES)
    z1, r1 = load(p1, PANEL * unit), load(p1, PANEL * unit + LANES)
    z2, r2 = load(p2, PANEL * unit), load(p2, PANEL * unit + LANES)
    z3, r3 = load(p3, PANEL * unit), load(p3, PANEL * unit + LANES)
    n0 = n1 = n2 = n3 = load(w, 0)
    w += F32_BYTES * LANES
    for k in range(hidden_size):
        wz, wr, wn = load(w, 0), load(w, LANES), load(w, 2 * LANES)
        h0 = splat(load_f32(h, k))
        h1 = splat(load_f32(h, k + p_stride))
        h2 = splat(load_f32(h, k + 2 * p_stride))
        h3 = splat(load_f32(h, k + 3 * p_stride))
        z0, r0, n0 = fma(wz, h0, z0), fma(wr, h0, r0), fma(wn, h0, n0)
        z1, r1, n1 = fma(wz, h1, z1), fma(wr, h1, r1), fma(wn, h1, n1)
        z2, r2, n2 = fma(wz, h2, z2), fma(wr, h2, r2), fma(wn, h2, n2)
        z3, r3, n3 = fma(wz, h3, z3), fma(wr, h3, r3), fma(wn, h3, n3)
        w += F32_BYTES * PANEL
    n = PANEL * unit + 2 * LANES
    _finish(op, parameters, z0, r0, load(p, n), n0, h, h_next, unit)
    _finish(op, parameters, z1, r1, load(p1, n), n1, h + F32_BYTES * p_stride, h_next + F32_BYTES * h_stride, unit)
    _finish(
        op, parameters, z2, r2, load(p2, n), n2, h + 2 * F32_BYTES * p_stride, h_next + 2 * F32_BYTES * h_stride, unit
    )
    _finish(
        op, parameters, z3, r3, load(p3, n), n3, h + 3 * F32_BYTES * p_stride, h_next + 3 * F32_BYTES * h_stride, unit
    )


@kernel
def _timestep(op, parameters, recurrent, p, h, h_next, vectors):
    """One timestep, two panels of hidden units at a time: six independent sums hide the latency of the additions."""
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    panel_bytes = F32_BYTES * (LANES + PANEL * hidden_size)
    unit = 0
    while unit + 2 <= vectors:
        _two_panels(op, parameters, recurrent, recurrent + panel_bytes, p, h, h_next, unit, hidden_size)
        recurrent += 2 * panel_bytes
        unit += 2
    if unit < vectors:
        _one_panel(op, parameters, recurrent, p, h, h_next, unit, hidden_size)


@kernel
def _one_panel(op, parameters, w, p, h, h_next, unit, hidden_size):
    z = load(p, PANEL * unit)
    r = load(p, PANEL * unit + LANES)
    n = load(w, 0)
    w += F32_BYTES * LANES
    for k in range(hidden_size):
        hk = splat(load_f32(h, k))
        z = fma(load(w, 0), hk, z)
        r = fma(load(w, LANES), hk, r)
        n = fma(load(w, 2 * LANES), hk, n)
        w += F32_BYTES * PANEL
    _finish(op, parameters, z, r, load(p, PANEL * unit + 2 * LANES), n, h, h_next, unit)


@kernel
def _two_panels(op, parameters, w, v, p, h, h_next, unit, hidden_size):
    z0 = load(p, PANEL * unit)
    r0 = load(p, PANEL * unit + LANES)
    n0 = load(w, 0)
    z1 = load(p, PANEL * unit + PANEL)
    r1 = load(p, PANEL * unit + PANEL + LANES)
    n1 = load(v, 0)
    w += F32_BYTES * LANES
    v += F32_BYTES * LANES
    for k in range(hidden_size):
        hk = splat(load_f32(h, k))
        z0 = fma(load(w, 0), hk, z0)
        r0 = fma(load(w, LANES), hk, r0)
        n0 = fma(load(w, 2 * LANES), hk, n0)
        z1 = fma(load(v, 0), hk, z1)
        r1 = fma(load(v, LANES), hk, r1)
        n1 = fma(load(v, 2 * LANES), hk, n1)
        w += F32_BYTES * PANEL
        v += F32_BYTES * PANEL
    _finish(op, parameters, z0, r0, load(p, PANEL * unit + 2 * LANES), n0, h, h_next, unit)
    _finish(op, parameters, z1, r1, load(p, PANEL * unit + PANEL + 2 * LANES), n1, h, h_next, unit + 1)


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
def _timestep_reset_before(op, parameters, recurrent, p, h, h_next, vectors):
    """One timestep without linear_before_reset: n needs r of every unit before its own sums begin."""
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    reset_h = p + F32_BYTES * PANEL * vectors
    w = recurrent
    for unit in range(vectors):
        z = load(p, PANEL * unit)
        r = load(p, PANEL * unit + LANES)
        for k in range(hidden_size):
            hk = splat(load_f32(h, k))
            z = fma(load(w, 0), hk, z)
            r = fma(load(w, LANES), hk, r)
            w += F32_BYTES * 2 * LANES
        store(p, PANEL * unit, _gate(op, parameters, z))
        store(reset_h, LANES * unit, _gate(op, parameters, r) * load(h, LANES * unit))
    for unit in range(vectors):
        n = load(p, PANEL * unit + 2 * LANES)
        for k in range(hidden_size):
            n = fma(load(w, 0), splat(load_f32(reset_h, k)), n)
            w += F32_BYTES * LANES
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
