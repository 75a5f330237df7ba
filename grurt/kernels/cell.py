"""The GRU's cell: one timestep of its recurrence, of one row or of many that are independent.

::

    z = f(P_z + R_z h)                       P = W x + b, the biases that are not reset being one
    r = f(P_r + R_r h)
    n = g(P_n + r * (R_n h + c_n))           linear_before_reset
    n = g(P_n + R_n (r * h))                 otherwise
    h' = (1 - z) * n + z * h

A *panel* is 16 hidden units. Panels are read forwards and backwards in turn: of weights that a cache cannot hold, those
that were read last, and are still there, are read first.

Packed recurrent weights are, with ``linear_before_reset``, for each panel c_n and then the weights of z, r and n, as
`grurt.kernels.panels` has them; without it the weights of z and r, and behind those of all units the weights of n. All
biases but c_n are part of the projection P.

A row of working memory holds P, panel by panel, the row's own h, without ``linear_before_reset`` also r * h, and with
INT8 or INT4 two records: of x, and of h or r * h.
"""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.functions import apply, gate_sigmoid, limit, tanh
from grurt.kernels.options import kernel
from grurt.kernels.panels import Panels, reads_records, weights_bytes
from grurt.kernels.products import block_product
from grurt.kernels.quantize import LEAST_INPUT, LEAST_STATE, quantize_rows
from grurt.kernels.rows import Rows, behind, copy_padded, flush, row_at, rows_from
from grurt.kernels.simd import fma, load, load_f32, load_i64, splat, store
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES

GATES = 3
GATES_BYTES = GATES * VECTOR_BYTES
"""The vectors of z, r and n of a panel."""

_one_panel = block_product(1, 1, GATES)
_two_panels = block_product(1, 2, GATES)
_four_rows_of_panel = block_product(4, 1, GATES)
_two_vectors = block_product(1, 1, 2)
_one_vector = block_product(1, 1, 1)


class Weights(NamedTuple):
    """Addresses of a GRU's numbers: packed weights of x and of h, parameters of its functions."""

    input: int
    recurrent: int
    parameters: int


class Memory(NamedTuple):
    """The rows that a GRU reads and writes. Where there is no mask, its address and stride are 0."""

    x: Rows
    mask: Rows
    work: Rows
    out: Rows


class Projection(NamedTuple):
    """What the sums of one row start with: P_z, P_r and P_n of the first panel, ``stride`` bytes behind it the next's.

    Where ``n_inputs`` is not 0, these are the biases alone, with the weights of the features at ``x`` behind them.
    """

    address: int
    stride: int
    x: int
    n_inputs: int


class State(NamedTuple):
    """Addresses of one row's state: h and h', from some hidden unit on, and all of h as products read it."""

    h: int
    h_next: int
    features: int


class RowsOfUnit(NamedTuple):
    """What rows have of one panel: the projections that sums start with, h and h'; and the features, of all of h."""

    starts: Rows
    h: Rows
    features: Rows
    h_next: Rows


class Sums(NamedTuple):
    """The sums of 16 hidden units (linear_before_reset): of z, of r, and the two that n is made of."""

    z: object
    r: object
    n_input: object
    n_hidden: object


@kernel
def memory_from(memory, row):
    """The memory of the rows from a row on."""
    x, mask = rows_from(memory.x, row), rows_from(memory.mask, row)
    return Memory(x, mask, rows_from(memory.work, row), rows_from(memory.out, row))


@kernel
def is_skipped(mask, row):
    """Whether there is a mask, and h' = h in a row."""
    return mask.address != 0 and load_f32(row_at(mask, row), 0) == 0.0


@kernel
def input_panel_bytes(op):
    """Bytes of the biases and the weights of x of a panel."""
    return GATES_BYTES + weights_bytes(load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_IN_SIZE), GATES)


