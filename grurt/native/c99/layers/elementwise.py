"""Functions of each feature by itself, masks and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.native.c99.expressions import expression
from grurt.native.c99.layers.products import loop
from grurt.native.c99.text import literal
from grurt.network import functions as fn

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import Activation, Constant, FeatureMask, PRelu, TokenMask

_OF_VECTORS = {fn.Softmax: "grurt_softmax", fn.LogSoftmax: "grurt_log_softmax"}


def activation(unit: Unit, layer: Activation) -> None:
    """Write a function, of each feature or of all of them."""
    x = unit.row(layer.inputs[0], layer)
    first = unit.place(layer.inputs[0])
    out = unit.new_value(layer, in_place=True)
    if (name := _OF_VECTORS.get(type(layer.function))) is not None:
        size = unit.network.values[layer.name].size
        unit.each_position(layer, f"{name}({x}, {unit.row(layer.name, layer)}, {size});")
    else:
        unit.add(loop("i", unit.count(layer.name), [f"{out}[i] = {expression(layer.function, f'{first}[i]')};"]))


def prelu(unit: Unit, layer: PRelu) -> None:
    """Write ``x if x >= 0 else weight * x``."""
    weight = unit.constant(layer.name, "weight", unit.weight(layer, "weight"))
    body = loop("i", layer.size, [f"y[i] = x[i] < 0.0f ? {weight}[i] * x[i] : x[i];"])
    equation = "y = x if x >= 0, else weight * x"
    name = unit.function(layer.name, [equation], "const float *x, float *y", body)
    x = unit.row(layer.inputs[0], layer)
    unit.new_value(layer, in_place=True)
    unit.each_position(layer, f"{name}({x}, {unit.row(layer.name, layer)});")


def constant(unit: Unit, layer: Constant) -> None:
    """Write the weights."""
    weight = unit.constant(layer.name, "weight", unit.weight(layer, "weight"))
    unit.new_value(layer)
    unit.each_position(layer, f"memcpy({unit.row(layer.name, layer)}, {weight}, sizeof {weight});")


def feature_mask(unit: Unit, layer: FeatureMask) -> None:
    """Write 0 where all features equal the mask's value, otherwise 1."""
    positions, size = unit.uses(layer)
    x = unit.place(layer.inputs[0])
    out = unit.new_value(layer)
    place, element = (f"{out}[p]", f"{x}[{size} * p + i]") if positions > 1 else (f"{out}[0]", f"{x}[i]")
    found = loop("i", size, [f"if ({element} != {literal(layer.mask_value)}) {place} = 1.0f;"])
    lines = [f"{place} = 0.0f;", found]
    unit.add(*([loop("p", positions, lines)] if positions > 1 else lines))


def token_mask(unit: Unit, layer: TokenMask) -> None:
    """Write 0 where the token is the mask's, otherwise 1."""
    token = f"{unit.place(layer.inputs[0])}[0]"
    unit.add(f"{unit.new_value(layer)}[0] = {token} == {layer.token} ? 0.0f : 1.0f;")
