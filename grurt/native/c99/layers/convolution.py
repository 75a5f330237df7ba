"""Causal convolutions over time: what they have read lies in a ring in the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.native.c99.layers.products import LEAST_INPUT, Product, loop, scales_of
from grurt.native.c99.text import indented, literal

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import Conv1d


def conv1d(unit: Unit, layer: Conv1d) -> None:
    """Write a function of one timestep, and its call."""
    history = (layer.kernel_size - 1) * layer.dilation
    is_integer = bool(layer.scales())
    name = _write(unit, layer, history)
    unit.new_value(layer)
    arguments = [unit.place(layer.inputs[0]), unit.place(layer.name)]
    if history:
        state = unit.state(layer, history * layer.input_size, row=layer.input_size)
        arguments += [f"state->{state.name}", f"&state->{state.name}_oldest"]
    if not is_integer:
        unit.add(f"{name}({', '.join(arguments)});")
        return
    with unit.work(layer.features_per_output) as work:
        arguments += [work, unit.features(layer.features_per_output)]
        unit.add(f"{name}({', '.join(arguments)});")


def _write(unit: Unit, layer: Conv1d, history: int) -> str:
    parameters = "const float *x, float *y" + (", float *past, int32_t *oldest" if history else "")
    ring = [loop("i", layer.input_size, [f"past[{layer.input_size} * *oldest + i] = x[i];"])] if history else []
    ring += [f"*oldest = (*oldest + 1) % {history};"] if history else []
    is_integer = bool(layer.scales())
    body = _of_integers(unit, layer) if is_integer else _of_floats(unit, layer)
    if is_integer:
        parameters += ", float *gathered, int8_t *q"
    later = f", dilation {layer.dilation}" if layer.dilation > 1 else ""
    groups = f", {layer.groups} groups" if layer.groups > 1 else ""
    equation = (
        f"y_t = b + sum over k of W_k x_(t - {layer.dilation} * ({layer.kernel_size - 1} - k)), "
        f"{layer.output_size} of {layer.input_size} features{later}{groups}."
    )
    return unit.function(layer.name, [equation], parameters, "\n".join([*body, *ring]))


def _tap(layer: Conv1d, offset: str) -> str:
    """Return the input that tap t reads."""
    last = layer.kernel_size - 1
    if not last:
        return f"const float *const row = x{offset};"
    history = last * layer.dilation
    slot = f"past + {layer.input_size} * ((*oldest + {layer.dilation} * t) % {history})"
    return f"const float *const row = (t == {last} ? x : {slot}){offset};"


def _of_floats(unit: Unit, layer: Conv1d) -> list[str]:
    """Tap after tap, each of which adds to the sums of all outputs."""
    n_inputs, n_outputs = layer.input_size // layer.groups, layer.outputs_per_group
    weight = unit.weight(layer, "weight").transpose(2, 0, 1)
    product = Product(unit, layer.name, "weight", weight, n_inputs, layer.weight_format, None)
    bias = unit.constant(layer.name, "bias", unit.weight(layer, "bias")) + "[i]" if layer.bias else "0.0f"
    group = f" + {n_inputs} * (i / {n_outputs})" if layer.groups > 1 else ""
    sums = product.sums([f"{product.array}[t][i]"], ["sum"], "group" if group else "row", "", [""])
    choose = [f"const float *const group = row{group};"] if group else []
    outputs = [*choose, "float sum = y[i];", sums, "y[i] = sum;"]
    return [
        loop("i", layer.output_size, [f"y[i] = {bias};"]),
        loop("t", layer.kernel_size, [_tap(layer, ""), loop("i", layer.output_size, outputs)]),
    ]


def _of_integers(unit: Unit, layer: Conv1d) -> list[str]:
    """Group after group, whose features of all taps are gathered and quantized together."""
    n_inputs, n_outputs, size = layer.input_size // layer.groups, layer.outputs_per_group, layer.features_per_output
    weight = unit.weight(layer, "weight").transpose(0, 2, 1)
    array = np.ascontiguousarray(weight).reshape(layer.output_size, size)
    scale = scales_of(unit, layer, "weight")
    product = Product(unit, layer.name, "weight", array, size, layer.weight_format, scale)
    bias = unit.constant(layer.name, "bias", unit.weight(layer, "bias")) + "[i]" if layer.bias else "0.0f"
    gather = loop("k", n_inputs, [f"gathered[{n_inputs} * t + k] = row[k];"])
    sums = product.sums([f"{product.array}[i]"], ["sum"], "q", "scale", [f"{product.scale}[i]"])
    outputs = "\n".join([f"float sum = {bias};", sums, "y[i] = sum;"])
    return [
        loop(
            "g",
            layer.groups,
            [
                loop("t", layer.kernel_size, [_tap(layer, f" + {n_inputs} * g"), gather]),
                f"const float scale = grurt_quantize(gathered, {size}, {literal(LEAST_INPUT)}, q);",
                f"for (int i = {n_outputs} * g; i < {n_outputs} * (g + 1); i++) {{\n{indented([outputs])}\n}}",
            ],
        )
    ]
