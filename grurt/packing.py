"""Weights in the order in which the kernels read them. The layouts are described in the kernels that read them."""

import numpy as np
from numpy.typing import NDArray

from grurt.errors import ModelError
from grurt.plan import LANES, padded

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def pack_dense(weight: NDArray[np.floating], bias: NDArray[np.floating]) -> Floats:
    """Pack ``weight (outputs, inputs)`` and ``bias (outputs,)`` for `grurt.kernels.dense`."""
    outputs, inputs = weight.shape
    columns = np.zeros((1 + inputs, padded(outputs)), np.float32)
    columns[0, :outputs] = _to_float32(bias)
    columns[1:, :outputs] = weight.T
    whole = columns.shape[1] // (3 * LANES) * (3 * LANES)
    panels = columns[:, :whole].reshape(1 + inputs, -1, 3 * LANES)
    vectors = columns[:, whole:].reshape(1 + inputs, -1, LANES)
    return np.concatenate([panels.transpose(1, 0, 2).ravel(), vectors.transpose(1, 0, 2).ravel()])


def pack_gru(
    weight_ih: Floats, weight_hh: Floats, bias_ih: Floats, bias_hh: Floats, *, linear_before_reset: bool
) -> Floats:
    """Pack a GRU's weights, gate order z, r, n, for `grurt.kernels.gru`: the projection, then the recurrence."""
    hidden_size = weight_hh.shape[1]
    bias = bias_ih.astype(np.float64) + bias_hh
    if linear_before_reset:
        bias[2 * hidden_size :] = bias_ih[2 * hidden_size :]
    projection = pack_dense(_interleave_gates(weight_ih, hidden_size), _interleave_gates(bias, hidden_size))
    gates = _interleave_gates(weight_hh, hidden_size).reshape(-1, 3, LANES, hidden_size)  # (panel, gate, unit, k)
    columns = gates.transpose(0, 3, 1, 2)  # (panel, k, gate, unit)
    if linear_before_reset:
        candidate_bias = np.zeros(padded(hidden_size), np.float32)
        candidate_bias[:hidden_size] = bias_hh[2 * hidden_size :]
        panels = columns.reshape(len(columns), -1)
        recurrence = np.concatenate([candidate_bias.reshape(-1, LANES), panels], axis=1).ravel()
    else:
        recurrence = np.concatenate([columns[:, :, :2].ravel(), columns[:, :, 2].ravel()])
    return np.concatenate([projection, recurrence])


def _interleave_gates(rows: NDArray[np.floating], hidden_size: int) -> NDArray[np.floating]:
    """From rows ``(3 * hidden_size, ...)`` in blocks z, r, n to rows in panels: 16 of z, of r, of n, and so on."""
    units = padded(hidden_size)
    gates = np.zeros((3, units, *rows.shape[1:]), rows.dtype)
    gates[:, :hidden_size] = rows.reshape(3, hidden_size, *rows.shape[1:])
    panels = gates.reshape(3, units // LANES, LANES, *rows.shape[1:])
    return np.swapaxes(panels, 0, 1).reshape(3 * units, *rows.shape[1:])


def pack_conv1d(weight: Floats, bias: Floats, groups: int) -> Floats:
    """Pack ``weight (outputs, inputs / groups, taps)`` and ``bias (outputs,)`` for `grurt.kernels.conv`."""
    outputs, inputs, taps = weight.shape
    per_group = outputs // groups
    columns = np.zeros((groups, 1 + taps * inputs, padded(per_group)), np.float32)
    columns[:, 0, :per_group] = bias.reshape(groups, per_group)
    taps_first = weight.transpose(2, 1, 0).reshape(taps * inputs, groups, per_group)
    columns[:, 1:, :per_group] = taps_first.transpose(1, 0, 2)
    vectors = columns.reshape(groups, 1 + taps * inputs, -1, LANES)
    return vectors.transpose(0, 2, 1, 3).ravel()


def pack_rows(*rows: NDArray[np.floating]) -> Floats:
    """Pack vectors ``(size,)`` or matrices ``(n, size)``, each row padded to whole vectors, one after the other."""
    matrix = np.concatenate([np.atleast_2d(row) for row in rows])
    packed = np.zeros((len(matrix), padded(matrix.shape[1])), np.float32)
    packed[:, : matrix.shape[1]] = _to_float32(matrix)
    return packed.ravel()


def _to_float32(array: NDArray[np.floating]) -> Floats:
    """Round sums and quotients of weights to float32; raise ModelError if one of them is too large."""
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ModelError("weights that belong together (two biases, a scale and a variance) are too large for float32")
    return rounded
