"""Activation functions, as operators of their own and as names in a GRU's ``activations``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from grurt.network import functions
from grurt.network.functions import AnyFunction, ElementwiseFunction
from grurt.network.layers import Activation, PRelu

from .axes import Role
from .builder import Builder
from .dense import per_feature
from .graph import Node
from .movement import tensor_input
from .parameters import axis_index, constant, number, optional
from .values import Arguments, Row, Tensor, Value

Handler = Callable[[Node, Arguments, Builder], tuple[Value, ...]]


@dataclass(frozen=True)
class _Rule:
    """How an ONNX activation becomes a grurt function, from its alpha and beta; None where it has none."""

    make: Callable[[float, float], ElementwiseFunction]
    alpha: float | None = None
    beta: float | None = None


_RULES = {
    "Relu": _Rule(lambda alpha, beta: functions.Relu()),
    "Tanh": _Rule(lambda alpha, beta: functions.Tanh()),
    "Sigmoid": _Rule(lambda alpha, beta: functions.Sigmoid()),
    "Softsign": _Rule(lambda alpha, beta: functions.Softsign()),
    "Softplus": _Rule(lambda alpha, beta: functions.Softplus()),
    "LeakyRelu": _Rule(lambda alpha, beta: functions.LeakyRelu(negative_slope=alpha), alpha=0.01),
    "ThresholdedRelu": _Rule(lambda alpha, beta: functions.ThresholdedRelu(threshold=alpha), alpha=1.0),
    "Elu": _Rule(lambda alpha, beta: functions.Elu(alpha=alpha), alpha=1.0),
    "HardSigmoid": _Rule(lambda alpha, beta: functions.HardSigmoid(slope=alpha, offset=beta), alpha=0.2, beta=0.5),
    "ScaledTanh": _Rule(lambda alpha, beta: functions.ScaledTanh(alpha=alpha, beta=beta), alpha=1.0, beta=1.0),
    "Affine": _Rule(lambda alpha, beta: functions.Affine(scale=alpha, offset=beta), alpha=1.0, beta=0.0),
}
"""ONNX activations with their default alpha and beta: those of the operators, and onnxruntime's for the others."""

OPERATORS = tuple(op for op in _RULES if op not in ("ScaledTanh", "Affine"))
"""Activations that are also operators of their own."""


def gru_activations(node: Node, directions: int) -> Iterator[tuple[ElementwiseFunction, ElementwiseFunction]]:
    """Yield the gate and the candidate activation of each direction of a GRU node.

    ``activation_alpha`` and ``activation_beta`` are consumed in order, and only by functions that take them.
    """
    names = node.texts("activations") or ("Sigmoid", "Tanh") * directions
    alphas, betas = iter(node.numbers("activation_alpha")), iter(node.numbers("activation_beta"))
    if len(names) != 2 * directions:
        raise node.invalid(f"expected 2 activations for each of {directions} directions, got {len(names)}")
    by_lower_name = {name.lower(): rule for name, rule in _RULES.items()}
    found = []
    for name in names:
        rule = by_lower_name.get(name.lower())
        if rule is None:
            raise node.unsupported(f"the activation {name[:50]!r}", f"supported are {', '.join(_RULES)}")
        alpha = 0.0 if rule.alpha is None else next(alphas, rule.alpha)
        beta = 0.0 if rule.beta is None else next(betas, rule.beta)
        found.append(rule.make(alpha, beta))
    yield from zip(found[::2], found[1::2], strict=True)


def simple(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply an operator of the table above."""
    rule = _RULES[node.op]
    alpha = 0.0 if rule.alpha is None else node.number("alpha", rule.alpha)
    beta = 0.0 if rule.beta is None else node.number("beta", rule.beta)
    return (_map(node, tensor_input(node, args), rule.make(alpha, beta), build),)


def gelu(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Gelu, exact or approximated by tanh."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise node.invalid(f"unknown approximation {approximate[:50]!r}")
    function = functions.Gelu(approximate="tanh" if approximate == "tanh" else "none")
    return (_map(node, tensor_input(node, args), function, build),)


def clip(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Clip: bounds as attributes (before opset 11) or inputs; an open bound is the largest float32."""
    largest = float(np.finfo(np.float32).max)
    bounds = []
    for index, (name, default) in enumerate((("min", -largest), ("max", largest)), start=1):
        given = optional(args, index)
        bound = node.number(name, default) if given is None else number(node, given, name)
        bounds.append(min(max(bound, -largest), largest))
    return (_map(node, tensor_input(node, args), functions.Clip(minimum=bounds[0], maximum=bounds[1]), build),)


def softmax(opset: int) -> Handler:
    """Return the handler of Softmax and LogSoftmax: before opset 13 they worked on all axes from ``axis`` on."""

    def handler(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
        tensor = build.single(tensor_input(node, args), node)
        rank = len(tensor.dims)
        index = axis_index(node, node.integer("axis", -1 if opset >= 13 else 1), rank)
        dim = tensor.dims[index]
        if len(dim) != 1 or (opset < 13 and index != rank - 1):
            raise node.unsupported(f"its axis {index} of {rank} is not that of the features of one timestep")
        dim[0].require(Role.FEATURE, node)
        function: AnyFunction = functions.Softmax() if node.op == "Softmax" else functions.LogSoftmax()
        return (tensor.with_row(Row(_activation(node, tensor.rows[0], function, build))),)

    return handler


def prelu(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """PRelu with one slope, which is a leaky ReLU, or one for each feature."""
    tensor = build.single(tensor_input(node, args), node)
    slope = per_feature(node, tensor, constant(node, optional(args, 1), "slope"))
    if slope.ndim == 0:
        return (_map(node, tensor, functions.LeakyRelu(negative_slope=float(slope)), build),)
    layer = PRelu(name=build.name(node, "prelu"), inputs=(tensor.rows[0].value,), size=slope.size)
    return (tensor.with_row(Row(build.add(layer, {"weight": slope}))),)


def _map(node: Node, tensor: Tensor, function: ElementwiseFunction, build: Builder) -> Tensor:
    if tensor.integer:
        raise node.unsupported("it computes with integers", "token inputs must go to an embedding")
    return replace(tensor, rows=tuple(Row(_activation(node, row, function, build)) for row in tensor.rows))


def _activation(node: Node, row: Row, function: AnyFunction, build: Builder) -> str:
    layer = Activation(name=build.name(node, function.name), inputs=(build.take(row, node),), function=function)
    return build.add(layer)
