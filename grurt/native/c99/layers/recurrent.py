"""The gated recurrent unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.native.c99.layers.cells import GRUCell, Recurrence
from grurt.native.c99.layers.products import loop, scales_of
from grurt.native.c99.text import indented

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import GRU


def gru(unit: Unit, layer: GRU) -> None:
    """Write a GRU: a function of one timestep of one row of states, and its calls."""
    cell = _cell(unit, layer)
    name = cell.write()
    with unit.work(cell.work_size) as work:
        memory = [work] if cell.work_size else []
        if cell.is_integer:
            memory.append(unit.features(cell.features_size))
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
            unit.add(f"memcpy({h}, {unit.constant(layer.name, 'initial_state', initial)}, {size} * sizeof(float));")
        order = f"for (int p = {positions - 1}; p >= 0; p--)" if layer.direction == "reverse" else ""
        x = f"{unit.place(layer.inputs[0])} + {layer.input_size} * p"
        call = _unless_masked(unit, layer, _call(name, x, h, memory))
        copy = f"memcpy({out} + {size} * p, {h}, {size} * sizeof(float));"
        unit.add(order or f"for (int p = 0; p < {positions}; p++)", f"{{\n{indented([call, copy])}\n}}")


def _cell(unit: Unit, layer: GRU) -> GRUCell:
    size = 3 * layer.hidden_size
    recurrence = Recurrence(
        layer.name,
        layer.input_size,
        layer.hidden_size,
        unit.weight(layer, "weight_ih"),
        unit.weight(layer, "weight_hh"),
        layer.weight_format,
        scales_of(unit, layer, "weight_ih"),
        scales_of(unit, layer, "weight_hh"),
        unit.optional_weight(layer, "bias_ih", size),
        unit.optional_weight(layer, "bias_hh", size),
    )
    return GRUCell(
        unit,
        recurrence,
        linear_before_reset=layer.linear_before_reset,
        gate_activation=layer.gate_activation,
        candidate_activation=layer.candidate_activation,
        clip=layer.clip,
    )
