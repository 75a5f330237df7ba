"""Recurrent cells: functions of one timestep of one row of states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from grurt.native.c99.expressions import expression, gate
from grurt.native.c99.layers.products import LEAST_INPUT, LEAST_STATE, Product, by_unit, loop
from grurt.native.c99.text import literal
from grurt.network.functions import Sigmoid, Tanh

if TYPE_CHECKING:
    from grurt.array_types import Array, Floats
    from grurt.native.c99.unit import Unit
    from grurt.network.functions import Function
    from grurt.network.layers.base import WeightFormat


@dataclass(frozen=True)
class Recurrence:
    """The weights of a cell, whose rows are blocks of gates: ``(gates * hidden_size, features)``.

    Parameters
    ----------
    name
        What it is called.
    input_size, hidden_size
        How many features and units there are.
    weight_ih, weight_hh
        The matrices; of int4, in bytes.
    weight_format
        What their numbers are.
    scale_ih, scale_hh
        The scales of their rows; None of floating point.
    bias_ih, bias_hh
        The biases, ``(gates * hidden_size,)``.
    """

    name: str
    input_size: int
    hidden_size: int
    weight_ih: Array
    weight_hh: Array
    weight_format: WeightFormat
    scale_ih: Array | None
    scale_hh: Array | None
    bias_ih: Floats
    bias_hh: Floats


class Cell:
    """A cell of any kind.

    Parameters
    ----------
    unit
        The file.
    recurrence
        The weights.
    """

    kind: ClassVar[str]
    gates: ClassVar[int]
    states: ClassVar[str] = "float *h"

    def __init__(self, unit: Unit, recurrence: Recurrence) -> None:
        self._unit = unit
        self._own = recurrence
        self.is_integer = recurrence.scale_ih is not None
        self._input = self._product("weight_ih", recurrence.weight_ih, recurrence.scale_ih, recurrence.input_size)
        self._hidden = self._product("weight_hh", recurrence.weight_hh, recurrence.scale_hh, recurrence.hidden_size)
        self._bias = unit.constant(recurrence.name, "bias", self._biases())

    @property
    def work_size(self) -> int:
        """How many floats it needs: h' until all of h has been read."""
        return 0 if self.is_integer else self._own.hidden_size

    @property
    def features_size(self) -> int:
        """How many bytes it needs, for features as integers."""
        return self._own.input_size + self._own.hidden_size if self.is_integer else 0

    def _product(self, name: str, array: Array, scale: Array | None, features: int) -> Product:
        of_units = None if scale is None else by_unit(scale, self.gates)
        rows = by_unit(array, self.gates)
        return Product(self._unit, self._own.name, name, rows, features, self._own.weight_format, of_units)

    @cached_property
    def _sum_of_biases(self) -> Floats:
        return (self._own.bias_ih.astype(np.float64) + self._own.bias_hh).astype(np.float32)

    def _biases(self) -> Floats:
        """Return the biases of each unit, one for each gate."""
        return by_unit(self._sum_of_biases, self.gates)

    def write(self) -> str:
        """Write the function, and return its name."""
        work = "float *work" if self.work_size else ""
        features = "int8_t *features" if self.is_integer else ""
        parameters = ", ".join(filter(None, ("const float *x", self.states, work, features)))
        sizes = f"{self.kind}, {self._own.hidden_size} units of {self._own.input_size} features."
        head = [sizes, "", *self._equations()]
        return self._unit.function(self._own.name, head, parameters, "\n".join([*self._quantized(), *self._body()]))

    def _equations(self) -> list[str]:
        raise NotImplementedError

    def _body(self) -> list[str]:
        raise NotImplementedError

    def _quantized(self, kind: str = "const float") -> list[str]:
        if not self.is_integer:
            return []
        n_inputs, n_hidden = self._own.input_size, self._own.hidden_size
        return [
            f"int8_t *const q = features, *const q_h = features + {n_inputs};",
            f"const float x_scale = grurt_quantize(x, {n_inputs}, {literal(LEAST_INPUT)}, q);",
            f"{kind} h_scale = grurt_quantize(h, {n_hidden}, {literal(LEAST_STATE)}, q_h);",
        ]

    def _sums(self, product: Product, gates: dict[int, str], x: str) -> str:
        """Return statements that add the products of some gates of unit i to variables."""
        is_input = product is self._input
        rows = [f"{product.array}[i][{number}]" for number in gates]
        scales = [f"{product.scale}[i][{number}]" for number in gates]
        of_x, scale = ("q", "x_scale") if is_input else ("q_h", "h_scale")
        return product.sums(rows, list(gates.values()), of_x if self.is_integer else x, scale, scales)

    def _starts(self, names: str) -> str:
        return "float " + ", ".join(f"{name} = {self._bias}[i][{k}]" for k, name in enumerate(names.split())) + ";"

    def _next_h(self, statements: list[str], value: str) -> list[str]:
        """Return the loop over the units, after which h is h'."""
        next_h = "h" if self.is_integer else "work"
        copy = [] if self.is_integer else [f"memcpy(h, work, {self._own.hidden_size} * sizeof(float));"]
        return [loop("i", self._own.hidden_size, [*statements, f"{next_h}[i] = {value};"]), *copy]


