"""Weights in the order in which the kernels read them. The layouts are described in the kernels that read them.

What is packed is bytes, handed around as a flat float32 array that holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.errors import ModelError
from grurt.kernels import codes
from grurt.lanes import LANES
from grurt.network.vectors import padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array, Bytes, Floats

Numbers: TypeAlias = "NDArray[np.float32 | np.float16 | np.int8]"


_FORMATS = {
    np.dtype(np.float32): codes.FLOAT32,
    np.dtype(np.float16): codes.FLOAT16,
    np.dtype(np.int8): codes.INT8,
}


@dataclass(frozen=True)
class Matrix:
    """A weight matrix: float32 or float16 ``values (outputs, inputs)``, or int8 with a ``scale (outputs,)``.

    With ``is_int4`` the values are int8 from -8 to 7.
    """

    values: Numbers
    scale: Floats | None = None
    is_int4: bool = False

    def rows(self, order: NDArray[np.intp]) -> Matrix:
        """Return the rows of these numbers, zeros where the number is negative."""
        scale = None if self.scale is None else _take(self.scale, order)
        return Matrix(_take(self.values, order), scale, self.is_int4)

    @property
    def format(self) -> int:
        """The format's number in `grurt.kernels.codes`."""
        return codes.INT4 if self.is_int4 else _FORMATS[self.values.dtype]

    @property
    def inputs(self) -> int:
        """How many features the matrix is multiplied with."""
        return int(self.values.shape[1])


def pack_dense(weight: Matrix, bias: NDArray[np.floating]) -> Floats:
    """Pack ``weight (outputs, inputs)`` and ``bias (outputs,)`` for `grurt.kernels.dense`."""
    outputs = len(weight.values)
    order = np.full(padded(outputs), -1)
    order[:outputs] = np.arange(outputs)
    return _floats(_pack_dense(weight, _to_float32(bias), order))


def _pack_dense(weight: Matrix, bias: Floats, order: NDArray[np.intp]) -> list[Bytes]:
    whole = len(order) // (3 * LANES) * (3 * LANES)
    return [
        _panels(weight, order[:whole].reshape(-1, 3 * LANES), bias),
        _panels(weight, order[whole:].reshape(-1, LANES), bias),
    ]


def pack_gru(
    weight_ih: Matrix, weight_hh: Matrix, bias_ih: Floats, bias_hh: Floats, *, linear_before_reset: bool
) -> tuple[Floats, int]:
    """Pack a GRU's weights, gate order z, r, n, for `grurt.kernels.gru_memory`: the projection, then the recurrence.

    Returns them, and the bytes before those of the recurrence.
    """
    hidden_size = weight_hh.inputs
    bias = bias_ih.astype(np.float64) + bias_hh
    if linear_before_reset:
        bias[2 * hidden_size :] = bias_ih[2 * hidden_size :]
    units = _gate_rows(hidden_size)
    projection = _pack_dense(weight_ih, _to_float32(bias), units.ravel())
    if linear_before_reset:
        candidate_bias = _take(bias_hh, units[:, 2]).view(np.uint8)
        recurrence = [np.concatenate([candidate_bias, _panels(weight_hh, units.reshape(len(units), -1))], axis=1)]
    else:
        recurrence = [_panels(weight_hh, units[:, :2].reshape(len(units), -1)), _panels(weight_hh, units[:, 2])]
    return _floats([*projection, *recurrence]), sum(part.size for part in projection)


def _gate_rows(hidden_size: int) -> NDArray[np.intp]:
    """Rows ``(panel, gate, unit)`` of the matrix whose blocks are z, r, n; -1 beyond the hidden size."""
    units = np.arange(padded(hidden_size)).reshape(-1, 1, LANES)
    rows = units + hidden_size * np.arange(3).reshape(1, 3, 1)
    return np.where(units < hidden_size, rows, -1)


