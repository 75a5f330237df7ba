"""Operators that scan a sequence inside a timestep, or advance a state by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from grurt.network.functions import ElementwiseFunction, Sigmoid, Tanh
from grurt.network.operators.base import Operator, Shape
from grurt.network.vectors import F32_BYTES, padded, record_bytes

__all__ = ["GRU", "LSTM", "RNN"]


class Recurrent(Operator, frozen=True, kw_only=True):
    """Base class of the recurrent operators, whose inputs and outputs are those of ONNX.

    Inputs are x ``(length, batch, input_size)``, ``W (directions, gates * hidden_size, input_size)``,
    ``R (directions, gates * hidden_size, hidden_size)``, ``B (directions, 2 * gates * hidden_size)``, and the initial
    states ``(directions, batch, hidden_size)``. Outputs are Y ``(length, directions, batch, hidden_size)``, and the
    final states. W, R and B are constants.
    """

    constants: ClassVar[tuple[int, ...]] = (1, 2, 3)
    n_inputs: ClassVar[tuple[int, int]] = (5, 5)
    n_outputs: ClassVar[int] = 2
    gates: ClassVar[int]

    hidden_size: int
    direction: Literal["forward", "reverse", "bidirectional"] = "forward"

    @property
    def directions(self) -> int:
        """How many directions there are."""
        return 2 if self.direction == "bidirectional" else 1

    def shapes(self, *inputs: Shape) -> tuple[Shape, ...]:
        x, *rest = inputs
        if len(x) != 3 or self.hidden_size < 1:
            raise self.misfit(f"expected a value (length, batch, input_size) and a hidden size from 1, got {x}")
        length, batch, input_size = x
        rows = self.gates * self.hidden_size
        state = (self.directions, batch, self.hidden_size)
        weights = [
            (self.directions, rows, input_size),
            (self.directions, rows, self.hidden_size),
            (self.directions, 2 * rows),
        ]
        expected = weights + [state] * (self.n_outputs - 1)
        if list(rest) != expected:
            raise self.misfit(f"expected weights and states of shapes {expected}, got {rest}")
        return ((length, self.directions, batch, self.hidden_size), *[state] * (self.n_outputs - 1))

    def n_steps(self, *inputs: Shape) -> int:
        return 2 + len(inputs) + 12 * self.directions

    def packed_numbers(self, *inputs: Shape) -> int:
        rows = self.directions * self.gates * padded(self.hidden_size)
        moved = math.prod(inputs[0]) + sum(math.prod(shape) for shape in self.shapes(*inputs))
        return rows * (inputs[0][-1] + self.hidden_size + 8) + 8 * moved

    def scratch_numbers(self, *inputs: Shape) -> int:
        length, batch, _ = inputs[0]
        rows = self.directions * batch * (length + 1)
        return (2 + 2 * self.directions) * padded(math.prod(inputs[0])) + (self.gates + 8) * rows * padded(
            self.hidden_size
        )

    def matrices(self, *inputs: Shape) -> Mapping[int, tuple[int, ...]]:
        return {1: (2,), 2: (2,)}

    def record_numbers(self, *inputs: Shape) -> int:
        length, batch, input_size = inputs[0]
        row = record_bytes(input_size) + record_bytes(self.hidden_size)
        return self.directions * length * batch * row // F32_BYTES

    def multiply_adds(self, *inputs: Shape) -> int:
        length, batch, input_size = inputs[0]
        return length * batch * self.directions * self.gates * self.hidden_size * (input_size + self.hidden_size)


class GRU(Recurrent, frozen=True, kw_only=True, tag="gru"):
    """A gated recurrent unit (ONNX ``GRU``): gates z, r, n; equations as in `grurt.GRU`."""

    gates: ClassVar[int] = 3

    linear_before_reset: bool = True
    gate_activation: ElementwiseFunction = Sigmoid()
    candidate_activation: ElementwiseFunction = Tanh()


class LSTM(Recurrent, frozen=True, kw_only=True, tag="lstm"):
    """A long short-term memory (ONNX ``LSTM``): gates i, o, f, c.

    It has a second state, the cell, behind the first::

        i = sigmoid(W_i x + R_i h + b_i)
        f = sigmoid(W_f x + R_f h + b_f)
        g = tanh(W_c x + R_c h + b_c)
        o = sigmoid(W_o x + R_o h + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')
    """

    n_inputs: ClassVar[tuple[int, int]] = (6, 6)
    n_outputs: ClassVar[int] = 3
    gates: ClassVar[int] = 4


class RNN(Recurrent, frozen=True, kw_only=True, tag="rnn"):
    """A simple recurrent unit (ONNX ``RNN``): ``h' = f(W x + R h + b)``."""

    gates: ClassVar[int] = 1

    activation: ElementwiseFunction = Tanh()
