"""``stack`` of tensors, and what takes it apart again or reduces it along the axis that it has made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grurt.converters.keras.builder import Builder, same_time
from grurt.converters.keras.handlers import converts_function
from grurt.converters.keras.merging import join
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.network import layers
from grurt.network.functions import Affine
from grurt.network.layers import AnyLayer, Binary

_REDUCTIONS: dict[str, Any] = {
    "Sum": lambda name, values: layers.Add(name=name, inputs=values),
    "Mean": lambda name, values: layers.Add(name=name, inputs=values),
    "Prod": lambda name, values: layers.Mul(name=name, inputs=values),
    "Max": lambda name, values: Binary(name=name, inputs=values, operation="max"),
    "Amax": lambda name, values: Binary(name=name, inputs=values, operation="max"),
    "Min": lambda name, values: Binary(name=name, inputs=values, operation="min"),
    "Amin": lambda name, values: Binary(name=name, inputs=values, operation="min"),
}


_WITHOUT_FEATURES = {Kind.NUMBERS: Kind.SEQUENCE, Kind.NUMBER: Kind.SINGLE}


@converts_function("Stack")
def stack(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``stack``: tensors of one kind along a new axis."""
    tensors = [build.value(layer, tensor, *VECTORS, *_WITHOUT_FEATURES) for tensor in args.tensors(layer)]
    first = tensors[0]
    if first.kind in _WITHOUT_FEATURES and layer.config.get("axis", 0) in (-1, first.rank):
        vectors = [replace(tensor, kind=_WITHOUT_FEATURES.get(tensor.kind, tensor.kind)) for tensor in tensors]
        return (join(layer, "Concatenate", vectors, build),)
    if len({(tensor.kind, tensor.size) for tensor in tensors}) > 1 or len(tensors) > layers.Concat.max_inputs:
        raise layer.unsupported("tensors of other shapes together, or very many", "stack tensors of one shape")
    same_time(layer, tensors)
    axis = layer.config.get("axis", 0)
    if type(axis) is not int or not -first.rank - 1 <= axis <= first.rank:
        raise layer.config.invalid("axis", f"one of {first.rank + 1}", axis)
    values = tuple(tensor.value for tensor in tensors)
    return (replace(first, value="", stacked=values, stack_axis=axis % (first.rank + 1), state_of=None),)


def reduced_stack(layer: Layer, args: Arguments, build: Builder) -> Tensor | None:
    """Return what a reduction makes of stacked tensors; None of others."""
    tensor = args.positional[0] if args.positional else None
    if not isinstance(tensor, Tensor) or not tensor.stacked:
        return None
    axis = layer.config.get("axis")
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    is_own = type(axis) is int and axis in (tensor.stack_axis, tensor.stack_axis - tensor.rank - 1)
    if not is_own or layer.kind not in _REDUCTIONS or layer.config.boolean("keepdims"):
        raise layer.unsupported(
            "a stack of tensors as its input", "a stack can be reduced along the axis that it has made"
        )
    made: AnyLayer = _REDUCTIONS[layer.kind](build.unique(layer.name), tensor.stacked)
    value = build.add(made)
    if layer.kind == "Mean":
        value = build.function(value, Affine(1 / len(tensor.stacked), 0.0))
    return replace(tensor, value=value, stacked=(), stack_axis=0)


@converts_function("Unstack")
def unstack(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``unstack`` of the features: one number a timestep each."""
    tensor = build.value(layer, args.only(layer), *VECTORS)
    layer.config.skip("num")
    if not tensor.is_last_axis(layer.config.get("axis", 0)) or tensor.size > _MOST_PARTS:
        raise layer.unsupported("an axis that is not that of the features", "use axis=-1")
    kind = Kind.NUMBERS if tensor.kind is Kind.SEQUENCE else Kind.NUMBER
    return tuple(replace(build.part(layer, tensor, at, at + 1), kind=kind) for at in range(tensor.size))


_MOST_PARTS = 4096
