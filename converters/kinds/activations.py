"""``nn.PReLU``, and activations without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from grurt.converters.activations import HARD_SIGMOID, RELU6
from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted, is_weight
from grurt.network import functions
from grurt.network.functions import AnyFunction
from grurt.network.layers import Activation, PRelu

if TYPE_CHECKING:
    from torch import Tensor

_CLASSES: Mapping[str, Callable[[Any], AnyFunction | None]] = {
    "ReLU": lambda m: functions.Relu(),
    "LeakyReLU": lambda m: functions.LeakyRelu(m.negative_slope),
    "ELU": lambda m: functions.Elu(m.alpha),
    "GELU": lambda m: functions.Gelu(m.approximate),
    "Sigmoid": lambda m: functions.Sigmoid(),
    "Hardsigmoid": lambda m: HARD_SIGMOID,
    "Tanh": lambda m: functions.Tanh(),
    "Softsign": lambda m: functions.Softsign(),
    "Hardtanh": lambda m: functions.Clip(m.min_val, m.max_val),
    "ReLU6": lambda m: RELU6,
    "Softmax": lambda m: functions.Softmax() if m.dim == -1 else None,
    "LogSoftmax": lambda m: functions.LogSoftmax() if m.dim == -1 else None,
    "Softplus": lambda m: functions.Softplus() if m.beta == 1 and m.threshold >= 20 else None,
}
"""Functions by the classes of ``torch.nn``; None for arguments that no function has."""


def _described(module: Any) -> dict[str, Any] | None:
    function = _CLASSES[type(module).__name__](module)
    return None if function is None else {"functions": (function,)}


def evaluate_function(function: AnyFunction, x: Tensor) -> Tensor:
    """Return what torch computes for a function."""
    import torch
    from torch.nn import functional

    table: Mapping[type[AnyFunction], Callable[[Any], Tensor]] = {
        functions.Relu: lambda f: functional.relu(x),
        functions.LeakyRelu: lambda f: functional.leaky_relu(x, f.negative_slope),
        functions.ThresholdedRelu: lambda f: functional.threshold(x, f.threshold, 0.0),
        functions.Elu: lambda f: functional.elu(x, f.alpha),
        functions.Gelu: lambda f: functional.gelu(x, approximate=f.approximate),
        functions.Sigmoid: lambda f: torch.sigmoid(x),
        functions.HardSigmoid: lambda f: torch.clamp(f.slope * x + f.offset, 0, 1),
        functions.Tanh: lambda f: torch.tanh(x),
        functions.ScaledTanh: lambda f: f.alpha * torch.tanh(f.beta * x),
        functions.Softsign: lambda f: functional.softsign(x),
        functions.Softplus: lambda f: functional.softplus(x),
        functions.Affine: lambda f: f.scale * x + f.offset,
        functions.Clip: lambda f: torch.clamp(x, f.minimum, f.maximum),
        functions.Exp: lambda f: torch.exp(x),
        functions.Log: lambda f: torch.log(x),
        functions.Sqrt: lambda f: torch.sqrt(x),
        functions.Reciprocal: lambda f: torch.reciprocal(x),
        functions.Pow: lambda f: torch.pow(x, f.exponent),
        functions.Abs: lambda f: torch.abs(x),
        functions.Sign: lambda f: torch.sign(x),
        functions.Round: lambda f: torch.round(x),
        functions.Floor: lambda f: torch.floor(x),
        functions.Ceil: lambda f: torch.ceil(x),
        functions.Sin: lambda f: torch.sin(x),
        functions.Cos: lambda f: torch.cos(x),
        functions.Erf: lambda f: torch.erf(x),
        functions.Softmax: lambda f: torch.softmax(x, dim=-1),
        functions.LogSoftmax: lambda f: torch.log_softmax(x, dim=-1),
    }
    return table[type(function)](function)


def _convert_prelu(module: Module) -> Iterator[Weighted]:
    """Convert nn.PReLU; with one weight for all features, as by default, it is a leaky relu."""
    weight = module.get("weight", 1)
    if len(weight) == 1:
        function = functions.LeakyRelu(float(weight[0]))
        yield Activation(name=module.name, inputs=module.inputs, function=function), {}
    else:
        yield PRelu(name=module.name, inputs=module.inputs, size=len(weight)), {"weight": weight}


def _prelu_readings(tensors: Tensors) -> tuple[Reading, ...]:
    size = tensors["weight"].size
    return (Reading("", None, None) if size == 1 else Reading("", size, size),)


def _evaluate_prelu(layer: PRelu, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    import torch

    return torch.where(x >= 0, x, weights["weight"] * x)


def _evaluate_activation(layer: Activation, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return evaluate_function(layer.function, x)


KINDS = (
    Kind(
        "prelu",
        _convert_prelu,
        _evaluate_prelu,
        parameters=("weight",),
        fits=lambda tensors: is_weight(tensors, 1, alone=True),
        readings=_prelu_readings,
        classes=("PReLU",),
        described=lambda module: None,
    ),
    Kind(
        "activation",
        lambda module: iter(()),  # the description's functions are its layers
        _evaluate_activation,
        classes=tuple(_CLASSES),
        described=_described,
    ),
)