@kernel
def hidden_rows(op, work):
    """Where in their working memory rows keep an h of their own."""
    return behind(work, GATES * load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def input_features(op, x, work, n_rows):
    """The rows of x as products read them: as they are, or as the records that are made in working memory."""
    if not reads_records(load_i64(op, codes.OP_FORMAT)):
        return x
    records = behind(work, load_i64(op, codes.OP_RECORD))
    quantize_rows(x, load_i64(op, codes.OP_IN_SIZE), LEAST_INPUT, records, n_rows)
    return records


@kernel
def hidden_features(op, h, work):
    """Address of a state as products read it: as it is, or as the second record of a row of working memory."""
    if not reads_records(load_i64(op, codes.OP_FORMAT)):
        return h
    record = work + load_i64(op, codes.OP_HIDDEN_RECORD)
    quantize_rows(Rows(h, 0), load_i64(op, codes.OP_OUT_SIZE), LEAST_STATE, Rows(record, 0), 1)
    return record


@kernel
def projected(work):
    """The sums that begin with a projection made before, in a row of working memory."""
    return Projection(work, GATES_BYTES, 0, 0)


@kernel
def timestep(op, weights, projection, state, backward):
    """One timestep of one row, two panels at a time: independent sums hide the latency of additions."""
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // VECTOR_BYTES
    recurrent = _recurrent_panels(op, weights)
    turns = (vectors + 1) // 2
    for i in range(turns):
        unit = 2 * (turns - 1 - i if backward else i)
        start, panels = _projection_from(projection, unit), _panels_from(recurrent, unit)
        if unit + 1 < vectors:
            _two_units(op, weights.parameters, start, panels, _state_from(state, unit))
        else:
            _one_unit(op, weights.parameters, start, panels, _state_from(state, unit))


@kernel
def _one_unit(op, parameters, projection, panel, state):
    """One panel of `timestep`."""
    sums = _gates_at(projection.address)
    if projection.n_inputs:
        sums = _one_panel(_input_panels(op, projection), Rows(projection.x, 0), sums)
    z, r, n_input = sums
    z, r, n_hidden = _one_panel(panel, Rows(state.features, 0), (z, r, _candidate_bias(panel)))
    _update(op, parameters, Sums(z, r, n_input, n_hidden), state.h, state.h_next)


@kernel
def _two_units(op, parameters, projection, panels, state):
    """Two panels of `timestep`."""
    sums = _gates_at(projection.address) + _gates_at(projection.address + projection.stride)
    if projection.n_inputs:
        sums = _two_panels(_input_panels(op, projection), Rows(projection.x, 0), sums)
    z0, r0, n_input0, z1, r1, n_input1 = sums
    sums = (z0, r0, _candidate_bias(panels), z1, r1, _candidate_bias(_panels_from(panels, 1)))
    z0, r0, n_hidden0, z1, r1, n_hidden1 = _two_panels(panels, Rows(state.features, 0), sums)
    second = _state_from(state, 1)
    _update(op, parameters, Sums(z0, r0, n_input0, n_hidden0), state.h, state.h_next)
    _update(op, parameters, Sums(z1, r1, n_input1, n_hidden1), second.h, second.h_next)


@kernel
def _gates_at(address):
    """The vectors of z, r and n at an address."""
    return load(address, 0), load(address, LANES), load(address, 2 * LANES)


@kernel
def _recurrent_panels(op, weights):
    """The panels of recurrent weights (linear_before_reset); before the weights of each stands its c_n."""
    weights_format = load_i64(op, codes.OP_FORMAT)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    stride = VECTOR_BYTES + weights_bytes(weights_format, hidden_size, GATES)
    return Panels(weights_format, weights.recurrent + VECTOR_BYTES, stride, hidden_size)


@kernel
def _panels_from(panels, unit):
    return Panels(panels.format, panels.address + panels.stride * unit, panels.stride, panels.n_inputs)


@kernel
def _candidate_bias(panel):
    """c_n."""
    return load(panel.address - VECTOR_BYTES, 0)


@kernel
def _input_panels(op, projection):
    """The panels of the weights of x, behind their biases."""
    weights = projection.address + GATES_BYTES
    return Panels(load_i64(op, codes.OP_FORMAT), weights, projection.stride, projection.n_inputs)


@kernel
def _projection_from(projection, unit):
    address = projection.address + projection.stride * unit
    return Projection(address, projection.stride, projection.x, projection.n_inputs)


@kernel
def _state_from(state, unit):
    return State(state.h + VECTOR_BYTES * unit, state.h_next + VECTOR_BYTES * unit, state.features)


@kernel
def _update(op, parameters, sums, h, h_next):
    """From the sums of 16 hidden units to their new state (linear_before_reset)."""
    r = _gate(op, parameters, sums.r)
    n = _candidate(op, parameters, fma(r, sums.n_hidden, sums.n_input))
    z = _gate(op, parameters, sums.z)
    store(h_next, 0, _blend(z, n, load(h, 0)))


@kernel
def _blend(z, n, h):
    """``h' = (1 - z) * n + z * h``, as ``n + z * (h - n)``; a state that decays ends at zero."""
    return flush(fma(z, h - n, n))


@kernel
def timestep_reset_before(op, weights, work, h, h_next):
    """One timestep without linear_before_reset, of the row of working memory at ``work``.

    n needs r of every unit before its own sums begin.
    """
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // VECTOR_BYTES
    weights_format, hidden_size = load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_OUT_SIZE)
    reset_h = work + (GATES_BYTES + VECTOR_BYTES) * vectors
    features = hidden_features(op, h, work)
    stride = weights_bytes(weights_format, hidden_size, 2)
    gates = Panels(weights_format, weights.recurrent, stride, hidden_size)
    for unit in range(vectors):
        z, r, _ = _gates_at(work + GATES_BYTES * unit)
        z, r = _two_vectors(_panels_from(gates, unit), Rows(features, 0), (z, r))
        store(work, GATES * LANES * unit, _gate(op, weights.parameters, z))
        store(reset_h, LANES * unit, _gate(op, weights.parameters, r) * load(h, LANES * unit))
    features = hidden_features(op, reset_h, work)
    behind_gates = weights.recurrent + stride * vectors
    candidates = Panels(weights_format, behind_gates, weights_bytes(weights_format, hidden_size, 1), hidden_size)
    for unit in range(vectors):
        z, _, n = _gates_at(work + GATES_BYTES * unit)
        (n,) = _one_vector(_panels_from(candidates, unit), Rows(features, 0), (n,))
        n = _candidate(op, weights.parameters, n)
        store(h_next, LANES * unit, _blend(z, n, load(h, LANES * unit)))


