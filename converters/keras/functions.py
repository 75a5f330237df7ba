"""Functions of ``keras.ops`` that do the same at each timestep, as functional models of Keras 3 call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from grurt.converters.activations import (
    HARD_SIGMOID,
    HARD_SWISH,
    HARD_TANH,
    LARGEST,
    LOG_SIGMOID,
    RELU6,
    TANH_SHRINK,
    Composite,
    celu,
    hard_shrink,
    selu,
    soft_shrink,
    swish,
)
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.config import Config
from grurt.converters.keras.features import with_features
from grurt.converters.keras.handlers import converts_function
from grurt.converters.keras.values import ANY, Arguments, Layer, Tensor
from grurt.network import functions, layers
from grurt.network.functions import Clip

_ELEMENTWISE: Mapping[str, Callable[[Config], Composite]] = {
    "Celu": lambda config: celu(_not_zero(config, "alpha")),
    "Clip": lambda config: Composite((Clip(_bound(config, "x_min", -LARGEST), _bound(config, "x_max", LARGEST)),)),
    "Elu": lambda config: Composite((functions.Elu(config.number("alpha", 1.0)),)),
    "Gelu": lambda config: Composite((functions.Gelu("tanh" if config.boolean("approximate", True) else "none"),)),
    "HardSigmoid": lambda config: Composite((HARD_SIGMOID,)),
    "HardSilu": lambda config: HARD_SWISH,
    "HardTanh": lambda config: Composite((HARD_TANH,)),
    "LeakyRelu": lambda config: Composite((functions.LeakyRelu(config.number("negative_slope", 0.2)),)),
    "HardShrink": lambda config: hard_shrink(_not_negative(config, "threshold")),
    "LogSigmoid": lambda config: LOG_SIGMOID,
    "Relu": lambda config: Composite((functions.Relu(),)),
    "Relu6": lambda config: Composite((RELU6,)),
    "Selu": lambda config: selu(),
    "Sigmoid": lambda config: Composite((functions.Sigmoid(),)),
    "Silu": lambda config: swish(),
    "SoftShrink": lambda config: soft_shrink(_not_negative(config, "threshold")),
    "Softplus": lambda config: Composite((functions.Softplus(),)),
    "Softsign": lambda config: Composite((functions.Softsign(),)),
    "SparseSigmoid": lambda config: Composite((functions.HardSigmoid(slope=0.5, offset=0.5),)),
    "Tanh": lambda config: Composite((functions.Tanh(),)),
    "TanhShrink": lambda config: TANH_SHRINK,
    **dict.fromkeys(("Conj", "Conjugate", "Copy", "Real", "StopGradient"), lambda config: Composite()),
}
"""Functions of each number by itself."""


@converts_function(*_ELEMENTWISE)
def _elementwise(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    tensor = build.value(layer, args.only(layer), *ANY)
    return (tensor.with_value(build.activate(tensor.value, _ELEMENTWISE[layer.kind](layer.config))),)


@converts_function("Softmax", "LogSoftmax")
def _softmax(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    tensor = with_features(layer, args, build)
    function = functions.Softmax() if layer.kind == "Softmax" else functions.LogSoftmax()
    return (tensor.with_value(build.function(tensor.value, function)),)


@converts_function("Glu")
def glu(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``glu``: the first half of the features times the sigmoid of the second."""
    tensor = with_features(layer, args, build)
    half, odd = divmod(tensor.size, 2)
    if odd:
        raise layer.invalid(f"expected an even number of features, got {tensor.size}")
    first, second = build.part(layer, tensor, 0, half), build.part(layer, tensor, half, 2 * half)
    gate = build.function(second.value, functions.Sigmoid())
    made = layers.Mul(name=build.unique(layer.name), inputs=(first.value, gate))
    return (first.with_value(build.add(made)),)


@converts_function("NanToNum")
def without_nan(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``nan_to_num``: numbers in place of NaN and infinities."""
    config, tensor = layer.config, build.value(layer, args.only(layer), *ANY)
    config.require("posinf", (None,), "use the default")
    config.require("neginf", (None,), "use the default")
    nan = config.number("nan", 0.0)
    is_number = build.add(
        layers.Binary(name=build.unique(f"{layer.name}.known"), inputs=(tensor.value,) * 2, operation="equal")
    )
    finite = build.function(tensor.value, Clip(-LARGEST, LARGEST))
    constant = build.function(is_number, Clip(nan, nan))
    made = layers.Where(name=build.unique(layer.name), inputs=(is_number, finite, constant))
    return (tensor.with_value(build.add(made)),)


def _bound(config: Config, key: str, default: float) -> float:
    return default if config.get(key) is None else float(np.clip(config.number(key), -LARGEST, LARGEST))


def _not_zero(config: Config, key: str) -> float:
    found = config.number(key, 1.0)
    if found == 0:
        raise config.invalid(key, "a number other than 0", found)
    return found


def _not_negative(config: Config, key: str) -> float:
    found = config.number(key, 0.5)
    if found < 0:
        raise config.invalid(key, "a number that is not negative", found)
    return found
