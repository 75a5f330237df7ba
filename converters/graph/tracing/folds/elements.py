"""Functions of numbers, element by element."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import Element, dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import elementwise as functions
from grurt.converters.graph.tracing.folds.rules import (
    Rule,
    Rules,
    elementwise,
    elementwise_of,
    first_of,
    nothing,
    of_elements,
)
from grurt.converters.graph.tracing.parameters import constant, optional
from grurt.converters.graph.tracing.values import Arguments
from grurt.errors import DesignReason


def _divide(a: Array, b: Array) -> Array:
    """Divide as ONNX does: integers towards zero."""
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(np.divide(a, b)), a.dtype)
    return np.asarray(np.divide(a, b))


def _modulo(node: Node, arrays: list[Array]) -> Array:
    """Return the remainder: with ``fmod`` of the sign of the first number, else of the second."""
    return np.asarray((np.fmod if node.integer("fmod", 0) else np.mod)(*arrays))


def _power(node: Node, arrays: list[Array]) -> Array:
    base, exponent = arrays
    return np.asarray(np.power(base, exponent), base.dtype)


def _mean(*arrays: Array) -> Array:
    return np.asarray(reduce(np.add, arrays) / len(arrays), arrays[0].dtype)


def _of_all(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return a function of two arrays as one of any number of them."""
    return lambda *arrays: np.asarray(reduce(function, arrays))


def _cast(node: Node, arrays: list[Array]) -> Array:
    node.ignore("saturate", "round_mode")
    target, (array,) = node.integer("to", 0), arrays
    cast = array.astype(dtype_of(target, str(node)))
    return _rounded_to_bfloat16(cast) if target == Element.BFLOAT16 else cast


def _rounded_to_bfloat16(array: Array) -> Array:
    """Return float32 numbers rounded to those of which the lower half of the bits is zero, halves to even."""
    bits = array.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(array), rounded.view(np.float32), array)


def _cast_like(node: Node, args: Arguments) -> tuple[Array, ...]:
    node.ignore("saturate", "round_mode")
    array, like = first_of(node, args), constant(node, optional(args, 1), "type")
    return elementwise(lambda compact: compact.astype(like.dtype))(node, (array,))


def _clip(node: Node, args: Arguments) -> tuple[Array, ...]:
    """Clip: bounds as attributes (before opset 11) or inputs."""
    array = first_of(node, args)
    limits = ((np.maximum, "min", -np.inf), (np.minimum, "max", np.inf))
    for index, (limit, name, default) in enumerate(limits, start=1):
        given = optional(args, index)
        if given is not None or node.has(name):
            bound = node.number(name, default) if given is None else constant(node, given, name).reshape(())
            limited = partial(limit, np.asarray(bound, array.dtype))
            (array,) = elementwise(limited)(node, (array,))
    return (array,)


def _prelu(array: Array, slope: Array) -> Array:
    return np.where(array < 0, slope * array, array)


def _is_infinite(node: Node, arrays: list[Array]) -> Array:
    """Say which numbers are infinite: of one sign, where the attributes say so."""
    (array,) = arrays
    found = np.isinf(array)
    for name, sign in (("detect_positive", 1), ("detect_negative", -1)):
        if not node.integer(name, 1):
            found = found & (np.sign(array) != sign)
    return np.asarray(found)


def _shrink(node: Node, arrays: list[Array]) -> Array:
    (array,) = arrays
    bias, limit = node.number("bias", 0.0), node.number("lambd", 0.5)
    return np.asarray(np.where(array < -limit, array + bias, np.where(array > limit, array - bias, 0)), array.dtype)


def _dropout(node: Node, args: Arguments) -> tuple[Array, ...]:
    node.ignore("ratio", "seed")
    training = optional(args, 2)
    if training is not None and np.any(constant(node, training, "training mode")):
        raise node.unsupported(
            "the model was exported in training mode", "call model.eval() before the export", DesignReason.TRAINING
        )
    return (first_of(node, args),)


_TWO: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "PRelu": _prelu,
}
_ANY_NUMBER: dict[str, Callable[..., Array]] = {
    "Sum": _of_all(np.add),
    "Min": _of_all(np.minimum),
    "Max": _of_all(np.maximum),
    "Mean": _mean,
}
_ONE: dict[str, Callable[..., Array]] = {
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Log": np.log,
    "Reciprocal": np.reciprocal,
    "Abs": np.abs,
    "Sign": np.sign,
    "Round": np.rint,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tan": np.tan,
    "Sinh": np.sinh,
    "Cosh": np.cosh,
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Asinh": np.arcsinh,
    "Acosh": np.arccosh,
    "Atanh": np.arctanh,
    "IsNaN": np.isnan,
    "Not": np.logical_not,
    "BitwiseNot": np.invert,
}
_LAYERS = {*functions.ACTIVATION_OPERATORS, *functions.FUNCTIONS, *functions.COMPOSITES, "Gelu"} - {*_ONE, "Shrink"}

RULES: Rules = {
    **{op: Rule(elementwise(function), of_elements) for op, function in (_ONE | _TWO | _ANY_NUMBER).items()},
    **{
        op: Rule(elementwise_of(lambda node, arrays: functions.of_constant(node, *arrays)), of_elements)
        for op in _LAYERS
    },
    **{
        op: Rule(elementwise_of(function), of_elements)
        for op, function in (
            ("Cast", _cast),
            ("IsInf", _is_infinite),
            ("Mod", _modulo),
            ("Pow", _power),
            ("Shrink", _shrink),
        )
    },
    "CastLike": Rule(_cast_like, of_elements),
    "Clip": Rule(_clip, of_elements),
    "Dropout": Rule(_dropout, nothing),
    "Where": Rule(elementwise(np.where), of_elements),
}
