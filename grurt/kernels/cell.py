"""The GRU's cell: one timestep of its recurrence, of one row or of many that are independent.

Panels are read forwards and backwards in turn: of weights that a cache cannot hold, those that were read last, and are
still there, are read first.

Packed recurrent weights are panels of 16 hidden units: with ``linear_before_reset`` c_n and then the weights of z, r
and n, as `grurt.kernels.products` has them; without it the weights of z and r, and behind those of all units the
weights of n. All biases but c_n are part of the projection.

A row of working memory holds the projections of z, r and n, panel by panel, the row's own h, without
``linear_before_reset`` also r * h, and with INT8 or INT4 two records: of x, and of h or r * h.
"""

from grurt.kernels import codes
from grurt.kernels.dense import PANEL, dense_bytes
from grurt.kernels.functions import apply, gate_sigmoid, limit, tanh
from grurt.kernels.options import kernel
from grurt.kernels.products import VECTOR_BYTES, block_product, reads_records, weights_bytes
from grurt.kernels.quantize import LEAST_INPUT, LEAST_STATE, quantize_rows
from grurt.kernels.rows import copy, flush
from grurt.kernels.simd import F32_BYTES, fma, load, load_f32, load_i64, splat, store
from grurt.lanes import LANES

_one_panel = block_product(1, 1, 3)
_two_panels = block_product(1, 2, 3)
_four_rows_of_panel = block_product(4, 1, 3)
_two_vectors = block_product(1, 1, 2)
_one_vector = block_product(1, 1, 1)


@kernel
def single_timestep(op, weights, parameters, h, x, h_next, p, backward):
    """One timestep, its projection made panel by panel."""
    in_size = load_i64(op, codes.OP_IN_SIZE)
    panel_stride = dense_bytes(load_i64(op, codes.OP_FORMAT), 3, in_size)
    recurrent = weights + panel_stride * (load_i64(op, codes.OP_OUT_STRIDE) // LANES)
    features, _ = input_features(op, x, p, 1)
    hidden = hidden_features(op, h, p)
    timestep(op, parameters, weights, panel_stride, features, in_size, recurrent, hidden, h, h_next, backward)


@kernel
def input_features(op, x, p, rows):
    """``(address, stride)`` of the rows of x as products read them: as they are, or as the records of rows at p."""
    x_stride = F32_BYTES * load_i64(op, codes.OP_IN_STRIDE)
    if not reads_records(load_i64(op, codes.OP_FORMAT)):
        return x, x_stride
    p_stride = F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE)
    records = p + F32_BYTES * load_i64(op, codes.OP_RECORD)
    quantize_rows(x, x_stride, load_i64(op, codes.OP_IN_SIZE), LEAST_INPUT, records, p_stride, rows)
    return records, p_stride


@kernel
def hidden_features(op, h, p):
    """Address of a state as products read it: as it is, or as the second record of the row at p."""
    if not reads_records(load_i64(op, codes.OP_FORMAT)):
        return h
    record = p + F32_BYTES * load_i64(op, codes.OP_HIDDEN_RECORD)
    quantize_rows(h, 0, load_i64(op, codes.OP_OUT_SIZE), LEAST_STATE, record, 0, 1)
    return record


@kernel
def recur_rows(op, parameters, w, p, p_stride, mask, mask_stride, h_next, h_stride, rows, backward):
    """One timestep of independent rows at p; those that the mask skips keep their state. Strides are in float32."""
    own_h = 3 * load_i64(op, codes.OP_OUT_STRIDE)
    if load_i64(op, codes.OP_KIND) == codes.GRU:
        _recur_in_panels(op, parameters, w, p, F32_BYTES * p_stride, h_next, F32_BYTES * h_stride, rows, backward)
    else:
        for i in range(rows):
            row_p = p + F32_BYTES * p_stride * i
            row_h_next = h_next + F32_BYTES * h_stride * i
            timestep_reset_before(op, parameters, w, row_p, row_p + F32_BYTES * own_h, row_h_next)
    if mask:
        for i in range(rows):
            if load_f32(mask, mask_stride * i) == 0.0:
                row_h = p + F32_BYTES * (p_stride * i + own_h)
                copy(row_h, h_next + F32_BYTES * h_stride * i, load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def _recur_in_panels(op, parameters, w, p, p_stride, h_next, h_stride, rows, backward):
    """The rows of `recur_rows` with linear_before_reset: panel by panel, four rows to a read of the weights."""
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    panel_stride = VECTOR_BYTES + weights_bytes(load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_OUT_SIZE), 3)
    own_h = PANEL * F32_BYTES * vectors
    features = own_h
    if reads_records(load_i64(op, codes.OP_FORMAT)):
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
def timestep(op, parameters, start, start_stride, x, in_size, recurrent, features, h, h_next, backward):
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
    """One panel, 16 hidden units, of `timestep`."""
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
    """Two panels of `timestep`."""
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
def timestep_reset_before(op, parameters, w, p, h, h_next):
    """One timestep without linear_before_reset: n needs r of every unit before its own sums begin."""
    weights_format = load_i64(op, codes.OP_FORMAT)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // LANES
    reset_h = p + F32_BYTES * (PANEL + LANES) * vectors
    features = hidden_features(op, h, p)
    for unit in range(vectors):
        sums = (load(p, PANEL * unit), load(p, PANEL * unit + LANES))
        z, r = _two_vectors(weights_format, w, 0, features, 0, hidden_size, sums)
        w += weights_bytes(weights_format, hidden_size, 2)
        store(p, PANEL * unit, _gate(op, parameters, z))
        store(reset_h, LANES * unit, _gate(op, parameters, r) * load(h, LANES * unit))
    features = hidden_features(op, reset_h, p)
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
