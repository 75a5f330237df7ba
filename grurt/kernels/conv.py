"""Causal one-dimensional convolution over timesteps, with the inputs of the past in the state.

The state is a ring of the last ``length = (taps - 1) * dilation`` inputs: timestep t, counted from the last reset,
stands in slot ``t mod length``.
"""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.dense import Matrix, dense, matrix_bytes
from grurt.kernels.options import kernel
from grurt.kernels.quantize import LEAST_INPUT, quantize_rows
from grurt.kernels.rows import Rows, behind, copy, copy_padded, row_at
from grurt.kernels.simd import fma, load, load_i64, store
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.kernels.tables import state_of, stream_of
from grurt.lanes import LANES


class ConvMemory(NamedTuple):
    """The rows that a convolution reads and writes, one for each timestep."""

    x: Rows
    work: Rows
    out: Rows


@kernel
def conv1d(op, weights, states, memory, n_rows):
    """``out_t = b + sum_k W[:, :, k] x_{t - (taps - 1 - k) dilation}``.

    x is ``(n_rows, in_size)``, out ``(n_rows, out_size)``; nothing may alias. Packed weights are those of a `dense`
    layer for each group of features, from the address ``weights`` on.
    """
    for group in range(load_i64(op, codes.OP_GROUPS)):
        _convolve_group(op, weights, states, memory, group, n_rows)
    _remember(op, states, memory.x, n_rows)


@kernel
def _convolve_group(op, weights, states, memory, group, n_rows):
    """One group of `conv1d`.

    The features that an output depends on are gathered, tap by tap, into a row of working memory, behind which are the
    outputs of a group and, with INT8, the record of the features.
    """
    weight_format = load_i64(op, codes.OP_FORMAT)
    n_inputs = load_i64(op, codes.OP_TAPS) * (load_i64(op, codes.OP_IN_SIZE) // load_i64(op, codes.OP_GROUPS))
    for row in range(n_rows):
        _gather(op, states, memory.x, row, group, row_at(memory.work, row))
    features = memory.work
    if weight_format == codes.INT8:
        features = behind(memory.work, load_i64(op, codes.OP_RECORD))
        quantize_rows(memory.work, n_inputs, LEAST_INPUT, features, n_rows)
    first = Matrix(weight_format, weights, n_inputs, load_i64(op, codes.OP_GROUP_STRIDE) // VECTOR_BYTES)
    matrix = Matrix(weight_format, weights + matrix_bytes(first) * group, n_inputs, first.vectors)
    outputs = behind(memory.work, load_i64(op, codes.OP_GROUP_OUT))
    dense(matrix, features, outputs, n_rows)
    # Not written to their place at once: a group's last vector may reach into the next group's outputs.
    _scatter(op, outputs, group, memory.out, n_rows)


@kernel
def depthwise_conv1d(op, weights, states, memory, n_rows):
    """`conv1d` with a group for each feature: weights ``(1 + taps, in_size)``, the biases and then tap by tap."""
    size = load_i64(op, codes.OP_IN_SIZE)
    x = memory.x
    for row in range(n_rows):
        row_out = row_at(memory.out, row)
        copy_padded(weights, row_out, x.stride)
        for tap in range(load_i64(op, codes.OP_TAPS)):
            source = _tap(op, states, x, row, tap)
            w = weights + x.stride * (1 + tap)
            for i in range(0, size, LANES):
                store(row_out, i, fma(load(w, i), load(source, i), load(row_out, i)))
    _remember(op, states, x, n_rows)


@kernel
def _gather(op, states, x, row, group, target):
    """Copy one group's features of all taps of a row, one tap after the other."""
    size = load_i64(op, codes.OP_IN_SIZE) // load_i64(op, codes.OP_GROUPS)
    for tap in range(load_i64(op, codes.OP_TAPS)):
        source = _tap(op, states, x, row, tap)
        copy(source + F32_BYTES * size * group, target, size)
        target += F32_BYTES * size


@kernel
def _scatter(op, group_out, group, out, n_rows):
    """Copy one group's outputs of all rows to their features."""
    size = load_i64(op, codes.OP_OUT_SIZE) // load_i64(op, codes.OP_GROUPS)
    features = behind(out, F32_BYTES * size * group)
    for row in range(n_rows):
        copy(row_at(group_out, row), row_at(features, row), size)


@kernel
def _tap(op, states, x, row, tap):
    """Address of the input that a tap reads at a row: an earlier timestep of the block, or a slot of the ring."""
    length = _ring_length(op)
    earlier = length - tap * load_i64(op, codes.OP_DILATION)
    if earlier == 0 or (not states.streams and row >= earlier):
        return row_at(x, row - earlier)
    timestep = 0 if states.streams else row
    return _slot(op, states, x, row, timestep - earlier + length)


@kernel
def _remember(op, states, x, n_rows):
    """Copy the newest inputs into the rings."""
    length = _ring_length(op)
    first = 0
    if not states.streams:
        first = max(0, n_rows - length)
    if length == 0:
        first = n_rows
    for row in range(first, n_rows):
        timestep = 0 if states.streams else row
        copy_padded(row_at(x, row), _slot(op, states, x, row, timestep), x.stride)


@kernel
def _slot(op, states, x, row, timestep):
    """Address in its stream's ring of a timestep, counted from the first one of the block."""
    slot = (load_i64(states.steps_done, stream_of(states, row)) + timestep) % _ring_length(op)
    return state_of(states, row) + x.stride * slot


@kernel
def _ring_length(op):
    return (load_i64(op, codes.OP_TAPS) - 1) * load_i64(op, codes.OP_DILATION)
