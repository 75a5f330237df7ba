"""Recurrent operators: a cell, called for each timestep inside of a timestep, and each of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.views import Storage, padded_row
from grurt.native.c99.layers.cells import Cell, GRUCell, LSTMCell, Recurrence, RNNCell
from grurt.network import operators as op

if TYPE_CHECKING:
    from grurt.lowering.programs.steps import Scan
    from grurt.native.c99.layers.programs.routine import Routine
    from grurt.native.c99.unit import Unit


def cell_of(unit: Unit, step: Scan, name: str) -> Cell:
    """Return the cell of a scan."""
    w, r = step.weight_ih, step.weight_hh
    hidden_size = step.operator.hidden_size
    recurrence = Recurrence(
        name,
        w.inputs,
        hidden_size,
        w.values,
        r.values,
        w.weight_format,
        w.scale,
        r.scale,
        step.bias_ih,
        step.bias_hh,
    )
    if isinstance(step.operator, op.GRU):
        return GRUCell(
            unit,
            recurrence,
            linear_before_reset=step.operator.linear_before_reset,
            gate_activation=step.operator.gate_activation,
            candidate_activation=step.operator.candidate_activation,
        )
    if isinstance(step.operator, op.LSTM):
        return LSTMCell(unit, recurrence)
    return RNNCell(unit, recurrence, step.operator.activation)


def work_of(cell: Cell) -> tuple[Storage, ...]:
    """Return the memory that a cell works in."""
    return (Storage(cell.work_size, codes.BASE_ARENA),) if cell.work_size else ()


def write_scan(routine: Routine, step: Scan, cell: Cell, function: str) -> None:
    """Write the calls of a cell's function."""
    size, batch = step.operator.hidden_size, step.batch
    t = np.arange(step.length)[:: -1 if step.is_reversed else 1]
    rows = (batch * t[:, np.newaxis] + np.arange(batch)).ravel()
    members = padded_row(size) * np.tile(np.arange(batch), step.length)
    x, out = step.inputs[0], step.outputs[0]
    places, wrap = routine.loops(
        step.x_stride * rows + x.offset,
        step.out_stride * rows + out.offset,
        *(members + state.offset for state in step.states),
    )
    states = [
        routine.at(state.storage, place, writes=True) for state, place in zip(step.states, places[2:], strict=True)
    ]
    arguments = [routine.at(x.storage, places[0]), *states]
    arguments += [routine.pointer(storage, writes=True) for storage in step.work]
    arguments += [routine.features(cell.features_size)] if cell.is_integer else []
    copied = f"memcpy({routine.at(out.storage, places[1], writes=True)}, {states[0]}, {size} * sizeof(float));"
    routine.add(wrap([f"{function}({', '.join(arguments)});", copied]))
