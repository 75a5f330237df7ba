"""The gated recurrent unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.native.c99.expressions import expression, gate
from grurt.native.c99.layers.products import LEAST_INPUT, LEAST_STATE, Product, by_unit, loop, scales_of
from grurt.native.c99.text import indented, literal
from grurt.network.functions import Sigmoid, Tanh

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.native.c99.unit import Unit
    from grurt.network.functions import Function
    from grurt.network.layers import GRU


def gru(unit: Unit, layer: GRU) -> None:
    """Write a GRU: a function of one timestep of one row of states, and its calls."""
    cell = _Cell(unit, layer)
    name = cell.write()
    with unit.work(cell.work_size) as work:
        memory = [work] if cell.work_size else []
        if cell.is_integer:
            memory.append(unit.features(layer.input_size + layer.hidden_size))
        if layer.scans_time:
            _scan_time(unit, layer, name, memory)
        else:
            _scan_positions(unit, layer, name, memory)


def _initial(unit: Unit, layer: GRU) -> Floats | None:
    return unit.weight(layer, "initial_state") if layer.initial_state == "learned" else None


def _scan_time(unit: Unit, layer: GRU, name: str, memory: list[str]) -> None:
    """Write the calls of a timestep: one for each position, which has a state of its own."""
    positions = unit.network.values[layer.name].positions
    initial = _initial(unit, layer)
    state = unit.state(layer, positions * layer.hidden_size, None if initial is None else np.tile(initial, positions))
    h = unit.keep_in_state(layer.name, state)
    if (factor := layer.state_factor) is not None:
        _scale(unit, layer, factor, h)
    row = f"{h} + {layer.hidden_size} * p" if positions > 1 else h
    unit.each_position(layer, _unless_masked(unit, layer, _call(name, unit.row(layer.inputs[0], layer), row, memory)))


def _scale(unit: Unit, layer: GRU, factor: str, h: str) -> None:
    """Write h = factor * h, where a position may have a factor of its own, and of one number or one for each unit."""
    values = unit.network.values
    positions, place = values[layer.name].positions, unit.place(factor)
    row = f"{values[factor].size} * p + " if values[factor].positions > 1 else ""
    element = f"{place}[{row}{'0' if values[factor].size == 1 else 'i'}]"
    state = f"{h}[{layer.hidden_size} * p + i]" if positions > 1 else f"{h}[i]"
    scaled = loop("i", layer.hidden_size, [f"{state} = {element} * {state};"])
    unit.add(loop("p", positions, [scaled]) if positions > 1 else scaled)


def _unless_masked(unit: Unit, layer: GRU, statement: str) -> str:
    if not layer.masked:
        return statement
    mask = layer.inputs[1]
    place = unit.place(mask)
    return f"if ({place}[{'p' if unit.network.values[mask].positions > 1 else '0'}] != 0.0f) {statement}"


def _call(name: str, x: str, h: str, memory: list[str]) -> str:
    return f"{name}({', '.join([x, h, *memory])});"


def _scan_positions(unit: Unit, layer: GRU, name: str, memory: list[str]) -> None:
    """Write the calls of a timestep, from the initial state on over its positions."""
    size, positions = layer.hidden_size, unit.network.values[layer.name].positions
    out = unit.new_value(layer)
    with unit.work(size) as h:
        if (initial := _initial(unit, layer)) is None:
            unit.add(f"memset({h}, 0, {size} * sizeof(float));")
        else:
            unit.add(f"memcpy({h}, {unit.constant(layer, 'initial_state', initial)}, {size} * sizeof(float));")
        order = f"for (int p = {positions - 1}; p >= 0; p--)" if layer.direction == "reverse" else ""
        x = f"{unit.place(layer.inputs[0])} + {layer.input_size} * p"
        call = _unless_masked(unit, layer, _call(name, x, h, memory))
        copy = f"memcpy({out} + {size} * p, {h}, {size} * sizeof(float));"
        unit.add(order or f"for (int p = 0; p < {positions}; p++)", f"{{\n{indented([call, copy])}\n}}")


class _Cell:
    """One timestep of one row of a GRU's states."""

    def __init__(self, unit: Unit, layer: GRU) -> None:
        self._unit = unit
        self._layer = layer
        self.is_integer = bool(layer.scales())
        self._input = self._product("weight_ih", layer.input_size)
        self._hidden = self._product("weight_hh", layer.hidden_size)
        self._bias = unit.constant(layer, "bias", self._biases())

    @property
    def work_size(self) -> int:
        """How many floats it needs: h' until all of h has been read, or z and r * h."""
        if not self._layer.linear_before_reset:
            return 2 * self._layer.hidden_size
        return 0 if self.is_integer else self._layer.hidden_size

    def _product(self, name: str, features: int) -> Product:
        scale = scales_of(self._unit, self._layer, name)
        array = by_unit(self._unit.weight(self._layer, name), 3)
        return Product(self._unit, self._layer, name, array, features, None if scale is None else by_unit(scale, 3))

    def _biases(self) -> Floats:
        """Return the biases of each unit: of z, of r, of n and, where r does not scale it, that of R_n h beside it."""
        size, is_linear = self._layer.hidden_size, self._layer.linear_before_reset
        of_input, of_hidden = (
            self._unit.optional_weight(self._layer, name, 3 * size) for name in ("bias_ih", "bias_hh")
        )
        both = (of_input.astype(np.float64) + of_hidden).astype(np.float32)
        parts = [both[:size], both[size : 2 * size], (of_input if is_linear else both)[2 * size :]]
        return np.stack([*parts, of_hidden[2 * size :]] if is_linear else parts, axis=1)

    def write(self) -> str:
        """Write the function, and return its name."""
        layer = self._layer
        work = "float *work" if self.work_size else ""
        features = "int8_t *features" if self.is_integer else ""
        parameters = ", ".join(filter(None, ("const float *x, float *h", work, features)))
        body = self._reset_after() if layer.linear_before_reset else self._reset_before()
        head = [f"GRU, {layer.hidden_size} units of {layer.input_size} features.", "", *self._equations()]
        return self._unit.function(layer, head, parameters, "\n".join([*self._quantized(), *body]))

    def _equations(self) -> list[str]:
        f, g = (self._name(each) for each in (self._layer.gate_activation, self._layer.candidate_activation))
        after = f"n = {g}(W_n x + b_n + r * (R_n h + c_n))"
        before = f"n = {g}(W_n x + b_n + R_n (r * h) + c_n)"
        clip = [] if self._layer.clip is None else ["", f"Arguments of functions within {self._layer.clip:g} of 0."]
        return [
            f"z = {f}(W_z x + b_z + R_z h + c_z)",
            f"r = {f}(W_r x + b_r + R_r h + c_r)",
            after if self._layer.linear_before_reset else before,
            "h' = (1 - z) * n + z * h",
            *clip,
        ]

    @staticmethod
    def _name(function: Function) -> str:
        return type(function).__name__.lower() if isinstance(function, Sigmoid | Tanh) else str(function)

    def _quantized(self) -> list[str]:
        if not self.is_integer:
            return []
        n_inputs, n_hidden = self._layer.input_size, self._layer.hidden_size
        kind = "const float" if self._layer.linear_before_reset else "float"
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

    def _apply(self, variable: str, argument: str | None = None) -> list[str]:
        layer = self._layer
        lines = [f"{variable} = {argument};"] if argument else []
        if layer.clip is not None:
            lines.append(f"{variable} = grurt_limit({variable}, {literal(-layer.clip)}, {literal(layer.clip)});")
        is_candidate = variable == "n"
        function = (
            expression(layer.candidate_activation, "n") if is_candidate else gate(layer.gate_activation, variable)
        )
        return [*lines, f"{variable} = {function};"]

    def _reset_after(self) -> list[str]:
        next_h = "h" if self.is_integer else "work"
        body = [
            self._starts("z r n m"),
            self._sums(self._input, {0: "z", 1: "r", 2: "n"}, "x"),
            self._sums(self._hidden, {0: "z", 1: "r", 2: "m"}, "h"),
            *self._apply("r"),
            *self._apply("n", "grurt_fma(r, m, n)"),
            *self._apply("z"),
            f"{next_h}[i] = grurt_flush(grurt_fma(z, h[i] - n, n));",
        ]
        copy = [] if self.is_integer else [f"memcpy(h, work, {self._layer.hidden_size} * sizeof(float));"]
        return [loop("i", self._layer.hidden_size, body), *copy]

    def _reset_before(self) -> list[str]:
        size = self._layer.hidden_size
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