class GRUCell(Cell):
    """A gated recurrent unit.

    Parameters
    ----------
    linear_before_reset
        Whether r scales what has been multiplied with R_n, or h before that.
    gate_activation, candidate_activation
        Its functions.
    clip
        How large the arguments of functions may be; None: any size.
    """

    kind = "GRU"
    gates = 3

    def __init__(
        self,
        unit: Unit,
        recurrence: Recurrence,
        *,
        linear_before_reset: bool,
        gate_activation: Function,
        candidate_activation: Function,
        clip: float | None = None,
    ) -> None:
        self._is_linear = linear_before_reset
        self._gate_activation = gate_activation
        self._candidate_activation = candidate_activation
        self._clip = clip
        super().__init__(unit, recurrence)

    @property
    def work_size(self) -> int:
        """How many floats it needs: h' until all of h has been read, or z and r * h."""
        return super().work_size if self._is_linear else 2 * self._own.hidden_size

    def _biases(self) -> Floats:
        """Return the biases of each unit: of z, of r, of n and, where r does not scale it, that of R_n h beside it."""
        if not self._is_linear:
            return super()._biases()
        size = self._own.hidden_size
        gates, n = self._sum_of_biases[: 2 * size].reshape(2, -1), self._own.bias_ih[2 * size :]
        return np.stack([*gates, n, self._own.bias_hh[2 * size :]], axis=1)

    def _equations(self) -> list[str]:
        f, g = (_named(each) for each in (self._gate_activation, self._candidate_activation))
        after = f"n = {g}(W_n x + b_n + r * (R_n h + c_n))"
        before = f"n = {g}(W_n x + b_n + R_n (r * h) + c_n)"
        clip = [] if self._clip is None else ["", f"Arguments of functions within {self._clip:g} of 0."]
        return [
            f"z = {f}(W_z x + b_z + R_z h + c_z)",
            f"r = {f}(W_r x + b_r + R_r h + c_r)",
            after if self._is_linear else before,
            "h' = (1 - z) * n + z * h",
            *clip,
        ]

    def _apply(self, variable: str, argument: str | None = None) -> list[str]:
        lines = [f"{variable} = {argument};"] if argument else []
        if self._clip is not None:
            lines.append(f"{variable} = grurt_limit({variable}, {literal(-self._clip)}, {literal(self._clip)});")
        is_candidate = variable == "n"
        of_gate = gate(self._gate_activation, variable)
        function = expression(self._candidate_activation, "n") if is_candidate else of_gate
        return [*lines, f"{variable} = {function};"]

    def _quantized(self, kind: str = "const float") -> list[str]:
        return super()._quantized(kind if self._is_linear else "float")

    def _body(self) -> list[str]:
        return self._reset_after() if self._is_linear else self._reset_before()

    def _reset_after(self) -> list[str]:
        statements = [
            self._starts("z r n m"),
            self._sums(self._input, {0: "z", 1: "r", 2: "n"}, "x"),
            self._sums(self._hidden, {0: "z", 1: "r", 2: "m"}, "h"),
            *self._apply("r"),
            *self._apply("n", "grurt_fma(r, m, n)"),
            *self._apply("z"),
        ]
        return self._next_h(statements, "grurt_flush(grurt_fma(z, h[i] - n, n))")

    def _reset_before(self) -> list[str]:
        size = self._own.hidden_size
        gates = [
            f"float z = {self._bias}[i][0], r = {self._bias}[i][1];",
            self._sums(self._input, {0: "z", 1: "r"}, "x"),
            self._sums(self._hidden, {0: "z", 1: "r"}, "h"),
            *self._apply("z"),
            *self._apply("r"),
            "z_of_all[i] = z;",
            "reset_h[i] = r * h[i];",
        ]
        candidate = [
            f"float n = {self._bias}[i][2];",
            self._sums(self._input, {2: "n"}, "x"),
            self._sums(self._hidden, {2: "n"}, "reset_h"),
            *self._apply("n"),
            "h[i] = grurt_flush(grurt_fma(z_of_all[i], h[i] - n, n));",
        ]
        again = [f"h_scale = grurt_quantize(reset_h, {size}, {literal(LEAST_STATE)}, q_h);"] if self.is_integer else []
        return [
            f"float *const z_of_all = work, *const reset_h = work + {size};",
            loop("i", size, gates),
            *again,
            loop("i", size, candidate),
        ]


class LSTMCell(Cell):
    """A long short-term memory, whose second state is its cell c."""

    kind = "LSTM"
    gates = 4
    states = "float *h, float *c"

    def _equations(self) -> list[str]:
        return [
            *(f"{gate} = sigmoid(W_{gate} x + R_{gate} h + b_{gate})" for gate in "iof"),
            "g = tanh(W_c x + R_c h + b_c)",
            "c' = f * c + i * g",
            "h' = o * tanh(c')",
        ]

    def _body(self) -> list[str]:
        gates = dict(enumerate(("in", "out", "kept", "g")))
        statements = [
            self._starts(" ".join(gates.values())),
            self._sums(self._input, gates, "x"),
            self._sums(self._hidden, gates, "h"),
            "kept = grurt_gate_sigmoid(kept) * c[i];",
            "c[i] = grurt_flush(grurt_fma(grurt_gate_sigmoid(in), grurt_tanh(g), kept));",
        ]
        return self._next_h(statements, "grurt_flush(grurt_gate_sigmoid(out) * grurt_tanh(c[i]))")


class RNNCell(Cell):
    """A simple recurrent unit, of some function."""

    kind = "RNN"
    gates = 1

    def __init__(self, unit: Unit, recurrence: Recurrence, activation: Function) -> None:
        self._activation = activation
        super().__init__(unit, recurrence)

    def _equations(self) -> list[str]:
        return [f"h' = {_named(self._activation)}(W x + R h + b)"]

    def _body(self) -> list[str]:
        statements = [
            self._starts("sum"),
            self._sums(self._input, {0: "sum"}, "x"),
            self._sums(self._hidden, {0: "sum"}, "h"),
            f"sum = {expression(self._activation, 'sum')};",
        ]
        return self._next_h(statements, "grurt_flush(sum)")


def _named(function: Function) -> str:
    return type(function).__name__.lower() if isinstance(function, Sigmoid | Tanh) else str(function)
