"""Normalizations of the features of a timestep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.native.c99.layers.products import loop
from grurt.native.c99.text import literal

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import BatchNorm, LayerNorm, RMSNorm


def layer_norm(unit: Unit, layer: LayerNorm) -> None:
    """Write ``(x - mean) / sqrt(variance + epsilon) * weight + bias``."""
    size = layer.size
    weight = f"{unit.constant(layer.name, 'weight', unit.weight(layer, 'weight'))}[i]" if layer.weight else "1.0f"
    bias = f"{unit.constant(layer.name, 'bias', unit.weight(layer, 'bias'))}[i]" if layer.bias else "0.0f"
    body = [
        f"const float mean = grurt_sum(x, {size}) / {literal(size)};",
        f"const float variance = grurt_sum_of_squares(x, {size}, mean) / {literal(size)};",
        f"const float scale = 1.0f / sqrtf(variance + {literal(layer.epsilon)});",
        loop("i", size, [f"y[i] = grurt_fma((x[i] - mean) * scale, {weight}, {bias});"]),
    ]
    equation = "y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias"
    _call(unit, layer, unit.function(layer.name, [equation], "const float *x, float *y", "\n".join(body)))


def rms_norm(unit: Unit, layer: RMSNorm) -> None:
    """Write ``x / sqrt(mean(x * x) + epsilon) * weight``."""
    size = layer.size
    weight = f" * {unit.constant(layer.name, 'weight', unit.weight(layer, 'weight'))}[i]" if layer.weight else ""
    body = [
        f"const float mean = grurt_sum_of_squares(x, {size}, 0.0f) / {literal(size)};",
        f"const float scale = 1.0f / sqrtf(mean + {literal(layer.epsilon)});",
        loop("i", size, [f"y[i] = x[i] * scale{weight};"]),
    ]
    equation = "y = x / sqrt(mean(x * x) + epsilon) * weight"
    _call(unit, layer, unit.function(layer.name, [equation], "const float *x, float *y", "\n".join(body)))


def batch_norm(unit: Unit, layer: BatchNorm) -> None:
    """Write ``(x - mean) * factor + bias``, where the factor is ``weight / sqrt(variance + epsilon)``."""
    factor = layer.factor(unit.weight(layer, "weight"), unit.weight(layer, "variance")).astype(np.float32)
    mean, factor_name, bias = (
        unit.constant(layer.name, what, array)
        for what, array in (
            ("mean", unit.weight(layer, "mean")),
            ("factor", factor),
            ("bias", unit.weight(layer, "bias")),
        )
    )
    body = loop("i", layer.size, [f"y[i] = grurt_fma(x[i] - {mean}[i], {factor_name}[i], {bias}[i]);"])
    equation = "y = (x - mean) * factor + bias, the factor being weight / sqrt(variance + epsilon)"
    _call(unit, layer, unit.function(layer.name, [equation], "const float *x, float *y", body))


def _call(unit: Unit, layer: LayerNorm | RMSNorm | BatchNorm, name: str) -> None:
    x = unit.row(layer.inputs[0], layer)
    unit.new_value(layer, in_place=True)
    unit.each_position(layer, f"{name}({x}, {unit.row(layer.name, layer)});")
