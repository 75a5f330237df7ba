"""Weights in the order in which the kernels read them. The layouts are described in the kernels that read them.

Each function fills memory that it is given, bytes that are zero, and needs little beside it: weights of few outputs
take sixteen times their own size there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from grurt.kernels import codes
from grurt.lanes import LANES
from grurt.network.vectors import padded, panel_bytes, row_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array, Bytes, Floats
    from grurt.network.layers.base import WeightFormat

Numbers: TypeAlias = "NDArray[np.float32 | np.float16 | np.int8]"

_CHUNK = 1 << 16
"""Numbers that are brought into order at a time: so many fit into the cache."""

_FORMATS = {"float32": codes.FLOAT32, "float16": codes.FLOAT16, "int8": codes.INT8, "int4": codes.INT4}


class Matrix(msgspec.Struct, frozen=True):
    """A weight matrix: float32 or float16 ``values (outputs, inputs)``, or int8 with a ``scale (outputs,)``.

    With int4 the values are int8 from -8 to 7.
    """

    values: Numbers
    weight_format: WeightFormat = "float32"
    scale: Floats | None = None

    @property
    def format(self) -> int:
        """The format's number in `grurt.kernels.codes`."""
        return _FORMATS[self.weight_format]

    @property
    def inputs(self) -> int:
        """How many features the matrix is multiplied with."""
        return int(self.values.shape[1])

    def panel_bytes(self, outputs: int) -> int:
        """Return the bytes of the weights of panels of so many outputs."""
        return panel_bytes(outputs, self.inputs, self.weight_format)

    def dense_bytes(self, outputs: int) -> int:
        """Return the bytes of a dense layer of so many outputs, which are padded already."""
        return row_bytes(outputs) + self.panel_bytes(outputs)


def pack_dense(out: Bytes, weight: Matrix, bias: NDArray[np.floating]) -> None:
    """Pack ``weight (outputs, inputs)`` and ``bias (outputs,)`` for `grurt.kernels.dense`."""
    _pack_dense(out[np.newaxis], weight, bias.astype(np.float32), _orders(0, 1, len(weight.values)))


def _pack_dense(out: Bytes, weight: Matrix, bias: Floats, order: NDArray[np.intp]) -> None:
    """Pack the rows ``order (groups, outputs)`` of a matrix into ``out (groups, bytes)``: a dense layer for each."""
    groups, outputs = order.shape
    whole = outputs // (3 * LANES) * (3 * LANES)
    end = weight.dense_bytes(whole)
    for part, rows, size in (
        (out[:, :end], order[:, :whole], 3 * LANES),
        (out[:, end : weight.dense_bytes(outputs)], order[:, whole:], LANES),
    ):
        panels = rows.shape[1] // size
        if panels:
            _fill_dense(part.reshape(groups, panels, -1), weight, bias, rows.reshape(groups, panels, size))


def _orders(first: int, groups: int, outputs: int) -> NDArray[np.intp]:
    """Rows ``(groups, outputs)`` of a matrix, group by group, padded to whole vectors; -1 beyond a group's outputs."""
    numbers = np.arange(padded(outputs))
    rows = numbers + outputs * np.arange(first, first + groups)[:, np.newaxis]
    return np.where(numbers < outputs, rows, -1)


def gru_bytes(weight_ih: Matrix, weight_hh: Matrix, *, linear_before_reset: bool) -> tuple[int, int]:
    """Return the bytes of a GRU's packed weights: of the projection, and of the recurrence."""
    rows = 3 * padded(weight_hh.inputs)
    candidate_bias = row_bytes(weight_hh.inputs) if linear_before_reset else 0
    return weight_ih.dense_bytes(rows), candidate_bias + weight_hh.panel_bytes(rows)


