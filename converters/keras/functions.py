"""Functions of ``keras.ops`` that do the same at each timestep, as functional models of Keras 3 call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from grurt.converters.activations import (
    HARD_SIGMOID,
    HARD_SWISH,
    HARD_TANH,
    LARGEST,
    LOG_SIGMOID,
    RELU6,
    Composite,
    celu,
    selu,
    swish,
)
from grurt.converters.keras.builder import Builder, Convert
from grurt.converters.keras.config import Config
from grurt.converters.keras.merging import join
from grurt.converters.keras.reshaping import with_feature_axis, without_feature_axis
from grurt.converters.keras.values import ANY, VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network import functions, layers
from grurt.network.functions import Clip

FUNCTIONS: dict[str, Convert] = {}
"""By the class of the operation."""

_ELEMENTWISE: Mapping[str, Callable[[Config], Composite]] = {
    "Celu": lambda config: celu(_not_zero(config, "alpha")),
    "Clip": lambda config: Composite((Clip(_bound(config, "x_min", -LARGEST), _bound(config, "x_max", LARGEST)),)),
    "Elu": lambda config: Composite((functions.Elu(config.number("alpha", 1.0)),)),
    "Gelu": lambda config: Composite((functions.Gelu("tanh" if config.boolean("approximate", True) else "none"),)),
    "HardSigmoid": lambda config: Composite((HARD_SIGMOID,)),
    "HardSilu": lambda config: HARD_SWISH,
    "HardTanh": lambda config: Composite((HARD_TANH,)),
    "LeakyRelu": lambda config: Composite((functions.LeakyRelu(config.number("negative_slope", 0.2)),)),
    "LogSigmoid": lambda config: LOG_SIGMOID,
    "Relu": lambda config: Composite((functions.Relu(),)),
    "Relu6": lambda config: Composite((RELU6,)),
    "Selu": lambda config: selu(),
    "Sigmoid": lambda config: Composite((functions.Sigmoid(),)),
    "Silu": lambda config: swish(),
    "Softplus": lambda config: Composite((functions.Softplus(),)),
    "Softsign": lambda config: Composite((functions.Softsign(),)),
    "StopGradient": lambda config: Composite(),
    "Tanh": lambda config: Composite((functions.Tanh(),)),
}
"""Functions of each number by itself."""

_MOST_PARTS = 4096
_MOST_FACTORS = 8
"""The highest power that is computed as a product."""


def _converts(*kinds: str) -> Callable[[Convert], Convert]:
    """Register what converts operations of these classes."""

    def register(handler: Convert) -> Convert:
        FUNCTIONS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


@_converts(*_ELEMENTWISE)
def _elementwise(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    tensor = build.value(layer, args.only(layer), *ANY)
    return (tensor.with_value(build.activate(tensor.value, _ELEMENTWISE[layer.kind](layer.config))),)


@_converts("Softmax", "LogSoftmax")
def _softmax(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    tensor = _with_features(layer, args, build)
    function = functions.Softmax() if layer.kind == "Softmax" else functions.LogSoftmax()
    return (tensor.with_value(build.function(tensor.value, function)),)


@_converts("Sum", "Mean")
def _total(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return the sum or mean of the features of each timestep."""
    tensor = _with_features(layer, args, build)
    weight = build.filled(layer, (1, tensor.size), 1 if layer.kind == "Sum" else 1 / tensor.size)
    name = build.unique(layer.name)
    made = layers.Linear(name=name, inputs=(tensor.value,), input_size=tensor.size, output_size=1, bias=False)
    total = tensor.with_value(build.add(made, {"weight": weight}), 1)
    return (total if layer.config.boolean("keepdims") else without_feature_axis(layer, total, build),)