@kernel
def _gate(op, parameters, x):
    """``f(x)`` of the gates z and r."""
    code = load_i64(op, codes.OP_GATE)
    if code == codes.GATE_SIGMOID and not load_i64(op, codes.OP_CLIPPED):
        return gate_sigmoid(x)
    return apply(code, parameters, _clip(op, parameters, x))


@kernel
def _candidate(op, parameters, x):
    """``g(x)`` of the candidate n."""
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


@kernel
def recur_rows(op, weights, memory, n_rows, backward):
    """One timestep of independent rows, whose h is in their working memory; those that the mask skips keep it."""
    own_h = hidden_rows(op, memory.work)
    if load_i64(op, codes.OP_KIND) == codes.GRU:
        _recur_in_panels(op, weights, memory, n_rows, backward)
    else:
        for i in range(n_rows):
            timestep_reset_before(op, weights, row_at(memory.work, i), row_at(own_h, i), row_at(memory.out, i))
    if memory.mask.address:
        for i in range(n_rows):
            if is_skipped(memory.mask, i):
                copy_padded(row_at(own_h, i), row_at(memory.out, i), load_i64(op, codes.OP_OUT_STRIDE))


@kernel
def _recur_in_panels(op, weights, memory, n_rows, backward):
    """The rows of `recur_rows` with linear_before_reset: panel by panel, four rows to a read of the weights."""
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // VECTOR_BYTES
    recurrent = _recurrent_panels(op, weights)
    own_h = hidden_rows(op, memory.work)
    features = own_h
    if reads_records(recurrent.format):
        features = behind(memory.work, load_i64(op, codes.OP_HIDDEN_RECORD))
        quantize_rows(own_h, recurrent.n_inputs, LEAST_STATE, features, n_rows)
    for i in range(vectors):
        unit = vectors - 1 - i if backward else i
        offset = VECTOR_BYTES * unit
        starts, h, h_next = behind(memory.work, GATES * offset), behind(own_h, offset), behind(memory.out, offset)
        panel = _panels_from(recurrent, unit)
        _unit_of_rows(op, weights.parameters, panel, RowsOfUnit(starts, h, features, h_next), n_rows)


@kernel
def _unit_of_rows(op, parameters, panel, unit, n_rows):
    """One panel of `recur_rows`."""
    stride, next_stride = unit.h.stride, unit.h_next.stride
    starts, h, features, h_next = unit.starts.address, unit.h.address, unit.features.address, unit.h_next.address
    bias = _candidate_bias(panel)
    row = 0
    while row + 4 <= n_rows:
        a, b = _gates_at(starts), _gates_at(starts + stride)
        c, d = _gates_at(starts + 2 * stride), _gates_at(starts + 3 * stride)
        sums = (a[0], a[1], bias, b[0], b[1], bias, c[0], c[1], bias, d[0], d[1], bias)
        sums = _four_rows_of_panel(panel, Rows(features, stride), sums)
        _update(op, parameters, Sums(sums[0], sums[1], a[2], sums[2]), h, h_next)
        _update(op, parameters, Sums(sums[3], sums[4], b[2], sums[5]), h + stride, h_next + next_stride)
        _update(op, parameters, Sums(sums[6], sums[7], c[2], sums[8]), h + 2 * stride, h_next + 2 * next_stride)
        _update(op, parameters, Sums(sums[9], sums[10], d[2], sums[11]), h + 3 * stride, h_next + 3 * next_stride)
        starts, h, features, h_next = (
            starts + 4 * stride,
            h + 4 * stride,
            features + 4 * stride,
            h_next + 4 * next_stride,
        )
        row += 4
    while row < n_rows:
        z, r, n_input = _gates_at(starts)
        z, r, n_hidden = _one_panel(panel, Rows(features, 0), (z, r, bias))
        _update(op, parameters, Sums(z, r, n_input, n_hidden), h, h_next)
        starts, h, features = starts + stride, h + stride, features + stride
        h_next += next_stride
        row += 1