def pack_gru(
    projection: Bytes,
    recurrence: Bytes,
    weight_ih: Matrix,
    weight_hh: Matrix,
    bias_ih: Floats,
    bias_hh: Floats,
    *,
    linear_before_reset: bool,
) -> None:
    """Pack a GRU's weights, gate order z, r, n, for `grurt.kernels.gru_memory`."""
    hidden_size = weight_hh.inputs
    bias = bias_ih.astype(np.float64) + bias_hh
    if linear_before_reset:
        bias[2 * hidden_size :] = bias_ih[2 * hidden_size :]
    units = _gate_rows(hidden_size, 3)
    panels = len(units)
    _pack_dense(projection[np.newaxis], weight_ih, bias.astype(np.float32), units.reshape(1, -1))
    if linear_before_reset:
        joined = recurrence.reshape(1, panels, -1)
        candidate_bias = row_bytes(LANES)
        joined[0, :, :candidate_bias] = _take(bias_hh, units[:, 2]).view(np.uint8)
        _fill_weights(joined[..., candidate_bias:], weight_hh, units.reshape(1, panels, -1))
    else:
        end = weight_hh.panel_bytes(2 * padded(hidden_size))
        _fill_weights(recurrence[:end].reshape(1, panels, -1), weight_hh, units[:, :2].reshape(1, panels, -1))
        _fill_weights(recurrence[end:].reshape(1, panels, -1), weight_hh, units[:, 2].reshape(1, panels, -1))


def scan_bytes(weight_ih: Matrix, weight_hh: Matrix, gates: int) -> tuple[int, int]:
    """Return the bytes of packed weights of an LSTM or RNN: of the projection, and of the recurrence."""
    rows = gates * padded(weight_hh.inputs)
    return weight_ih.dense_bytes(rows), weight_hh.panel_bytes(rows)


def pack_scan(
    projection: Bytes,
    recurrence: Bytes,
    weight_ih: Matrix,
    weight_hh: Matrix,
    bias: NDArray[np.floating],
    gates: int,
) -> None:
    """Pack the weights of an LSTM or RNN for `grurt.kernels.programs.scans`: panels of all gates of 16 units."""
    units = _gate_rows(weight_hh.inputs, gates)
    panels = len(units)
    _pack_dense(projection[np.newaxis], weight_ih, bias.astype(np.float32), units.reshape(1, -1))
    _fill_weights(recurrence.reshape(1, panels, -1), weight_hh, units.reshape(1, panels, -1))


def _gate_rows(hidden_size: int, gates: int) -> NDArray[np.intp]:
    """Rows ``(panel, gate, unit)`` of the matrix whose blocks are the gates; -1 beyond the hidden size."""
    units = np.arange(padded(hidden_size)).reshape(-1, 1, LANES)
    rows = units + hidden_size * np.arange(gates).reshape(1, gates, 1)
    return np.where(units < hidden_size, rows, -1)


