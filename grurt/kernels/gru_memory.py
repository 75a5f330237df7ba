"""What a GRU's kernels are given: weights, and rows of memory.

Packed recurrent weights are, with ``linear_before_reset``, for each panel of 16 hidden units c_n and then the weights
of z, r and n, as `grurt.kernels.panels` has them; without it the weights of z and r, and behind those of all units the
weights of n. Packed input weights are those of a `dense` layer with a panel for the z, r and n of each 16 units, and
all biases but c_n.

A row of working memory holds the projection, panel by panel, the row's own h, without ``linear_before_reset`` also
r * h, and with INT8 or INT4 two records: of x, and of h or r * h.
"""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.options import inlined_kernel, kernel
from grurt.kernels.panels import Panels, reads_records, weights_bytes
from grurt.kernels.quantize import LEAST_INPUT, LEAST_STATE, quantize_rows
from grurt.kernels.rows import Rows, behind, row_at, rows_from
from grurt.kernels.simd import load, load_f32, load_i64, splat, store
from grurt.kernels.sizes import VECTOR_BYTES

GATES = 3
GATES_BYTES = GATES * VECTOR_BYTES
"""The vectors of z, r and n of a panel."""


class GRUWeights(NamedTuple):
    """Addresses of a GRU's numbers: packed weights of x and of h, parameters of its functions."""

    input: int
    recurrent: int
    parameters: int


class GRUMemory(NamedTuple):
    """The rows that a GRU reads and writes. Where there is no mask or no factor, its address and stride are 0."""

    x: Rows
    mask: Rows
    factor: Rows
    work: Rows
    out: Rows


@kernel
def memory_from(memory, row):
    """The memory of the rows from a row on."""
    x, mask, factor = rows_from(memory.x, row), rows_from(memory.mask, row), rows_from(memory.factor, row)
    return GRUMemory(x, mask, factor, rows_from(memory.work, row), rows_from(memory.out, row))


@kernel
def is_skipped(mask, row):
    """Whether there is a mask, and h' = h in a row."""
    return mask.address != 0 and load_f32(row_at(mask, row), 0) == 0.0


@kernel
def scale_state(op, memory, row, h, scaled):
    """``scaled = factor * h`` in a row that has a factor, of addresses that may be one."""
    factor = row_at(memory.factor, row)
    n_bytes = load_i64(op, codes.OP_OUT_STRIDE)
    if load_i64(op, codes.OP_FACTOR_SIZE) == 1:
        number = splat(load_f32(factor, 0))
        for offset in range(0, n_bytes, VECTOR_BYTES):
            store(scaled + offset, 0, number * load(h + offset, 0))
    else:
        for offset in range(0, n_bytes, VECTOR_BYTES):
            store(scaled + offset, 0, load(factor + offset, 0) * load(h + offset, 0))


@kernel
def input_panel_bytes(op):
    """Bytes of the biases and the weights of x of a panel."""
    return GATES_BYTES + weights_bytes(load_i64(op, codes.OP_FORMAT), load_i64(op, codes.OP_IN_SIZE), GATES)


@kernel
def recurrent_panels(op, weights):
    """The panels of recurrent weights (linear_before_reset); before the weights of each stands its c_n."""
    weight_format = load_i64(op, codes.OP_FORMAT)
    hidden_size = load_i64(op, codes.OP_OUT_SIZE)
    stride = VECTOR_BYTES + weights_bytes(weight_format, hidden_size, GATES)
    return Panels(weight_format, weights.recurrent + VECTOR_BYTES, stride, hidden_size)


@kernel
def hidden_rows(op, work):
    """Where in their working memory rows keep an h of their own."""
    return behind(work, GATES * load_i64(op, codes.OP_OUT_STRIDE))


@inlined_kernel
def input_features(op, x, work, n_rows):
    """The rows of x as products read them: as they are, or as the records that are made in working memory."""
    if reads_records(load_i64(op, codes.OP_FORMAT)):
        return _input_records(op, x, work, n_rows)
    return x


@kernel
def _input_records(op, x, work, n_rows):
    records = behind(work, load_i64(op, codes.OP_RECORD))
    quantize_rows(x, load_i64(op, codes.OP_IN_SIZE), LEAST_INPUT, records, n_rows)
    return records


@inlined_kernel
def hidden_features(op, h, work):
    """Address of a state as products read it: as it is, or as the second record of a row of working memory."""
    if reads_records(load_i64(op, codes.OP_FORMAT)):
        return _hidden_record(op, h, work)
    return h


@kernel
def _hidden_record(op, h, work):
    record = work + load_i64(op, codes.OP_HIDDEN_RECORD)
    quantize_rows(Rows(h, 0), load_i64(op, codes.OP_OUT_SIZE), LEAST_STATE, Rows(record, 0), 1)
    return record
