"""Functions of one number after the other, and arithmetic on values that are broadcast to one shape."""

from __future__ import annotations

from functools import reduce

import numpy as np

from grurt.array_types import Array
from grurt.converters.activations import Composite
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.elementwise import ACTIVATION_OPERATORS, COMPOSITES, FUNCTIONS, activation, gelu
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Traced, Value, given, is_constant, scalar
from grurt.errors import DesignReason
from grurt.network import functions, operators
from grurt.network.functions import AnyFunction

_COMBINATIONS = {"Add": "add", "Sub": "sub", "Mul": "mul", "PRelu": ""}
_OF_ANY_NUMBER = {"Sum": "add", "Min": "min", "Max": "max"}
_LARGEST = float(np.finfo(np.float32).max)


def apply(build: ProgramBuilder, value: Value, first: AnyFunction, *others: AnyFunction) -> Traced:
    """Return functions of a value, one after the other."""
    result = build.emit(operators.Apply, value, function=first)
    for function in others:
        result = build.emit(operators.Apply, result, function=function)
    return result


def combine(build: ProgramBuilder, operation: str, a: Value, b: Value) -> Traced:
    """Return an operation on two values, in the dtype of the one that is no constant."""
    dtype = b.dtype if is_constant(a) else a.dtype
    return build.emit(operators.Combine, a, b, operation=operation, dtype=dtype)


def number(of: float) -> Array:
    """Return one number as a constant."""
    return np.array(of, np.float32)


def truncated(build: ProgramBuilder, value: Value) -> Traced:
    """Return the whole numbers next to those of a value, towards zero."""
    size = apply(build, value, functions.Abs(), functions.Floor())
    return combine(build, "mul", apply(build, value, functions.Sign()), size)


@handler(*ACTIVATION_OPERATORS)
def activated(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Activations that are one function."""
    return apply(build, given(node, args), activation(node))


@handler("Gelu")
def gaussian(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Gelu, exact or approximated by tanh."""
    return apply(build, given(node, args), gelu(node))


@handler(*FUNCTIONS)
def function(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Functions of mathematics."""
    return apply(build, given(node, args), FUNCTIONS[node.op])


@handler("Neg")
def negative(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Neg."""
    return apply(build, given(node, args), functions.Affine(-1.0))


@handler("Tan")
def tangent(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Tan: the sine divided by the cosine."""
    value = given(node, args)
    return combine(build, "div", apply(build, value, functions.Sin()), apply(build, value, functions.Cos()))


@handler(*COMPOSITES)
def composite(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Activations that are several functions."""
    return _composed(build, given(node, args), COMPOSITES[node.op](node))


def _composed(build: ProgramBuilder, value: Value, parts: Composite) -> Value:
    result = apply(build, value, *parts.functions) if parts.functions else value
    if parts.gated:
        result = combine(build, "mul", result, value)
    return combine(build, "add", result, apply(build, value, *parts.plus)) if parts.plus else result


@handler("Add", "Sub", "Mul")
def arithmetic(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Add, Sub and Mul, broadcast."""
    return combine(build, node.op.lower(), given(node, args, 0), given(node, args, 1))


@handler("Div")
def divided(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Div, of whole numbers towards zero."""
    a, b = given(node, args, 0), given(node, args, 1)
    quotient = combine(build, "div", a, b)
    return truncated(build, quotient) if a.dtype.kind in "iu" else quotient


@handler("Mod")
def remainder(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Mod: with ``fmod`` of the sign of the first number, else of the second."""
    a, b = given(node, args, 0), given(node, args, 1)
    quotient = combine(build, "div", a, b)
    times = truncated(build, quotient) if node.integer("fmod", 0) else apply(build, quotient, functions.Floor())
    return combine(build, "sub", a, combine(build, "mul", times, b))


@handler("Pow")
def raised(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Pow: with one exponent for all, a function of one number."""
    base, exponent = given(node, args, 0), given(node, args, 1)
    power = scalar(exponent)
    rank = max(base.ndim, exponent.ndim)
    if power is None or not np.isfinite(np.float32(power)):
        return combine(build, "pow", base, exponent)
    if power == 2.0:
        return in_rank(build, combine(build, "mul", base, base), rank)
    if power == 0.0:
        return np.ones((1,) * (rank - base.ndim) + base.shape, base.dtype)
    if power != 1.0:
        base = apply(build, base, functions.Sqrt() if power == 0.5 else functions.Pow(power))
    return in_rank(build, base, rank)


def in_rank(build: ProgramBuilder, value: Value, rank: int) -> Value:
    """Return a value with axes of size 1 before its own, as many as it takes."""
    return build.reshape(value, (1,) * (rank - value.ndim) + value.shape)


@handler(*_OF_ANY_NUMBER)
def several(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Sum, Min and Max of any number of values."""
    return _joined(node, args, build, _OF_ANY_NUMBER[node.op])


@handler("Mean")
def mean(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Mean of any number of values."""
    return apply(build, _joined(node, args, build, "add"), functions.Affine(1.0 / len(args)))


def _joined(node: Node, args: Arguments, build: ProgramBuilder, operation: str) -> Value:
    values = [given(node, args, index) for index in range(max(len(args), 1))]
    return reduce(lambda a, b: combine(build, operation, a, b), values)


@handler("PRelu")
def leaky(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """PRelu: with one slope for all, a leaky ReLU."""
    value, slope = given(node, args, 0), given(node, args, 1)
    if (only := scalar(slope)) is not None and slope.ndim <= value.ndim:
        return apply(build, value, functions.LeakyRelu(negative_slope=only))
    return build.emit(operators.PRelu, value, slope)


@handler("Clip")
def clip(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Clip: bounds as attributes (before opset 11) or inputs, either of which may be left out."""
    value = given(node, args)
    low, high = (_bound(node, args, index, name) for index, name in ((1, "min"), (2, "max")))
    least, most = scalar(low), scalar(high)
    if least is not None and most is not None and -_LARGEST <= least <= most <= _LARGEST:
        return apply(build, value, functions.Clip(least, most))
    for bound, operation in ((low, "max"), (high, "min")):
        if bound is not None and abs(scalar(bound) or 0.0) < np.inf:
            value = combine(build, operation, value, build.reshape(bound, ()))
    return value


def _bound(node: Node, args: Arguments, index: int, name: str) -> Value | None:
    if node.has(name):
        return number(node.number(name, 0.0))
    return args[index] if index < len(args) else None


@handler("Identity")
def same(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Identity."""
    return given(node, args)


@handler("Dropout")
def dropout(node: Node, args: Arguments, build: ProgramBuilder) -> tuple[Value, ...]:
    """Dropout, which in inference does nothing."""
    node.ignore("ratio", "seed")
    training: Value | None = args[2] if len(args) > 2 else None
    if training is not None and scalar(training) != 0.0:
        raise node.unsupported(
            "the model was exported in training mode", "call model.eval() before the export", DesignReason.TRAINING
        )
    value = given(node, args)
    kept: Array = np.ones(value.shape, np.bool_)
    return value, kept