@_converts("Concatenate")
def _concatenate(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    tensors = [build.value(layer, tensor, *VECTORS) for tensor in args.tensors(layer)]
    _require_features(layer, tensors[0])
    return (join(layer, "Concatenate", tensors, build),)


@_converts("Split")
def _split(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return parts of the features: as many of one size, or between the places that are given."""
    tensor = _with_features(layer, args, build)
    found = layer.config.get("indices_or_sections")
    if type(found) is int and 0 < found <= min(tensor.size, _MOST_PARTS) and tensor.size % found == 0:
        places = list(range(0, tensor.size + 1, tensor.size // found))
    elif isinstance(found, list) and all(type(place) is int for place in found):
        places = [0, *found, tensor.size]
    else:
        places = [0, 0]
    if any(start >= stop for start, stop in pairwise(places)):
        raise layer.config.invalid("indices_or_sections", f"parts of {tensor.size} features", found)
    return tuple(build.part(layer, tensor, start, stop) for start, stop in pairwise(places))


@_converts("Maximum", "Minimum")
def _limit(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return the larger or smaller one of each number and one that is given."""
    tensors = [item for item in args.positional if isinstance(item, Tensor)]
    numbers = [item for item in args.positional if isinstance(item, int | float) and not isinstance(item, bool)]
    if len(tensors) != 1 or len(numbers) != 1:
        raise layer.unsupported("something else than a tensor and a number", "grurt can limit a tensor by a number")
    tensor = build.value(layer, tensors[0], *ANY)
    bound = float(np.clip(numbers[0], -LARGEST, LARGEST))
    function = Clip(bound, LARGEST) if layer.kind == "Maximum" else Clip(-LARGEST, bound)
    return (tensor.with_value(build.function(tensor.value, function)),)


@_converts("Square", "Power")
def _power(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return each number multiplied with itself."""
    base, exponent = (*args.positional, 2)[:2] if args.positional else (None, None)
    if not isinstance(base, Tensor) or exponent not in range(2, _MOST_FACTORS + 1) or exponent is True:
        raise layer.unsupported(
            "a power that is no product", f"supported are whole exponents from 2 to {_MOST_FACTORS}"
        )
    tensor = build.value(layer, base, *ANY)
    made = layers.Mul(name=build.unique(layer.name), inputs=(tensor.value,) * int(exponent))
    return (tensor.with_value(build.add(made)),)


@_converts("ExpandDims")
def _expand_dims(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return numbers as vectors of one feature."""
    tensor = args.only(layer)
    found = with_feature_axis(tensor, build) if layer.config.get("axis") in (-1, tensor.rank) else None
    if found is None:
        raise layer.unsupported("a new axis elsewhere than behind (batch, time)", "use axis=-1")
    return (found,)


@_converts("Squeeze")
def _squeeze(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return vectors of one feature as numbers."""
    tensor = _with_features(layer, args, build)
    return (without_feature_axis(layer, tensor, build),)


@_converts("Cast")
def _cast(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    tensor = build.value(layer, args.only(layer), *ANY)
    layer.config.require("dtype", ("float32", "float64"), "grurt computes in float32")
    return (tensor,)


def _with_features(layer: Layer, args: Arguments, build: Builder) -> Tensor:
    """Return the tensor of a function that works on its features."""
    tensor = build.value(layer, args.only(layer), *VECTORS)
    _require_features(layer, tensor)
    return tensor


def _require_features(layer: Layer, tensor: Tensor) -> None:
    axis = layer.config.get("axis", -1)
    if not tensor.is_last_axis(axis[0] if isinstance(axis, list) and len(axis) == 1 else axis):
        joins = tensor.kind is Kind.SEQUENCE and axis in (1, -2, [1], [-2])
        raise layer.unsupported(
            f"axis={str(axis)[:100]}{', which is that of the time' if joins else ''}",
            "a function can work on the features of a timestep: use axis=-1",
            DesignReason.WHOLE_SEQUENCE if joins else None,
        )


def _bound(config: Config, key: str, default: float) -> float:
    return default if config.get(key) is None else float(np.clip(config.number(key), -LARGEST, LARGEST))


def _not_zero(config: Config, key: str) -> float:
    found = config.number(key, 1.0)
    if found == 0:
        raise config.invalid(key, "a number other than 0", found)
    return found
