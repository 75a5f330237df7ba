"""What operators that are functions of one number compute, of values and of constants alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.activations import (
    HARD_SWISH,
    LOG_SIGMOID,
    MISH,
    Composite,
    celu,
    hard_shrink,
    selu,
    soft_shrink,
    swish,
)
from grurt.converters.graph.nodes import Node
from grurt.network import functions
from grurt.network.functions import AnyFunction, ElementwiseFunction
from grurt.reference.functions import function

LOG_SIGMOID_OPERATOR = "grurt.LogSigmoid"
"""The logarithm of a sigmoid, which ONNX has no operator for."""

_PIECE = 1 << 16
"""Elements of a constant that are worked out at once."""


@dataclass(frozen=True)
class Activation:
    """How an ONNX activation becomes a grurt function, from its alpha and beta; None where it has none."""

    make: Callable[[float, float], ElementwiseFunction]
    alpha: float | None = None
    beta: float | None = None


ACTIVATIONS = {
    "Relu": Activation(lambda alpha, beta: functions.Relu()),
    "Tanh": Activation(lambda alpha, beta: functions.Tanh()),
    "Sigmoid": Activation(lambda alpha, beta: functions.Sigmoid()),
    "Softsign": Activation(lambda alpha, beta: functions.Softsign()),
    "Softplus": Activation(lambda alpha, beta: functions.Softplus()),
    "LeakyRelu": Activation(lambda alpha, beta: functions.LeakyRelu(negative_slope=alpha), alpha=0.01),
    "ThresholdedRelu": Activation(lambda alpha, beta: functions.ThresholdedRelu(threshold=alpha), alpha=1.0),
    "Elu": Activation(lambda alpha, beta: functions.Elu(alpha=alpha), alpha=1.0),
    "HardSigmoid": Activation(lambda alpha, beta: functions.HardSigmoid(slope=alpha, offset=beta), alpha=0.2, beta=0.5),
    "ScaledTanh": Activation(lambda alpha, beta: functions.ScaledTanh(alpha=alpha, beta=beta), alpha=1.0, beta=1.0),
    "Affine": Activation(lambda alpha, beta: functions.Affine(scale=alpha, offset=beta), alpha=1.0, beta=0.0),
}
"""ONNX activations with their default alpha and beta: those of the operators, and onnxruntime's for the others."""

ACTIVATION_OPERATORS = tuple(name for name in ACTIVATIONS if name not in ("ScaledTanh", "Affine"))
"""Activations that are also operators of their own."""

FUNCTIONS: Mapping[str, AnyFunction] = {
    "Exp": functions.Exp(),
    "Log": functions.Log(),
    "Sqrt": functions.Sqrt(),
    "Reciprocal": functions.Reciprocal(),
    "Abs": functions.Abs(),
    "Sign": functions.Sign(),
    "Round": functions.Round(),
    "Floor": functions.Floor(),
    "Ceil": functions.Ceil(),
    "Sin": functions.Sin(),
    "Cos": functions.Cos(),
    "Erf": functions.Erf(),
}


def _celu(node: Node) -> Composite:
    alpha = node.number("alpha", 1.0)
    if alpha == 0:
        raise node.invalid("its alpha is 0")
    return celu(alpha)


def _shrink(node: Node) -> Composite:
    threshold, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    if threshold < 0 or bias not in (0.0, threshold):
        raise node.unsupported(f"its lambd is {threshold} and its bias {bias}", "supported are hard and soft shrinkage")
    return soft_shrink(threshold) if bias else hard_shrink(threshold)


COMPOSITES: Mapping[str, Callable[[Node], Composite]] = {
    "Celu": _celu,
    "HardSwish": lambda node: HARD_SWISH,
    "Mish": lambda node: MISH,
    "Shrink": _shrink,
    "Selu": lambda node: selu(node.number("alpha", 1.6732632), node.number("gamma", 1.050701)),
    "Swish": lambda node: swish(node.number("alpha", 1.0)),
    LOG_SIGMOID_OPERATOR: lambda node: LOG_SIGMOID,
}
"""Operators with the parameters that the ONNX specification gives them by default."""


def activation(node: Node) -> ElementwiseFunction:
    """Return the function that an operator of `ACTIVATIONS` applies."""
    rule = ACTIVATIONS[node.op]
    alpha = 0.0 if rule.alpha is None else node.number("alpha", rule.alpha)
    beta = 0.0 if rule.beta is None else node.number("beta", rule.beta)
    return rule.make(alpha, beta)


def gelu(node: Node) -> functions.Gelu:
    """Return the function that a Gelu applies, exact or approximated by tanh."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise node.invalid(f"unknown approximation {approximate[:50]!r}")
    return functions.Gelu(approximate="tanh" if approximate == "tanh" else "none")


def of_constant(node: Node, array: Array) -> Array:
    """Return what an operator of these tables, or Gelu, makes of a constant: worked out in float64, piece by piece."""
    composite = _composite(node)
    flat = array.reshape(-1)
    result = np.empty_like(flat)
    for start in range(0, flat.size, _PIECE):
        piece = slice(start, start + _PIECE)
        result[piece] = _composed(composite, flat[piece].astype(np.float64))
    return result.reshape(array.shape)


def _composite(node: Node) -> Composite:
    if node.op in COMPOSITES:
        return COMPOSITES[node.op](node)
    if node.op in FUNCTIONS:
        return Composite((FUNCTIONS[node.op],))
    return Composite((gelu(node) if node.op == "Gelu" else activation(node),))


def _composed(composite: Composite, numbers: Array) -> Array:
    result = _in_turn(composite.functions, numbers)
    if composite.gated:
        result = result * numbers
    return result + _in_turn(composite.plus, numbers) if composite.plus else result


def _in_turn(applied: tuple[AnyFunction, ...], numbers: Array) -> Array:
    for each in applied:
        numbers = function(each, numbers)
    return numbers
