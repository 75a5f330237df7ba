"""Causal one-dimensional convolution over timesteps, with the inputs of the past in the state."""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.rows import copy
from grurt.kernels.simd import F32_BYTES, LANES, fma, load, load_f32, load_i64, splat, store


@kernel
def conv1d(op, weights, state, x, out, temp, steps_done, rows):
    """``out_t = b + sum_k W[:, :, k] x_{t - (taps - 1 - k) dilation}`` for the ``rows`` timesteps of a block.

    x ``(rows, in_size)``, out ``(rows, out_size)``. The state is a ring of the last ``(taps - 1) * dilation`` inputs,
    each ``in_stride`` wide: timestep t stands in slot ``t mod length``, counted from the last reset, ``steps_done``
    ago.

    Packed weights: for each group, for each vector of its outputs, ``[b | W[:, 0, 0] | W[:, 1, 0] | ...]``, tap by tap.
    Every output is a sum in that order. ``temp`` is one vector. All are addresses; nothing may alias.
    """
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    out_stride = load_i64(op, codes.OP_OUT_STRIDE)
    taps = load_i64(op, codes.OP_TAPS)
    dilation = load_i64(op, codes.OP_DILATION)
    length = (taps - 1) * dilation
    for row in range(rows):
        _timestep(op, weights, state, x, out + F32_BYTES * out_stride * row, temp, steps_done, row)
    for row in range(max(0, rows - length), rows):
        slot = (steps_done + row) % length
        copy(x + F32_BYTES * in_stride * row, state + F32_BYTES * in_stride * slot, in_stride)


@kernel
def _timestep(op, weights, state, x, out, temp, steps_done, row):
    groups = load_i64(op, codes.OP_GROUPS)
    taps = load_i64(op, codes.OP_TAPS)
    in_size = load_i64(op, codes.OP_IN_SIZE) // groups
    out_size = load_i64(op, codes.OP_OUT_SIZE) // groups
    w = weights
    for group in range(groups):
        for first in range(0, out_size, LANES):
            total = load(w, 0)
            w += F32_BYTES * LANES
            for tap in range(taps):
                source = _tap(op, state, x, steps_done, row, tap) + F32_BYTES * group * in_size
                for k in range(in_size):
                    total = fma(load(w, 0), splat(load_f32(source, k)), total)
                    w += F32_BYTES * LANES
            # The group's last vector may reach into the next group's outputs: only its own lanes are copied.
            store(temp, 0, total)
            copy(temp, out + F32_BYTES * (group * out_size + first), min(LANES, out_size - first))


@kernel
def _tap(op, state, x, steps_done, row, tap):
    """Address of the input that a tap reads at a row of the block: an earlier row, or a slot of the ring."""
    in_stride = load_i64(op, codes.OP_IN_STRIDE)
    dilation = load_i64(op, codes.OP_DILATION)
    length = (load_i64(op, codes.OP_TAPS) - 1) * dilation
    source_row = row + tap * dilation - length
    if source_row >= 0:
        return x + F32_BYTES * in_stride * source_row
    slot = (steps_done + source_row + length) % length
    return state + F32_BYTES * in_stride * slot
