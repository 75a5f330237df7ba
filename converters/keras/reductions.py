"""Functions of ``keras.ops`` that reduce the features of a timestep, or normalize them."""

from __future__ import annotations

from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.activations import LARGEST
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.dense import one_hot_tokens
from grurt.converters.keras.features import with_features
from grurt.converters.keras.handlers import converts_function
from grurt.converters.keras.mathematics import formula, given
from grurt.converters.keras.pooling import over_time
from grurt.converters.keras.reshaping import without_feature_axis
from grurt.converters.keras.stacks import reduced_stack
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.network import functions, layers
from grurt.network.functions import Clip

_REDUCTIONS: dict[str, Any] = {
    "Max": "max",
    "Amax": "max",
    "Min": "min",
    "Amin": "min",
    "Prod": "prod",
    "Logsumexp": "log_sum_exp",
    "Argmax": "argmax",
    "Argmin": "argmin",
    "Any": "max",
    "All": "min",
}
_EPSILON = 1e-7
"""What Keras adds where an epsilon is left open: ``keras.config.epsilon()``, which is not in the file."""


@converts_function("Sum", "Mean")
def total(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return the sum or mean of the features of each timestep."""
    if (stacked := reduced_stack(layer, args, build)) is not None:
        return (stacked,)
    if (pooled := over_time(layer, args, build)) is not None:
        return (pooled,)
    tensor = with_features(layer, args, build)
    return (_kept(layer, summed(layer, tensor, build, mean=layer.kind == "Mean"), build),)


def summed(layer: Layer, tensor: Tensor, build: Builder, *, mean: bool = False) -> Tensor:
    """Return the sum or mean of the features, as one feature."""
    weight = build.filled(layer, (1, tensor.size), 1 / tensor.size if mean else 1)
    name = build.unique(layer.name)
    made = layers.Linear(name=name, inputs=(tensor.value,), input_size=tensor.size, output_size=1, bias=False)
    return tensor.with_value(build.add(made, {"weight": weight}), 1)


def reduced(layer: Layer, tensor: Tensor, operation: Any, build: Builder) -> Tensor:
    """Return one feature of those of each timestep."""
    made = layers.Reduce(name=build.unique(layer.name), inputs=(tensor.value,), operation=operation)
    return tensor.with_value(build.add(made), 1)


@converts_function(*_REDUCTIONS)
def reduction(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Reduce the features of each timestep to one number."""
    if (stacked := reduced_stack(layer, args, build)) is not None:
        return (stacked,)
    if (pooled := over_time(layer, args, build)) is not None:
        return (pooled,)
    layer.config.require("initial", (None,), "reduce the features themselves")
    tensor = with_features(layer, args, build)
    return (_kept(layer, reduced(layer, tensor, _REDUCTIONS[layer.kind], build), build),)


def _kept(layer: Layer, tensor: Tensor, build: Builder) -> Tensor:
    return tensor if layer.config.boolean("keepdims") else without_feature_axis(layer, tensor, build)


@converts_function("Average")
def average(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``average`` without weights: the mean."""
    if len(args.positional) > 1:
        raise layer.unsupported("weights of its numbers", "multiply with them, and sum")
    tensor = with_features(layer, args, build)
    return (without_feature_axis(layer, summed(layer, tensor, build, mean=True), build),)


@converts_function("Var", "Std", "Moments")
def variance(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return the mean of squared differences, its root, or the mean and it."""
    tensor = with_features(layer, args, build, "axes" if layer.kind == "Moments" else "axis")
    layer.config.skip("synchronized")
    mean, rows = summed(layer, tensor, build, mean=True), formula(layer, build)
    centered = rows.binary("sub", tensor.value, build.widened(mean.value, tensor.size, 1))
    found = summed(layer, tensor.with_value(rows.multiply(centered, centered)), build, mean=True)
    if layer.kind == "Std":
        found = found.with_value(rows.of(found.value, functions.Sqrt()))
    results = (mean, found) if layer.kind == "Moments" else (found,)
    keeps = layer.config.boolean("keepdims")
    return tuple(result if keeps else without_feature_axis(layer, result, build) for result in results)


@converts_function("Norm")
def norm(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return the norm of vectors of order 1 or 2."""
    tensor, order = with_features(layer, args, build), layer.config.get("ord")
    if order not in (None, 1, 2) or order is True:
        raise layer.unsupported(f"ord={str(order)[:50]}", "supported are 1 and 2")
    return (_kept(layer, reduced(layer, tensor, "l1" if order == 1 else "l2", build), build),)


@converts_function("Normalize")
def normalize(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``normalize``: divided by the length, of order 1 or 2, which counts as an epsilon at least."""
    tensor, order = with_features(layer, args, build), layer.config.get("order", 2)
    if order not in (1, 2) or order is True:
        raise layer.unsupported(f"order={str(order)[:50]}", "supported are 1 and 2")
    given_epsilon = layer.config.get("epsilon")
    epsilon = _EPSILON if given_epsilon is None else layer.config.number("epsilon")
    rows = formula(layer, build)
    length = reduced(layer, tensor, "l2" if order == 2 else "l1", build).value
    inverse = rows.of(length, Clip(epsilon, LARGEST), functions.Reciprocal())
    return (tensor.with_value(rows.multiply(tensor.value, build.widened(inverse, tensor.size, 1))),)


@converts_function("LayerNorm", "RMSNorm")
def normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``layer_normalization`` and ``rms_normalization``, with constants as their weights."""
    tensor = with_features(layer, args, build)
    layer.config.require("rms_scaling", (False, None), "use rms_normalization")
    given_rows = zip(("weight", "bias")[: 1 if layer.kind == "RMSNorm" else 2], args.positional[1:], strict=False)
    weights = {name: _row(layer, tensor, value, build) for name, value in given_rows if value is not None}
    epsilon = layer.config.get("epsilon")
    options: dict[str, Any] = {
        "name": build.unique(layer.name),
        "inputs": (tensor.value,),
        "size": tensor.size,
        "epsilon": _EPSILON if epsilon is None else layer.config.number("epsilon"),
        "weight": "weight" in weights,
    }
    if layer.kind == "RMSNorm":
        made: Any = layers.RMSNorm(**options)
    else:
        made = layers.LayerNorm(**options, bias="bias" in weights)
    return (tensor.with_value(build.add(made, weights)),)


@converts_function("BatchNorm")
def batch_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``batch_normalization``, with constants as its statistics."""
    tensor = with_features(layer, args, build)
    names = ("mean", "variance", "bias", "weight")
    neutral = {"bias": 0.0, "weight": 1.0}
    weights = {}
    for name, value in zip(names, (*args.positional[1:], None, None, None, None), strict=False):
        weights[name] = _row(layer, tensor, neutral.get(name) if value is None else value, build)
    return (tensor.with_value(build.normalized(layer, tensor, weights, layer.config.number("epsilon", 1e-3))),)


def _row(layer: Layer, tensor: Tensor, value: Any, build: Builder) -> Array:
    array = given(layer, value)
    if array is None or array.size not in (1, tensor.size):
        raise layer.unsupported("weights that are no constants", f"use constants for each of {tensor.size} features")
    return build.filled(layer, (tensor.size,), array.reshape(-1) if array.size > 1 else array)


@converts_function("Cumsum")
def running_sum(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``cumsum`` of the features: a product with a triangle of ones."""
    tensor = with_features(layer, args, build)
    weight = np.tril(build.filled(layer, (tensor.size, tensor.size), 1.0))
    made = layers.Linear(
        name=build.unique(layer.name),
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=tensor.size,
        bias=False,
    )
    return (tensor.with_value(build.add(made, {"weight": weight})),)


@converts_function("OneHot")
def one_hot(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``one_hot`` of places that were found, one for each timestep."""
    classes = layer.config.integer("num_classes")
    layer.config.require("axis", (-1,), "use axis=-1")
    layer.config.require("sparse", (False, None), "use dense vectors")
    if args.only(layer).kind is Kind.FLAT:
        return (one_hot_tokens(layer, args.only(layer), classes, build),)
    tensor = build.value(layer, args.only(layer), Kind.NUMBERS, Kind.NUMBER)
    every = build.filled(layer, (classes,), np.arange(classes, dtype=np.float32))
    name = build.unique(f"{layer.name}.places")
    places = build.add(layers.Constant(name=name, inputs=(tensor.value,), size=classes), {"weight": every})
    value = formula(layer, build).binary("equal", build.repeated(tensor.value, classes), places)
    kind = Kind.SEQUENCE if tensor.kind is Kind.NUMBERS else Kind.SINGLE
    return (Tensor(value, classes, kind, tensor.backwards),)
