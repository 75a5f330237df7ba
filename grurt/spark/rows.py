"""Rows on their way: what the model reads of them, and why some cannot be computed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.runtime.context import fault_text
from grurt.spark.settings import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.lowering.plan import Plan
    from grurt.spark.settings import Port, Settings

_INPUTS = "expected a value, got null"


class Rows(NamedTuple):
    """Rows that can be computed with."""

    table: Any
    """As they came: `Settings.row_schema`."""
    orders: NDArray[np.int64]
    """``(n_rows, n_orders)``"""
    inputs: Mapping[str, Array]
    """Frames ``(n_rows, *shape)`` by the model's names."""


class Unsound(NamedTuple):
    """Rows that cannot."""

    table: Any
    reasons: list[str]


def read_rows(table: Any, settings: Settings, plan: Plan, *, refuse_nonfinite: bool) -> tuple[Rows, Unsound]:
    """Return the rows of a table that can be computed with, and those that cannot.

    Raises
    ------
    InputValueError
        If one cannot, and the settings say that this is to be raised.
    """
    table = table.combine_chunks()
    reasons: dict[int, str] = {}
    for name, column in [(KEY, settings.key), *zip(settings.order_names, settings.order, strict=True)]:
        _note(reasons, _nulls(table[name]), f"column {column.name!r}: {_INPUTS}")
    inputs = {}
    for name, port, plan_port in zip(settings.input_names, settings.inputs, plan.inputs, strict=True):
        frames = _frames(_whole(table[name]), port, reasons)
        if port.tokens or refuse_nonfinite:
            wrong = (frames < 0) | (frames >= port.size) if port.tokens else ~np.isfinite(frames)
            for row in np.flatnonzero(wrong.reshape(len(frames), -1).any(axis=1) if len(frames) else wrong).tolist():
                reasons.setdefault(row, fault_text(plan_port, frames[row], int(wrong[row].argmax())))
        inputs[port.name] = frames
    if reasons and settings.faults == "raise":
        row = min(reasons)
        key = described(table[KEY][row].as_py())
        raise InputValueError(f'stream_gru: key {key}: {reasons[row]}; faults="report" gives such rows out')
    return _split(table, inputs, reasons, settings)


def _split(
    table: Any, inputs: Mapping[str, Array], reasons: Mapping[int, str], settings: Settings
) -> tuple[Rows, Unsound]:
    rows = sorted(reasons)
    unsound = Unsound(table.take(pa.array(rows, pa.int64())), [reasons[row] for row in rows])
    if rows:
        sound = np.ones(len(table), bool)
        sound[rows] = False
        table = table.filter(pa.array(sound))
        inputs = {name: array[sound] for name, array in inputs.items()}
    orders = [_whole(table[name]).to_numpy(zero_copy_only=False) for name in settings.order_names]
    return Rows(table, np.stack(orders, axis=1).astype(np.int64, copy=False), inputs), unsound


def _whole(column: Any) -> Any:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _nulls(column: Any) -> NDArray[np.int64]:
    if not column.null_count:
        return np.zeros(0, np.int64)
    return np.flatnonzero(_whole(pc.is_null(column)).to_numpy(zero_copy_only=False))


def _note(reasons: dict[int, str], rows: NDArray[np.int64], reason: str) -> None:
    for row in rows.tolist():
        reasons.setdefault(row, reason)


def _frames(column: Any, port: Port, reasons: dict[int, str]) -> Array:
    """Return frames ``(n_rows, *shape)``, zeros where there are none, which is noted."""
    _note(reasons, _nulls(column), f"input {port.name!r}: {_INPUTS}")
    if port.tokens:
        return column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)  # type: ignore[no-any-return]
    lengths = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero((lengths != port.size) & (lengths >= 0)).tolist():
        reasons.setdefault(row, f"input {port.name!r}: expected {port.size} numbers, got {lengths[row]}")
    fits = lengths == port.size
    values = (column if fits.all() else column.filter(pa.array(fits))).flatten()
    if values.null_count:
        holes = _whole(pc.is_null(values)).to_numpy(zero_copy_only=False).reshape(-1, port.size).any(axis=1)
        reason = f"input {port.name!r}: expected {port.size} numbers, got a null among them"
        _note(reasons, np.flatnonzero(fits)[holes], reason)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False).reshape(-1, *port.shape)
    if fits.all():
        return numbers  # type: ignore[no-any-return]
    frames = np.zeros((len(column), *port.shape), np.float32)
    frames[fits] = numbers
    return frames
