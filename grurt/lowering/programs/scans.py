"""Recurrent operators as scans, one for each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.programs.base import Lowering
from grurt.lowering.programs.steps import Scan
from grurt.lowering.programs.views import Digits, Storage, View, certain, is_dense, merged_digits, padded_row
from grurt.network import operators as op
from grurt.network.vectors import record_bytes

if TYPE_CHECKING:
    from grurt.lowering.packing import Matrix

Recurrent = op.GRU | op.LSTM | op.RNN


class Scans(Lowering):
    """Lowers recurrent operators."""

    def gru(self, operator: op.GRU) -> None:
        self._scan(operator)

    def lstm(self, operator: op.LSTM) -> None:
        self._scan(operator)

    def rnn(self, operator: op.RNN) -> None:
        self._scan(operator)

    def _scan(self, operator: Recurrent) -> None:
        length, batch, _ = self.values.shapes[operator.inputs[0]]
        x, x_stride = self._rows(self.values[operator.inputs[0]])
        states = [self._state(name) for name in operator.inputs[4:]]
        out = _hidden((length, operator.directions, batch, operator.hidden_size))
        for direction in range(operator.directions):
            rows = out.at(1, direction)
            own = rows if _evenly_spaced(rows) is not None else _hidden(rows.shape)
            stride = certain(_evenly_spaced(own))
            parts = tuple(state.at(0, direction) for state in states)
            self.steps.append(self._step(operator, direction, (x, x_stride), (own, stride), parts))
            self.copy(rows, own)
        for name, view in zip(operator.outputs, (out, *states), strict=True):
            if name:
                self.values.bind(name, view)

    def _rows(self, x: View) -> tuple[View, int]:
        """Return x ``(length, batch, input_size)`` as rows of dense features, and how far they are apart."""
        if not _are_rows(x):
            x = self.copied(x)
        rows = merged_digits(x.axes[0] + x.axes[1])
        return x, rows[0][1] if rows else 0

    def _state(self, name: str) -> View:
        """Return a copy of an initial state in rows that are padded to whole vectors, to be worked with."""
        state = _hidden(self.values.shapes[name])
        self.copy(state, self.values[name])
        return state

    def _step(
        self, operator: Recurrent, direction: int, x: tuple[View, int], out: tuple[View, int], states: tuple[View, ...]
    ) -> Scan:
        length, batch, _ = self.values.shapes[operator.inputs[0]]
        weight_ih, weight_hh, biases = (self.constants[name] for name in operator.inputs[1:4])
        matrix, bias = weight_ih.matrix(weight_ih.values[direction], direction), biases.values[direction]
        rows = operator.gates * operator.hidden_size
        return Scan(
            inputs=(x[0], *states),
            outputs=(out[0], *states),
            operator=operator,
            is_reversed=direction == 1 or operator.direction == "reverse",
            length=length,
            batch=batch,
            x_stride=x[1],
            out_stride=out[1],
            states=states,
            work=(Storage(length * batch * work_row(operator, matrix), codes.BASE_ARENA),),
            weight_ih=matrix,
            weight_hh=weight_hh.matrix(weight_hh.values[direction], direction),
            bias_ih=bias[:rows],
            bias_hh=bias[rows:],
        )


def work_row(operator: Recurrent, weight_ih: Matrix | None = None) -> int:
    """Return how many float32 of working memory a row takes: for sums, and with weights of integers for records."""
    gates = 5 if isinstance(operator, op.GRU) else operator.gates
    sums = gates * padded_row(operator.hidden_size)
    if weight_ih is None or weight_ih.scale is None:
        return sums
    return sums + (record_bytes(weight_ih.inputs) + record_bytes(operator.hidden_size)) // F32_BYTES


def _are_rows(x: View) -> bool:
    return is_dense(x.axes[2]) and len(merged_digits(x.axes[0] + x.axes[1])) <= 1


def _hidden(shape: tuple[int, ...]) -> View:
    """Return memory of the arena for rows of hidden units, which are padded to whole vectors."""
    axes: list[Digits] = [((shape[-1], 1),) if shape[-1] > 1 else ()]
    stride = padded_row(shape[-1])
    for size in reversed(shape[:-1]):
        axes.append(((size, stride),) if size > 1 else ())
        stride *= size
    return View(Storage(stride, codes.BASE_ARENA), 0, tuple(reversed(axes)))


def _evenly_spaced(rows: View) -> int | None:
    """Return how far the rows of ``(length, 1, batch, hidden_size)`` are apart; None if not all equally far."""
    digits = merged_digits(rows.axes[0] + rows.axes[2])
    if not digits:
        return padded_row(rows.shape[-1])
    return digits[0][1] if len(digits) == 1 else None