def pack_conv1d(out: Bytes, weight: Matrix, bias: Floats, groups: int) -> None:
    """Pack ``weight (outputs, taps * inputs / groups)`` and ``bias (outputs,)`` for `grurt.kernels.conv`."""
    outputs = len(bias) // groups
    of_groups = out.reshape(groups, -1)
    at_once = max(1, _CHUNK // (padded(outputs) * weight.inputs))
    for first in range(0, groups, at_once):
        chosen = of_groups[first : first + at_once]
        _pack_dense(chosen, weight, bias, _orders(first, len(chosen), outputs))


def tap_by_tap(values: Numbers) -> Numbers:
    """From ``(outputs, inputs, taps)`` to ``(outputs, taps * inputs)``."""
    return values.transpose(0, 2, 1).reshape(len(values), -1)


def pack_embedding(out: Bytes, weight: Matrix) -> None:
    """Pack ``weight (vocabulary, size)`` for `grurt.kernels.rows.embedding`."""
    vocabulary_size, size = weight.values.shape
    if weight.scale is not None:
        scales = row_bytes(vocabulary_size)
        out[:scales].view(np.float32)[:vocabulary_size] = weight.scale
        out = out[scales:]
    out.view(weight.values.dtype).reshape(vocabulary_size, -1)[:, :size] = weight.values


def pack_rows(out: Bytes, *rows: NDArray[np.floating]) -> None:
    """Pack vectors ``(size,)`` or matrices ``(n, size)``, each row padded to whole vectors, one after the other."""
    for row in rows:
        matrix = np.atleast_2d(row)
        count, size = matrix.shape
        part, out = out[: count * row_bytes(size)], out[count * row_bytes(size) :]
        part.view(np.float32).reshape(count, -1)[:, :size] = matrix


def _fill_dense(out: Bytes, weight: Matrix, bias: Floats, order: NDArray[np.intp]) -> None:
    """Fill panels ``(groups, panels, bytes)`` with biases and rows ``order (groups, panels, outputs)``."""
    _fill_weights(_fill_head(out, bias, order), weight, order)


def _fill_head(out: Bytes, numbers: Array, order: NDArray[np.intp]) -> Bytes:
    """Write a number of four bytes for each output, and return what is behind them."""
    end = 4 * order.shape[2]
    out[..., :end] = _take(numbers, order).view(np.uint8)
    return out[..., end:]


def _fill_weights(out: Bytes, weight: Matrix, order: NDArray[np.intp]) -> None:
    """Fill panels ``(groups, panels, bytes)`` with the rows ``order (groups, panels, outputs)`` of a matrix."""
    groups, panels, outputs = order.shape
    if weight.scale is None:
        numbers = out.view(weight.values.dtype).reshape(groups, panels, weight.inputs, outputs)
        for some, inputs in _chunks(order, weight.inputs, 1):
            chosen = _take(weight.values[:, inputs], order[:, some])
            numbers[:, some, inputs] = chosen.transpose(0, 1, 3, 2)
        return
    together, factor = (8, 16) if weight.weight_format == "int4" else (4, 1)
    out = _fill_head(out, weight.scale / np.float32(factor), order)
    out = _fill_head(out, -128 * factor * weight.values.sum(axis=1, dtype=np.int32), order)
    of_groups = out.reshape(groups, panels, -(-weight.inputs // together), outputs, 4)
    for some, inputs in _chunks(order, weight.inputs, together):
        chosen = _groups(_take(weight.values[:, inputs], order[:, some]), together)
        if weight.weight_format == "int4":
            chosen = chosen[..., :4] & 15 | chosen[..., 4:] << 4
        of_groups[:, some, inputs.start // together : -(-inputs.stop // together)] = chosen


def _chunks(order: NDArray[np.intp], inputs: int, together: int) -> Iterator[tuple[slice, slice]]:
    """Yield panels and inputs that are filled at a time: inputs ``together``, as many as a group has."""
    groups, panels, outputs = order.shape
    some_inputs = max(1, _CHUNK // (groups * outputs) // together) * together
    some_panels = max(1, _CHUNK // (groups * outputs * min(inputs, some_inputs)))
    for panel in range(0, panels, some_panels):
        for first in range(0, inputs, some_inputs):
            yield slice(panel, panel + some_panels), slice(first, min(first + some_inputs, inputs))


def _groups(values: NDArray[np.int8], size: int) -> Bytes:
    """From ``(groups, panels, outputs, inputs)`` to ``(..., inputs / size, outputs, size)``, filled with zeros."""
    *lead, outputs, inputs = values.shape
    groups = -(-inputs // size)
    filled = np.zeros((*lead, outputs, size * groups), np.uint8)
    filled[..., :inputs] = values.view(np.uint8)
    return filled.reshape(*lead, outputs, groups, size).swapaxes(2, 3)


def _take(rows: Array, order: NDArray[np.intp]) -> Array:
    """Rows of an array, zeros where the number is negative."""
    taken = rows[order]
    taken[order < 0] = 0
    return taken
