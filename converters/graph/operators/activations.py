"""Activation functions, as operators of their own and as names in a GRU's ``activations``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.alignment import merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import is_given
from grurt.converters.graph.nodes import ALL_AXES, Node
from grurt.converters.graph.operators.refusals import OTHER_AXES, against
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.operators.time_pooling import is_time, softmax_over_time
from grurt.converters.graph.rewriting.matching import AnyOf, Template, Var, op
from grurt.converters.graph.rewriting.recompose import spelled_out
from grurt.converters.graph.tracing import elementwise
from grurt.converters.graph.tracing.axes import Role
from grurt.converters.graph.tracing.elementwise import ACTIVATION_OPERATORS, ACTIVATIONS, activation
from grurt.converters.graph.tracing.features import per_feature
from grurt.converters.graph.tracing.parameters import axis_index, constant, number, optional, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network import functions
from grurt.network.functions import AnyFunction, ElementwiseFunction
from grurt.network.layers import PRelu


def gru_activations(node: Node, directions: int) -> Iterator[tuple[ElementwiseFunction, ElementwiseFunction]]:
    """Return the gate and the candidate activation of each direction of a GRU node."""
    return ((gate, candidate) for gate, candidate in recurrent_activations(node, directions, ("Sigmoid", "Tanh")))


def recurrent_activations(
    node: Node, directions: int, usual: tuple[str, ...]
) -> Iterator[tuple[ElementwiseFunction, ...]]:
    """Yield the activations of each direction of a recurrent node, as many as it usually has.

    ``activation_alpha`` and ``activation_beta`` are consumed in order, and only by functions that take them.
    """
    names = node.texts("activations") or usual * directions
    alphas, betas = iter(node.numbers("activation_alpha")), iter(node.numbers("activation_beta"))
    if len(names) != len(usual) * directions:
        raise node.invalid(f"expected {len(usual)} activations for each of {directions} directions, got {len(names)}")
    by_lower_name = {name.lower(): rule for name, rule in ACTIVATIONS.items()}
    found = []
    for name in names:
        rule = by_lower_name.get(name.lower())
        if rule is None:
            raise node.unsupported(f"the activation {name[:50]!r}", f"supported are {', '.join(ACTIVATIONS)}")
        alpha = 0.0 if rule.alpha is None else next(alphas, rule.alpha)
        beta = 0.0 if rule.beta is None else next(betas, rule.beta)
        found.append(rule.make(alpha, beta))
    yield from (tuple(found[start : start + len(usual)]) for start in range(0, len(found), len(usual)))


@operator(*ACTIVATION_OPERATORS)
def simple(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply an operator of `ACTIVATIONS`."""
    return (_mapped(node, tensor_input(node, args), activation(node), build),)


_X = Var("x")
_ERF = op("Erf", AnyOf((op("Div", _X, math.sqrt(2)), op("Mul", _X, math.sqrt(0.5)))))
_CUBE = AnyOf((op("Pow", _X, 3.0), op("Mul", op("Mul", _X, _X), _X)))
_TANH = op("Tanh", op("Mul", op("Add", _X, op("Mul", _CUBE, 0.044715)), math.sqrt(2 / math.pi)))


def _halved_product(factor: Template) -> AnyOf:
    """Return templates of ``x * 0.5 * factor``, multiplied in any order."""
    return AnyOf(
        (
            op("Mul", op("Mul", _X, 0.5), factor),
            op("Mul", op("Mul", _X, factor), 0.5),
            op("Mul", _X, op("Mul", factor, 0.5)),
        )
    )


spelled_out("Gelu", _halved_product(op("Add", _ERF, 1.0)), approximate="none")
spelled_out("Gelu", _halved_product(op("Add", _TANH, 1.0)), approximate="tanh")
spelled_out("Softsign", op("Div", _X, op("Add", op("Abs", _X), 1.0)))
# PyTorch's softplus is linear above 20, where the difference is below 2.1e-9.
spelled_out("Softplus", op("Where", op("Greater", _X, 20.0), _X, op("Softplus", _X)))


@operator("Gelu")
def gelu(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Gelu, exact or approximated by tanh."""
    return (_mapped(node, tensor_input(node, args), elementwise.gelu(node), build),)


@operator("Clip")
def clip(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Clip: bounds as attributes (before opset 11) or inputs; an open bound is the largest float32."""
    largest = float(np.finfo(np.float32).max)
    bounds = []
    for index, (name, default) in enumerate((("min", -largest), ("max", largest)), start=1):
        given = optional(args, index)
        bound = node.number(name, default) if given is None else number(node, given, name)
        bounds.append(min(max(bound, -largest), largest))
    tensor = tensor_input(node, args)
    if is_given(tensor, build) and tensor.shift == -1 and bounds == [0, largest]:
        return (replace(tensor, clamped=True),)
    return (_mapped(node, tensor, functions.Clip(minimum=bounds[0], maximum=bounds[1]), build),)


@operator("Softmax", "LogSoftmax")
def softmax(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Softmax and LogSoftmax over the features; with `ALL_AXES`, over all axes from ``axis`` on."""
    tensor = merged_features(node, tensor_input(node, args), build)
    rank = len(tensor.dims)
    index = axis_index(node, node.integer("axis", -1), rank)
    dim = tensor.dims[index]
    if not dim and (index == rank - 1 or not node.integer(ALL_AXES, 0)):  # of a single number, it is 1
        number = 1.0 if node.op == "Softmax" else 0.0
        return (_mapped(node, tensor, functions.Clip(minimum=number, maximum=number), build),)
    if dim and dim == tensor.stacks:
        build.single(tensor, node)
    if len(dim) != 1 or (node.integer(ALL_AXES, 0) and index != rank - 1):
        raise node.unsupported(f"its axis {index} of {rank} is not that of the features of one timestep")
    if node.op == "Softmax" and is_time(tensor, index):
        return (softmax_over_time(node, tensor, index, build),)
    if dim[0].role in (Role.TIME, Role.BATCH):
        raise node.unsupported(*OTHER_AXES[:2], against(dim))
    dim[0].require(Role.FEATURE, node)
    function: AnyFunction = functions.Softmax() if node.op == "Softmax" else functions.LogSoftmax()
    return (build.map(node, tensor, lambda value: build.function(value, function, build.name(node, function.name))),)


@operator("PRelu", reads_repeats=True)
def prelu(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """PRelu with one slope, which is a leaky ReLU, or one for each feature."""
    tensor = build.single(tensor_input(node, args), node)
    slope = per_feature(node, tensor, constant(node, optional(args, 1), "slope"), build.folder.budget)
    if slope.ndim == 0:
        return (_mapped(node, tensor, functions.LeakyRelu(negative_slope=float(slope)), build),)
    layer = PRelu(name=build.name(node, "prelu"), inputs=(tensor.rows[0].value,), size=slope.size)
    return (tensor.with_row(Row(build.add(layer, {"weight": slope}))),)


def _mapped(node: Node, tensor: Tensor, function: ElementwiseFunction, build: Builder) -> Tensor:
    return build.map(node, tensor, lambda value: build.function(value, function, build.name(node, function.name)))
