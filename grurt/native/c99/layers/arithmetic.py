"""Values added, multiplied, compared, joined, cut and reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.native.c99.layers.products import loop
from grurt.native.c99.text import literal

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import Add, Binary, Concat, Mul, Reduce, Slice, Where
    from grurt.network.layers.arithmetic import Arithmetic

OF_TWO = {
    "sub": "{a} - {b}",
    "div": "{a} / {b}",
    "pow": "powf({a}, {b})",
    "min": "grurt_minimum({a}, {b})",
    "max": "grurt_maximum({a}, {b})",
    "less": "{a} < {b} ? 1.0f : 0.0f",
    "less_or_equal": "{a} <= {b} ? 1.0f : 0.0f",
    "equal": "{a} == {b} ? 1.0f : 0.0f",
}
"""Operations on two expressions."""

_REDUCE = {
    "sum": "grurt_sum({x}, {size})",
    "mean": "grurt_sum({x}, {size}) / {count}",
    "prod": "grurt_product({x}, {size})",
    "max": "grurt_largest({x}, {size})",
    "min": "grurt_smallest({x}, {size})",
    "l1": "grurt_sum_of_magnitudes({x}, {size})",
    "l2": "sqrtf(grurt_sum_of_squares({x}, {size}, 0.0f))",
    "log_sum_exp": "grurt_log_sum_exp({x}, {size})",
    "argmax": "grurt_place({x}, {size}, 1.0f)",
    "argmin": "grurt_place({x}, {size}, -1.0f)",
}


def add(unit: Unit, layer: Add) -> None:
    """Write a sum of values."""
    _from_left_to_right(unit, layer, "{a} + {b}")


def mul(unit: Unit, layer: Mul) -> None:
    """Write a product of values."""
    _from_left_to_right(unit, layer, "{a} * {b}")


def binary(unit: Unit, layer: Binary) -> None:
    """Write an operation on two values."""
    _from_left_to_right(unit, layer, OF_TWO[layer.operation])


def _from_left_to_right(unit: Unit, layer: Arithmetic, operation: str) -> None:
    first, *others = (f"{unit.place(name)}[i]" for name in layer.inputs)
    out = unit.new_value(layer, in_place=True)
    result = first
    for other in others:
        result = operation.format(a=result, b=other)
    unit.add(loop("i", unit.count(layer.name), [f"{out}[i] = {result};"]))


def where(unit: Unit, layer: Where) -> None:
    """Write the choice of a condition."""
    condition, then, otherwise = (f"{unit.place(name)}[i]" for name in layer.inputs)
    out = unit.new_value(layer, in_place=True)
    unit.add(loop("i", unit.count(layer.name), [f"{out}[i] = {condition} == 0.0f ? {otherwise} : {then};"]))


def concat(unit: Unit, layer: Concat) -> None:
    """Write values one after the other."""
    positions, size = unit.network.values[layer.name].positions, unit.network.values[layer.name].size
    out = unit.new_value(layer)
    column = 0
    for name in layer.inputs:
        width = unit.network.values[name].size
        target = f"{out} + {column} + {size} * p" if positions > 1 else f"{out} + {column}" if column else out
        unit.each_position(layer, f"memcpy({target}, {unit.row(name, layer)}, {width} * sizeof(float));")
        column += width


def slice_(unit: Unit, layer: Slice) -> None:
    """Write some of the features."""
    unit.new_value(layer)
    source = f"{unit.row(layer.inputs[0], layer)} + {layer.start}"
    width = layer.stop - layer.start
    unit.each_position(layer, f"memcpy({unit.row(layer.name, layer)}, {source}, {width} * sizeof(float));")


def reduce(unit: Unit, layer: Reduce) -> None:
    """Write one number of all features."""
    positions, size = unit.uses(layer)
    x = unit.row(layer.inputs[0], layer)
    out = unit.new_value(layer)
    result = _REDUCE[layer.operation].format(x=x, size=size, count=literal(size))
    unit.each_position(layer, f"{out}[{'p' if positions > 1 else '0'}] = {result};")