def pack_conv1d(weight: Matrix, bias: Floats, groups: int) -> Floats:
    """Pack ``weight (outputs, inputs / groups, taps)`` and ``bias (outputs,)`` for `grurt.kernels.conv`."""
    tap_by_tap = weight.values.transpose(0, 2, 1).reshape(len(bias), -1)
    per_group = len(bias) // groups
    parts = []
    for group in range(groups):
        order = np.full(padded(per_group), -1)
        order[:per_group] = np.arange(group * per_group, (group + 1) * per_group)
        parts += _pack_dense(Matrix(tap_by_tap, weight.scale), bias, order)
    return _floats(parts)


def pack_embedding(weight: Matrix) -> Floats:
    """Pack ``weight (vocabulary, size)`` for `grurt.kernels.rows.embedding`."""
    vocabulary_size, size = weight.values.shape
    rows = np.zeros((vocabulary_size, padded(size)), weight.values.dtype)
    rows[:, :size] = weight.values
    if weight.scale is None:
        return _floats([_flat(rows)])
    scales = np.zeros(padded(vocabulary_size), np.float32)
    scales[:vocabulary_size] = weight.scale
    return _floats([scales.view(np.uint8), _flat(rows)])


def pack_rows(*rows: NDArray[np.floating]) -> Floats:
    """Pack vectors ``(size,)`` or matrices ``(n, size)``, each row padded to whole vectors, one after the other."""
    matrix = np.concatenate([np.atleast_2d(row) for row in rows])
    packed = np.zeros((len(matrix), padded(matrix.shape[1])), np.float32)
    packed[:, : matrix.shape[1]] = _to_float32(matrix)
    return packed.ravel()


def _panels(weight: Matrix, order: NDArray[np.intp], bias: Floats | None = None) -> Bytes:
    """Pack panels, ``(panels, bytes)``: each of the rows ``order (panels, outputs)``, behind their biases if any."""
    chosen = weight.rows(order)
    parts = [] if bias is None else [_take(bias, order).view(np.uint8)]
    values = chosen.values
    if chosen.scale is None:
        parts.append(_flat(values.transpose(0, 2, 1)))
    elif weight.is_int4:
        correction = -128 * 16 * values.sum(axis=2, dtype=np.int32)
        groups = _groups(values, 8).view(np.uint8)
        halves = groups[..., :4] & 15 | groups[..., 4:] << 4
        parts += [_flat(chosen.scale / np.float32(16)), _flat(correction), _flat(halves)]
    else:
        correction = -128 * values.sum(axis=2, dtype=np.int32)
        parts += [_flat(chosen.scale), _flat(correction), _flat(_groups(values, 4))]
    return np.concatenate(parts, axis=1)


def _groups(values: Numbers, size: int) -> NDArray[np.int8]:
    """From ``(panels, outputs, inputs)`` to ``(panels, inputs / size, outputs, size)``, filled with zeros."""
    panels, outputs, inputs = values.shape
    groups = -(-inputs // size)
    filled = np.zeros((panels, outputs, size * groups), np.int8)
    filled[:, :, :inputs] = values
    return np.ascontiguousarray(filled.reshape(panels, outputs, groups, size).transpose(0, 2, 1, 3))


def _take(rows: Array, order: NDArray[np.intp]) -> Array:
    """Rows of an array, zeros where the number is negative."""
    taken = rows[order]
    taken[order < 0] = 0
    return taken


def _flat(array: Array) -> Bytes:
    """Bytes ``(panels, bytes)`` of an array ``(panels, ...)``."""
    return np.ascontiguousarray(array).reshape(len(array), int(np.prod(array.shape[1:]))).view(np.uint8)


def _floats(parts: list[Bytes]) -> Floats:
    """Return bytes, filled up to whole vectors, as float32."""
    joined = np.concatenate([part.ravel() for part in parts])
    filled = np.zeros(-(-joined.size // (4 * LANES)) * 4 * LANES, np.uint8)
    filled[: joined.size] = joined
    return filled.view(np.float32)


def _to_float32(array: NDArray[np.floating]) -> Floats:
    """Round sums and quotients of weights to float32; raise ModelError if one of them is too large."""
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ModelError("weights that belong together (two biases, a scale and a variance) are too large for float32")
    return rounded
