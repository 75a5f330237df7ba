"""Keras's activation functions: by name, as a function or as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from grurt.network.functions import (
    Affine,
    AnyFunction,
    Clip,
    ElementwiseFunction,
    Elu,
    Gelu,
    HardSigmoid,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
)

from .config import Config, Version
from .values import Layer

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805

_ELEMENTWISE = get_args(ElementwiseFunction)


@dataclass(frozen=True)
class Recipe:
    """Functions applied one after the other; with ``gated``, the result is multiplied with what they started from."""

    functions: tuple[AnyFunction, ...] = ()
    gated: bool = False


_BY_NAME: Mapping[str, Recipe] = {
    "linear": Recipe(),
    "relu": Recipe((Relu(),)),
    "relu6": Recipe((Clip(0.0, 6.0),)),
    "leaky_relu": Recipe((LeakyRelu(0.2),)),
    "elu": Recipe((Elu(1.0),)),
    "celu": Recipe((Elu(1.0),)),
    "selu": Recipe((Elu(_SELU_ALPHA), Affine(_SELU_SCALE, 0.0))),
    "gelu": Recipe((Gelu(),)),
    "sigmoid": Recipe((Sigmoid(),)),
    "tanh": Recipe((Tanh(),)),
    "hard_tanh": Recipe((Clip(-1.0, 1.0),)),
    "softsign": Recipe((Softsign(),)),
    "softplus": Recipe((Softplus(),)),
    "softmax": Recipe((Softmax(),)),
    "log_softmax": Recipe((LogSoftmax(),)),
    "log_sigmoid": Recipe((Affine(-1.0, 0.0), Softplus(), Affine(-1.0, 0.0))),
    "silu": Recipe((Sigmoid(),), gated=True),
    "swish": Recipe((Sigmoid(),), gated=True),
    "hard_silu": Recipe((HardSigmoid(1 / 6, 0.5),), gated=True),
    "hard_swish": Recipe((HardSigmoid(1 / 6, 0.5),), gated=True),
    "mish": Recipe((Softplus(), Tanh()), gated=True),
}


def hard_sigmoid(version: Version) -> HardSigmoid:
    """Return ``hard_sigmoid``, whose slope is 1/6 since Keras 3, and was 0.2 before."""
    return HardSigmoid(1 / 6 if version.major >= 3 else 0.2, 0.5)


def recipe(layer: Layer, key: str, value: Any) -> Recipe:
    """Return the functions that an ``activation`` argument stands for.

    Parameters
    ----------
    layer
        The layer that has it.
    key
        The name of the argument, for errors.
    value
        A name; null, which means ``"linear"``; or a function or layer described by ``class_name`` and ``config``.
    """
    if value is None:
        return Recipe()
    if isinstance(value, Mapping):
        kind, inner = value.get("class_name"), value.get("config")
        if kind != "function":
            config = Config(f"{layer.where}: {key} ({str(kind)[:100]})", inner)
            if not isinstance(kind, str) or kind not in LAYERS:
                raise config.unsupported("a layer that is no activation", "use one of Keras's activation functions")
            found = LAYERS[kind](config)
            config.policy()
            config.check_all_read()
            return found
        value = inner
    if value == "hard_sigmoid":
        return Recipe((hard_sigmoid(layer.version),))
    if not isinstance(value, str) or value not in _BY_NAME:
        raise layer.unsupported(
            f"{key}={str(value)[:100]!r}", f"supported are hard_sigmoid, {', '.join(sorted(_BY_NAME))}"
        )
    return _BY_NAME[value]


def gate(layer: Layer, key: str, value: Any) -> ElementwiseFunction:
    """Return the one function of a single number that a GRU gate computes."""
    found = recipe(layer, key, value)
    if not found.functions:
        return Affine()
    function: Any = found.functions[0]
    if len(found.functions) > 1 or found.gated or not isinstance(function, _ELEMENTWISE):
        raise layer.unsupported(f"{key}={str(value)[:100]!r} in a GRU", "a gate needs one function of a single number")
    gate_function: ElementwiseFunction = function
    return gate_function


def relu_layer(config: Config) -> Recipe:
    """``ReLU``: of ``max_value``, ``negative_slope`` and ``threshold``, one or none is set."""
    maximum = config.get("max_value")
    slope, threshold = config.get("negative_slope") or 0.0, config.get("threshold") or 0.0
    if [maximum is not None, bool(slope), bool(threshold)].count(True) > 1:
        raise config.unsupported(
            f"max_value={maximum}, negative_slope={slope}, threshold={threshold} together",
            "only one of them can be set",
        )
    if maximum is not None:
        if config.number("max_value") < 0:
            raise config.invalid("max_value", "positive", maximum)
        return Recipe((Clip(0.0, config.number("max_value")),))
    if slope:
        return Recipe((LeakyRelu(config.number("negative_slope")),))
    return Recipe((ThresholdedRelu(config.number("threshold")),)) if threshold else Recipe((Relu(),))


def leaky_relu_layer(config: Config) -> Recipe:
    """``LeakyReLU``: the slope is ``negative_slope`` in Keras 3, and was ``alpha``."""
    return Recipe((LeakyRelu(config.number("alpha" if "alpha" in config else "negative_slope", 0.3)),))


def elu_layer(config: Config) -> Recipe:
    """``ELU``."""
    return Recipe((Elu(config.number("alpha", 1.0)),))


def thresholded_relu_layer(config: Config) -> Recipe:
    """``ThresholdedReLU`` of Keras 1 and 2."""
    return Recipe((ThresholdedRelu(config.number("theta", 1.0)),))


def softmax_layer(config: Config) -> Recipe:
    """``Softmax`` over the features."""
    config.require("axis", (-1,), "only the features of a timestep can be normalized")
    return Recipe((Softmax(),))


LAYERS = {
    "ReLU": relu_layer,
    "LeakyReLU": leaky_relu_layer,
    "ELU": elu_layer,
    "ThresholdedReLU": thresholded_relu_layer,
    "Softmax": softmax_layer,
}
"""Layers that are activations without weights."""
