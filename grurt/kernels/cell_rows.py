"""The GRU's cell for many rows that are independent: streams, positions, or timesteps whose positions are scanned."""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.cell import Sums, candidate_bias, gates_at, timestep_reset_before, update
from grurt.kernels.gru_memory import GATES, hidden_rows, is_skipped, recurrent_panels
from grurt.kernels.options import kernel
from grurt.kernels.panels import panels_from, reads_records
from grurt.kernels.products import four_rows_times_panel, row_times_panel
from grurt.kernels.quantize import LEAST_STATE, quantize_rows
from grurt.kernels.rows import Rows, behind, copy_padded, row_at
from grurt.kernels.simd import load_i64
from grurt.kernels.sizes import VECTOR_BYTES


class RowsOfUnit(NamedTuple):
    """What rows have of one panel: the projections that sums start with, h and h'; and the features, of all of h."""

    starts: Rows
    h: Rows
    features: Rows
    h_next: Rows


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
    recurrent = recurrent_panels(op, weights)
    own_h = hidden_rows(op, memory.work)
    features = own_h
    if reads_records(recurrent.format):
        features = behind(memory.work, load_i64(op, codes.OP_HIDDEN_RECORD))
        quantize_rows(own_h, recurrent.n_inputs, LEAST_STATE, features, n_rows)
    for i in range(vectors):
        unit = vectors - 1 - i if backward else i
        offset = VECTOR_BYTES * unit
        starts, h, h_next = behind(memory.work, GATES * offset), behind(own_h, offset), behind(memory.out, offset)
        panel = panels_from(recurrent, unit)
        _unit_of_rows(op, weights.parameters, panel, RowsOfUnit(starts, h, features, h_next), n_rows)


@kernel
def _unit_of_rows(op, parameters, panel, unit, n_rows):
    """One panel of `recur_rows`."""
    stride, next_stride = unit.h.stride, unit.h_next.stride
    starts, h, features, h_next = unit.starts.address, unit.h.address, unit.features.address, unit.h_next.address
    bias = candidate_bias(panel)
    row = 0
    while row + 4 <= n_rows:
        a, b = gates_at(starts), gates_at(starts + stride)
        c, d = gates_at(starts + 2 * stride), gates_at(starts + 3 * stride)
        sums = (a[0], a[1], bias, b[0], b[1], bias, c[0], c[1], bias, d[0], d[1], bias)
        sums = four_rows_times_panel(panel, Rows(features, stride), sums)
        update(op, parameters, Sums(sums[0], sums[1], a[2], sums[2]), h, h_next)
        update(op, parameters, Sums(sums[3], sums[4], b[2], sums[5]), h + stride, h_next + next_stride)
        update(op, parameters, Sums(sums[6], sums[7], c[2], sums[8]), h + 2 * stride, h_next + 2 * next_stride)
        update(op, parameters, Sums(sums[9], sums[10], d[2], sums[11]), h + 3 * stride, h_next + 3 * next_stride)
        starts, h, features, h_next = (
            starts + 4 * stride,
            h + 4 * stride,
            features + 4 * stride,
            h_next + 4 * next_stride,
        )
        row += 4
    while row < n_rows:
        z, r, n_input = gates_at(starts)
        z, r, n_hidden = row_times_panel(panel, Rows(features, 0), (z, r, bias))
        update(op, parameters, Sums(z, r, n_input, n_hidden), h, h_next)
        starts, h, features = starts + stride, h + stride, features + stride
        h_next += next_stride
        row += 1
