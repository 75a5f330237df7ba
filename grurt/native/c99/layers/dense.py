"""Products with a matrix, and rows of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.native.c99.layers.products import LEAST_INPUT, Product, loop, scales_of
from grurt.native.c99.text import literal

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import Embedding, Linear


def linear(unit: Unit, layer: Linear) -> None:
    """Write ``y = W x + b``."""
    scale = scales_of(unit, layer, "weight")
    weight = unit.weight(layer, "weight")
    product = Product(unit, layer.name, "weight", weight, layer.input_size, layer.weight_format, scale)
    bias = f"{unit.constant(layer.name, 'bias', unit.weight(layer, 'bias'))}[i]" if layer.bias else "0.0f"
    first = (
        [f"const float scale = grurt_quantize(x, {layer.input_size}, {literal(LEAST_INPUT)}, q);"]
        if scale is not None
        else []
    )
    x = "x" if scale is None else "q"
    sums = product.sums([f"{product.array}[i]"], ["sum"], x, "scale", [f"{product.scale}[i]"])
    body = "\n".join([*first, loop("i", layer.output_size, [f"float sum = {bias};", sums, "y[i] = sum;"])])
    parameters = "const float *x, float *y" + ("" if scale is None else ", int8_t *q")
    equation = f"y = W x{' + b' if layer.bias else ''}, {layer.output_size} of {layer.input_size} features."
    name = unit.function(layer.name, [equation], parameters, body)
    features = [] if scale is None else [unit.features(layer.input_size)]
    unit.new_value(layer)
    arguments = [unit.row(layer.inputs[0], layer), unit.row(layer.name, layer), *features]
    unit.each_position(layer, f"{name}({', '.join(arguments)});")


def embedding(unit: Unit, layer: Embedding) -> None:
    """Write the row of a token."""
    array = unit.constant(layer.name, "weight", unit.weight(layer, "weight"))
    token = f"{unit.place(layer.inputs[0])}[0]"
    scale = scales_of(unit, layer, "weight")
    element = f"{array}[{token}][i]"
    if scale is not None:
        element = f"(float){element} * {unit.constant(layer.name, 'weight_scale', scale)}[{token}]"
    elif layer.weight_format == "float16":
        element = f"grurt_half({element})"
    out = unit.new_value(layer)
    unit.add(loop("i", layer.size, [f"{out}[i] = {element};"]))
