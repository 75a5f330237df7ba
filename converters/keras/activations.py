"""Keras's activation functions: by name, as a function or as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from grurt.converters.activations import (
    HARD_SIGMOID,
    HARD_SWISH,
    HARD_TANH,
    LOG_SIGMOID,
    MISH,
    RELU6,
    Composite,
    celu,
    relu,
    selu,
    swish,
)
from grurt.converters.keras.config import Config, Version
from grurt.converters.keras.values import Layer
from grurt.network.functions import (
    Affine,
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

_ELEMENTWISE = get_args(ElementwiseFunction)

_BY_NAME: Mapping[str, Composite] = {
    "linear": Composite(),
    "relu": Composite((Relu(),)),
    "relu6": Composite((RELU6,)),
    "leaky_relu": Composite((LeakyRelu(0.2),)),
    "elu": Composite((Elu(1.0),)),
    "celu": celu(),
    "selu": selu(),
    "gelu": Composite((Gelu(),)),
    "sigmoid": Composite((Sigmoid(),)),
    "tanh": Composite((Tanh(),)),
    "hard_tanh": Composite((HARD_TANH,)),
    "softsign": Composite((Softsign(),)),
    "softplus": Composite((Softplus(),)),
    "softmax": Composite((Softmax(),)),
    "log_softmax": Composite((LogSoftmax(),)),
    "log_sigmoid": LOG_SIGMOID,
    "silu": swish(),
    "swish": swish(),
    "hard_silu": HARD_SWISH,
    "hard_swish": HARD_SWISH,
    "mish": MISH,
}


def hard_sigmoid(version: Version) -> HardSigmoid:
    """Return ``hard_sigmoid``, whose slope is 1/6 since Keras 3, and was 0.2 before."""
    return HARD_SIGMOID if version.major >= 3 else HardSigmoid(slope=0.2, offset=0.5)


def composite(layer: Layer, key: str, value: Any) -> Composite:
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
        return Composite()
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
        return Composite((hard_sigmoid(layer.version),))
    if not isinstance(value, str) or value not in _BY_NAME:
        raise layer.unsupported(
            f"{key}={str(value)[:100]!r}", f"supported are hard_sigmoid, {', '.join(sorted(_BY_NAME))}"
        )
    return _BY_NAME[value]


def gate(layer: Layer, key: str, value: Any) -> ElementwiseFunction:
    """Return the one function of a single number that a GRU gate computes."""
    found = composite(layer, key, value)
    if not found.functions:
        return Affine()
    function: Any = found.functions[0]
    if len(found.functions) > 1 or found.gated or found.plus or not isinstance(function, _ELEMENTWISE):
        raise layer.unsupported(f"{key}={str(value)[:100]!r} in a GRU", "a gate needs one function of a single number")
    gate_function: ElementwiseFunction = function
    return gate_function


def relu_layer(config: Config) -> Composite:
    """``ReLU`` with any of ``max_value``, ``negative_slope`` and ``threshold``."""
    maximum = config.number("max_value") if config.get("max_value") is not None else None
    if maximum is not None and maximum < 0:
        raise config.invalid("max_value", "positive", maximum)
    slope, threshold = (
        config.number(key) if config.get(key) is not None else 0.0 for key in ("negative_slope", "threshold")
    )
    return relu(slope, maximum, threshold)


def leaky_relu_layer(config: Config) -> Composite:
    """``LeakyReLU``: the slope is ``negative_slope`` in Keras 3, and was ``alpha``."""
    return Composite((LeakyRelu(config.number("alpha" if "alpha" in config else "negative_slope", 0.3)),))


def elu_layer(config: Config) -> Composite:
    """``ELU``."""
    return Composite((Elu(config.number("alpha", 1.0)),))


def thresholded_relu_layer(config: Config) -> Composite:
    """``ThresholdedReLU`` of Keras 1 and 2."""
    return Composite((ThresholdedRelu(config.number("theta", 1.0)),))


def softmax_layer(config: Config) -> Composite:
    """``Softmax`` over the features."""
    config.skip("axis")  # which its layer looks at
    return Composite((Softmax(),))


LAYERS = {
    "ReLU": relu_layer,
    "LeakyReLU": leaky_relu_layer,
    "ELU": elu_layer,
    "ThresholdedReLU": thresholded_relu_layer,
    "Softmax": softmax_layer,
}
"""Layers that are activations without weights."""
