"""The GRU's cell: one timestep of the recurrence of one row.

::

    z = f(P_z + R_z h)                       P = W x + b, the biases that are not reset being one
    r = f(P_r + R_r h)
    n = g(P_n + r * (R_n h + c_n))           linear_before_reset
    n = g(P_n + R_n (r * h))                 otherwise
    h' = (1 - z) * n + z * h

A *unit* is here a panel of weights, and with it 16 hidden units. Panels are read forwards and backwards in turn: of
weights that a cache cannot hold, those that were read last, and are still there, are read first.
"""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.functions import apply, gate_sigmoid, limit, tanh
from grurt.kernels.gru_memory import GATES_BYTES, hidden_features, recurrent_panels
from grurt.kernels.options import inlined_kernel, kernel
from grurt.kernels.panels import Panels, panels_from, weights_bytes
from grurt.kernels.products import row_times_panel, row_times_two_panels, row_times_two_vectors, row_times_vector
from grurt.kernels.rows import Rows, flush
from grurt.kernels.simd import fma, load, load_f32, load_i64, splat, store
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES

AT_ONCE = 2
"""Panels of which `timestep` writes h' when it has made all their sums."""


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


class Sums(NamedTuple):
    """The sums of 16 hidden units (linear_before_reset): of z, of r, and the two that n is made of."""

    z: object
    r: object
    n_input: object
    n_hidden: object


@kernel
def timestep(op, weights, projection, state, backward):
    """One timestep of one row, two panels at a time: independent sums hide the latency of additions."""
    vectors = load_i64(op, codes.OP_OUT_STRIDE) // VECTOR_BYTES
    recurrent = recurrent_panels(op, weights)
    turns = (vectors + 1) // 2
    for i in range(turns):
        unit = 2 * (turns - 1 - i if backward else i)
        start, panels = _projection_from(projection, unit), panels_from(recurrent, unit)
        if unit + 1 < vectors:
            _two_units(op, weights.parameters, start, panels, _state_from(state, unit))
        else:
            _one_unit(op, weights.parameters, start, panels, _state_from(state, unit))


@kernel
def _two_units(op, parameters, projection, panels, state):
    """Two panels of `timestep`."""
    sums = gates_at(projection.address) + gates_at(projection.address + projection.stride)
    if projection.n_inputs:
        sums = row_times_two_panels(_input_panels(op, projection), Rows(projection.x, 0), sums)
    z0, r0, n_input0, z1, r1, n_input1 = sums
    sums = (z0, r0, candidate_bias(panels), z1, r1, candidate_bias(panels_from(panels, 1)))
    z0, r0, n_hidden0, z1, r1, n_hidden1 = row_times_two_panels(panels, Rows(state.features, 0), sums)
    second = _state_from(state, 1)
    update(op, parameters, Sums(z0, r0, n_input0, n_hidden0), state.h, state.h_next)
    update(op, parameters, Sums(z1, r1, n_input1, n_hidden1), second.h, second.h_next)


@kernel
def _one_unit(op, parameters, projection, panel, state):
    """One panel of `timestep`."""
    sums = gates_at(projection.address)
    if projection.n_inputs:
        sums = row_times_panel(_input_panels(op, projection), Rows(projection.x, 0), sums)
    z, r, n_input = sums
    z, r, n_hidden = row_times_panel(panel, Rows(state.features, 0), (z, r, candidate_bias(panel)))
    update(op, parameters, Sums(z, r, n_input, n_hidden), state.h, state.h_next)


@inlined_kernel
def update(op, parameters, sums, h, h_next):
    """From the sums of 16 hidden units to their new state (linear_before_reset), at the addresses of its first.

    ``h' = (1 - f(z)) * n + f(z) * h`` with ``n = g(n_input + f(r) * n_hidden)``.
    """
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
    weight_format, hidden_size = load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_OUT_SIZE)
    reset_h = work + (GATES_BYTES + VECTOR_BYTES) * vectors
    features = hidden_features(op, h, work)
    stride = weights_bytes(weight_format, hidden_size, 2)
    gates = Panels(weight_format, weights.recurrent, stride, hidden_size)
    for unit in range(vectors):
        z, r, _ = gates_at(work + GATES_BYTES * unit)
        z, r = row_times_two_vectors(panels_from(gates, unit), Rows(features, 0), (z, r))
        store(work + GATES_BYTES * unit, 0, _gate(op, weights.parameters, z))
        store(reset_h, LANES * unit, _gate(op, weights.parameters, r) * load(h, LANES * unit))
    features = hidden_features(op, reset_h, work)
    behind_gates = weights.recurrent + stride * vectors
    candidates = Panels(weight_format, behind_gates, weights_bytes(weight_format, hidden_size, 1), hidden_size)
    for unit in range(vectors):
        z, _, n = gates_at(work + GATES_BYTES * unit)
        (n,) = row_times_vector(panels_from(candidates, unit), Rows(features, 0), (n,))
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
def gates_at(address):
    """The vectors of z, r and n at an address."""
    return load(address, 0), load(address, LANES), load(address, 2 * LANES)


@kernel
def candidate_bias(panel):
    """c_n."""
    return load(panel.address - VECTOR_BYTES, 0)


@kernel
def projected(work):
    """The sums that begin with a projection made before, in a row of working memory."""
    return Projection(work, GATES_BYTES, 0, 0)


@kernel
def _projection_from(projection, unit):
    address = projection.address + projection.stride * unit
    return Projection(address, projection.stride, projection.x, projection.n_inputs)


@kernel
def _input_panels(op, projection):
    """The panels of the weights of x, behind their biases."""
    weights = projection.address + GATES_BYTES
    return Panels(load_i64(op, codes.OP_FORMAT), weights, projection.stride, projection.n_inputs)


@kernel
def _state_from(state, unit):
    return State(state.h + VECTOR_BYTES * unit, state.h_next + VECTOR_BYTES * unit, state.features)
