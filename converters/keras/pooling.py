"""What a sequence comes to: global pooling, and functions of ``keras.ops`` that reduce the axis of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grurt.converters.keras.builder import Builder, masked_as_called
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.network.functions import Affine
from grurt.network.layers import TimePooling

_OVER_TIME = {"Sum": "sum", "Mean": "mean", "Max": "max", "Amax": "max", "Min": "max", "Amin": "max"}
_SMALLEST = ("Min", "Amin")
_NEGATED = Affine(scale=-1.0, offset=0.0)


@converts("GlobalAveragePooling1D", "GlobalAvgPool1D")
def global_average_pooling1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``GlobalAveragePooling1D``: the mean of the timesteps that the mask does not skip."""
    tensor = masked_as_called(layer, args, _read(layer, args, build))
    if tensor.kind is Kind.REPEATED:
        return (replace(tensor, kind=Kind.SINGLE, repeats=0),)
    return (pooled(layer, tensor, "mean", build, tensor.mask),)


@converts("GlobalMaxPooling1D", "GlobalMaxPool1D")
def global_max_pooling1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``GlobalMaxPooling1D``: of all timesteps, since Keras gives it no mask."""
    tensor = _read(layer, args, build)
    if tensor.kind is Kind.REPEATED:
        return (replace(tensor, kind=Kind.SINGLE, repeats=0),)
    return (pooled(layer, tensor, "max", build),)


def _read(layer: Layer, args: Arguments, build: Builder) -> Tensor:
    args.check_named(layer)
    channels_first = layer.config.get("data_format") == "channels_first"
    if not channels_first:
        layer.config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    kinds = (Kind.TURNED,) if channels_first else (Kind.SEQUENCE, Kind.REPEATED)
    tensor = build.value(layer, args.only(layer), *kinds)
    layer.config.require("keepdims", (False, None), "leave the axis of time out: keepdims=False")
    layer.config.policy()
    layer.config.check_all_read()
    return tensor


def pooled(layer: Layer, tensor: Tensor, operation: Any, build: Builder, mask: str | None = None) -> Tensor:
    """Return the vector that a sequence comes to; the mask ends here."""
    inputs = (tensor.value,) if mask is None else (tensor.value, mask)
    made = TimePooling(
        name=build.unique(layer.name),
        inputs=inputs,
        size=tensor.size,
        operation=operation,
        masked=mask is not None,
    )
    return Tensor(build.add(made), tensor.size, Kind.SINGLE)


def over_time(layer: Layer, args: Arguments, build: Builder) -> Tensor | None:
    """Return what a function of ``keras.ops`` makes of the axis of time; None if it reduces another one."""
    given = args.positional[0] if args.positional else None
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if layer.kind not in _OVER_TIME or not isinstance(given, Tensor) or given.kind is not Kind.SEQUENCE:
        return None
    if type(axis) is not int or axis not in (1, -2) or given.stacked:
        return None
    layer.config.require("keepdims", (False, None), "leave the axis of time out: keepdims=False")
    layer.config.require("initial", (None,), "reduce the timesteps themselves")
    tensor = build.value(layer, given, Kind.SEQUENCE)
    if layer.kind not in _SMALLEST:
        return pooled(layer, tensor, _OVER_TIME[layer.kind], build)
    negated = tensor.with_value(build.function(tensor.value, _NEGATED))
    found = pooled(layer, negated, "max", build)
    return found.with_value(build.function(found.value, _NEGATED))
