"""Causal one-dimensional convolution over timesteps, with the inputs of the past in the state.

The state is a ring of the last ``length = (taps - 1) * dilation`` inputs, each ``in_stride`` wide: timestep t, counted
from the last reset, stands in slot ``t mod length``.
"""

from grurt.kernels import codes
from grurt.kernels.dense import dense, dense_bytes
from grurt.kernels.options import kernel
from grurt.kernels.quantize import LEAST_INPUT, quantize_rows
from grurt.kernels.rows import copy
from grurt.kernels.simd import F32_BYTES, fma, load, load_i64, store
from grurt.lanes import LANES


@kernel
def conv1d(op, weights, states, state_size, streams, steps_done, x, out, temp, rows):
    """``out_t = b + sum_k W[:, :, k] x_{t - (taps - 1 - k) dilation}``.

    x is ``(rows, in_size)``, out ``(rows, out_size)``. Rows are the timesteps of stream 0, or, where ``streams`` is not
    0, the next timestep of each stream that it lists. ``states`` holds the states of all streams, each ``state_size``
    long, and ``steps_done`` their timesteps.

    The features that an output depends on are gathered, tap by tap, into a row of ``temp``, behind which are the
    outputs of a group and, with INT8, the record of the features. Packed weights are those of a `dense` layer for each
    group. All are addresses; nothing may alias.
    """
    weights_format = load_i64(op, codes.OP_FORMAT)
    vectors = load_i64(op, codes.OP_GROUP_STRIDE) // LANES
    size = load_i64(op, codes.OP_TAPS) * (load_i64(op, codes.OP_IN_SIZE) // load_i64(op, codes.OP_GROUPS))
    stride = F32_BYTES * load_i64(op, codes.OP_TEMP_STRIDE)
    group_out = temp + F32_BYTES * load_i64(op, codes.OP_GROUP_OUT)
    for group in range(load_i64(op, codes.OP_GROUPS)):
        for row in range(rows):
            _gather(op, states, state_size, streams, steps_done, x, row, group, temp + stride * row)
        features = temp
        if weights_format == codes.INT8:
            features = temp + F32_BYTES * load_i64(op, codes.OP_RECORD)
            quantize_rows(temp, stride, size, LEAST_INPUT, features, stride, rows)
        dense(weights_format, weights, vectors, features, stride, size, group_out, stride, rows)
        # Not written to their place at once: a group's last vector may reach into the next group's outputs.
        _scatter(op, group_out, stride, group, out, rows)
        weights += dense_bytes(weights_format, vectors, size)
    _remember(op, states, state_size, streams, steps_done, x, rows)


@kernel
def depthwise_conv1d(op, weights, states, state_size, streams, steps_done, x, out, rows):
    """`conv1d` with a group for each feature: weights ``(1 + taps, stride)``, the biases and then tap by tap."""
    stride = load_i64(op, codes.OP_IN_STRIDE)
    for row in range(rows):
        row_out = out + F32_BYTES * stride * row
        copy(weights, row_out, stride)
        for tap in range(load_i64(op, codes.OP_TAPS)):
            source = _tap(op, states, state_size, streams, steps_done, x, row, tap)
            w = weights + F32_BYTES * stride * (1 + tap)
            for i in range(0, stride, LANES):
                store(row_out, i, fma(load(w, i), load(source, i), load(row_out, i)))
    _remember(op, states, state_size, streams, steps_done, x, rows)


@kernel
def _gather(op, states, state_size, streams, steps_done, x, row, group, target):
    """Copy one group's features of all taps of a row, one tap after the other."""
    size = load_i64(op, codes.OP_IN_SIZE) // load_i64(op, codes.OP_GROUPS)
    for tap in range(load_i64(op, codes.OP_TAPS)):
        source = _tap(op, states, state_size, streams, steps_done, x, row, tap)
        copy(source + F32_BYTES * size * group, target, size)
        target += F32_BYTES * size


@kernel
def _scatter(op, group_out, stride, group, out, rows):
    """Copy one group's outputs of all rows to their features."""
    size = load_i64(op, codes.OP_OUT_SIZE) // load_i64(op, codes.OP_GROUPS)
    out += F32_BYTES * size * group
    for _ in range(rows):
        copy(group_out, out, size)
        group_out += stride
        out += F32_BYTES * load_i64(op, codes.OP_OUT_STRIDE)


@kernel
def _tap(op, states, state_size, streams, steps_done, x, row, tap):
    """Address of the input that a tap reads at a row: an earlier timestep of the block, or a slot of the ring."""
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    length = _ring_length(op)
    earlier = length - tap * load_i64(op, codes.OP_DILATION)
    if earlier == 0 or (not streams and row >= earlier):
        return x + F32_BYTES * in_stride * (row - earlier)
    stream = 0
    timestep = row - earlier
    if streams:
        stream = load_i64(streams, row)
        timestep = -earlier
    slot = (load_i64(steps_done, stream) + timestep + length) % length
    return states + F32_BYTES * (state_size * stream + in_stride * slot)


@kernel
def _remember(op, states, state_size, streams, steps_done, x, rows):
    """Copy the newest inputs into the rings."""
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    length = _ring_length(op)
    first = 0
    if not streams:
        first = max(0, rows - length)
    if length == 0:
        first = rows
    for row in range(first, rows):
        stream = 0
        timestep = row
        if streams:
            stream = load_i64(streams, row)
            timestep = 0
        slot = (load_i64(steps_done, stream) + timestep) % length
        target = states + F32_BYTES * (state_size * stream + in_stride * slot)
        copy(x + F32_BYTES * in_stride * row, target, in_stride)


@kernel
def _ring_length(op):
    return (load_i64(op, codes.OP_TAPS) - 1) * load_i64(op, codes.OP_DILATION)
