"""Functions of one number, operations on two, comparisons, and what a condition chooses.

A condition is a value of 0 and 1: what ONNX calls a boolean tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from grurt.converters.graph.building.alignment import in_one_step, merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import equals_token, is_token, with_numbers
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators import ends
from grurt.converters.graph.operators.arithmetic import aligned, scaled
from grurt.converters.graph.operators.constants import repeated
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.elementwise import FUNCTIONS
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.parameters import required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.converters.mathematics import OF_ONE, OF_TWO, Formula, Operation
from grurt.network import functions
from grurt.network.functions import AnyFunction
from grurt.network.layers import AnyLayer, Binary, Mul, Where

_LARGEST = float(np.finfo(np.float32).max)
_PRODUCTS = (2, 3, 4)
_ROOTS: dict[float, tuple[AnyFunction, ...]] = {
    0.5: (functions.Sqrt(),),
    -0.5: (functions.Sqrt(), functions.Reciprocal()),
    -1.0: (functions.Reciprocal(),),
}


@operator(*FUNCTIONS)
def function(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply a function of `FUNCTIONS`."""
    return (_mapped(node, tensor_input(node, args), build, FUNCTIONS[node.op]),)


_FORMULAS = {
    name.capitalize(): OF_ONE[name]
    for name in ("tan", "sinh", "cosh", "asinh", "acosh", "atanh", "asin", "acos", "atan")
}


@operator(*_FORMULAS)
def formula(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply a formula of several layers."""
    rows = Formula(build, partial(build.name, node))
    return (build.map(node, tensor_input(node, args), partial(_FORMULAS[node.op], rows)),)


@operator("Mod", reads_repeats=True)
def remainder(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Mod of floating point, with the sign of the first (``fmod=1``); of integers found, with that of the second."""
    is_fmod = bool(node.integer("fmod", 0))
    operands = [with_numbers(node, required(node, args, index), build) for index in range(2)]
    function = OF_TWO["fmod" if is_fmod else "remainder"]
    rows = Formula(build, partial(build.name, node))
    return (_of_values(node, operands, build, lambda inputs: function(rows, *inputs)),)


@operator("Div", reads_repeats=True)
def divide(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Div: ``a / b``, where one of them may be constant."""
    first, second = required(node, args, 0), required(node, args, 1)
    if any(isinstance(value, Tensor) and value.integer for value in (first, second)):
        raise node.unsupported("it divides integers", "cast them to floating point before the division")
    if not isinstance(second, Tensor):
        inverse = build.folder.computed(node, lambda array: np.asarray(1 / array), second)
        return (scaled(node, tensor_input(node, args), inverse, build),)
    if isinstance(first, Tensor):
        return (_binary(node, "div", [first, second], build),)
    return (scaled(node, _mapped(node, second, build, functions.Reciprocal()), first, build),)


@operator("Pow", reads_repeats=True)
def power(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Pow: ``a ** b``, where one of them may be constant; of small whole numbers, a product."""
    exponent = required(node, args, 1)
    if isinstance(exponent, Tensor) or exponent.size != 1:
        return (_binary(node, "pow", [required(node, args, 0), exponent], build),)
    tensor, number = tensor_input(node, args), float(exponent.reshape(-1)[0])
    if number == 1:
        return (tensor,)
    if number in _PRODUCTS:
        return (build.map(node, tensor, lambda value: _product(node, value, int(number), build)),)
    return (_mapped(node, tensor, build, *_power(number)),)


def _product(node: Node, value: str, count: int, build: Builder) -> str:
    return build.add(Mul(name=build.name(node, "mul"), inputs=(value,) * count))


def _power(exponent: float) -> tuple[AnyFunction, ...]:
    """Return the functions, one after the other, that raise a number to a power."""
    if exponent == 0:
        return (functions.Clip(minimum=1.0, maximum=1.0),)
    return _ROOTS.get(exponent, (functions.Pow(exponent=exponent),))


@operator("Min", "Max", reads_repeats=True)
def extreme(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Min and Max of any number of values and constants; with a number, a limit."""
    is_max = node.op == "Max"
    tensors: list[Value] = [value for value in args if isinstance(value, Tensor)]
    bounds = [value for value in args if isinstance(value, np.ndarray)]
    numbers = [float(bound.reshape(-1)[0]) for bound in bounds if bound.size == 1]
    if any(map(math.isnan, numbers)):
        raise node.unsupported("a constant of it is NaN", "leave it out, or use a number in its place")
    wide: list[Value] = [bound for bound in bounds if bound.size != 1]
    if len(tensors) + len(wide) > 1:
        result = _binary(node, "max" if is_max else "min", tensors + wide, build)
    else:
        result = tensor_input(node, tuple(tensors))
    for number in numbers:
        result = _mapped(node, result, build, _limit(number, is_low=is_max))
    return (result,)


def _limit(bound: float, *, is_low: bool) -> AnyFunction:
    """Return the function that no number comes out of below, or above, a bound."""
    if bound == 0 and is_low:
        return functions.Relu()
    bound = min(max(bound, -_LARGEST), _LARGEST)
    return functions.Clip(minimum=bound if is_low else -_LARGEST, maximum=_LARGEST if is_low else bound)


@operator("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", reads_repeats=True)
def compare(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Less, Greater and their like: 1 where it holds, 0 elsewhere."""
    operands = [required(node, args, index) for index in range(2)]
    if (mask := ends.of_comparison(node, operands, build)) is not None:
        return (mask,)
    if node.op == "Equal":
        return (equal(node, operands, build),)
    operands = [with_numbers(node, operand, build) for operand in operands]
    if node.op.startswith("Greater"):
        operands.reverse()
    operation: Operation = "less_or_equal" if "Or" in node.op else "less"
    return (replace(_binary(node, operation, operands, build), boolean=True),)


def equal(node: Node, operands: Sequence[Value], build: Builder) -> Tensor:
    """Return the condition that two values are equal, or that a token is a certain one."""
    for tensor, array in (operands, operands[::-1]):
        if isinstance(tensor, Tensor) and isinstance(array, np.ndarray) and is_token(tensor, build):
            return equals_token(node, tensor, array, build)
    numbers = [with_numbers(node, operand, build) for operand in operands]
    return replace(_binary(node, "equal", numbers, build), boolean=True)


@operator("IsNaN")
def is_nan(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """IsNaN: what does not equal itself."""
    tensor = tensor_input(node, args)
    return (build.negated(node, _binary(node, "equal", [tensor, tensor], build)),)


@operator("IsInf")
def is_infinite(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """IsInf: what equals an infinity, of either sign or one."""
    signs = {name: node.integer(name, 1) for name in ("detect_positive", "detect_negative")}
    tensor = tensor_input(node, args)
    if all(signs.values()):
        tensor = _mapped(node, tensor, build, functions.Abs())
    infinity = np.asarray(np.inf if signs["detect_positive"] else -np.inf, np.float32)
    return (replace(_binary(node, "equal", [tensor, infinity], build), boolean=True),)


@operator("And", "Or", "Xor", "Not", reads_repeats=True)
def combine(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """And, Or, Xor and Not of conditions, as product, maximum, inequality and difference from 1."""
    if node.op == "Not" and (mask := ends.negated(tensor_input(node, args))) is not None:
        return (mask,)
    if node.op == "Not":
        return (build.negated(node, tensor_input(node, args)),)
    operands = [required(node, args, 0), required(node, args, 1)]
    if node.op == "And":
        result = _by_layer(node, operands, build, lambda inputs: Mul(name=build.name(node, "and"), inputs=inputs))
        return (replace(result, boolean=True),)
    result = replace(_binary(node, "max" if node.op == "Or" else "equal", operands, build), boolean=True)
    return (build.negated(node, result) if node.op == "Xor" else result,)


@operator("Where", in_loops="aware", reads_repeats=True)
def where(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Where: of two values or constants, by a condition."""
    chosen = _always_chosen(*(required(node, args, index) for index in range(3)))
    if chosen is not None:
        return (chosen,)
    args, at = in_one_step(node, args, build)
    operands = [required(node, args, index) for index in range(3)]
    if (masked := ends.of_choice(node, operands, build)) is not None:
        return (masked,)
    is_boolean = all(isinstance(each, Tensor) and each.boolean for each in operands[1:])
    result = _by_layer(node, operands, build, lambda inputs: Where(name=build.name(node, "where"), inputs=inputs))
    return (replace(result, boolean=is_boolean, at=at or result.at),)


def _always_chosen(condition: Value, one: Value, other: Value) -> Value | None:
    """Return what a condition that is constant, and one for all, chooses; None if it is not, or is repeated for it."""
    if not isinstance(condition, np.ndarray) or (compact := without_repeats(condition)).size != 1:
        return None
    chosen = one if compact.item() else other
    shape = np.broadcast_shapes(condition.shape, one.shape, other.shape)
    return chosen if chosen.shape == shape else None


def _mapped(node: Node, tensor: Tensor, build: Builder, *applied: AnyFunction, boolean: bool = False) -> Tensor:
    """Return the tensor with functions applied one after the other."""
    result = build.map(node, tensor, lambda value: build.in_turn(value, applied, partial(build.name, node)))
    return replace(result, boolean=boolean)


def _binary(node: Node, operation: Operation, operands: list[Value], build: Builder) -> Tensor:
    def layer(inputs: tuple[str, ...]) -> AnyLayer:
        return Binary(name=build.name(node, operation), operation=operation, inputs=inputs)

    return _by_layer(node, operands, build, layer)


def _by_layer(
    node: Node, operands: list[Value], build: Builder, layer: Callable[[tuple[str, ...]], AnyLayer]
) -> Tensor:
    return _of_values(node, operands, build, lambda inputs: build.add(layer(inputs)))


def _of_values(node: Node, operands: list[Value], build: Builder, combine: Callable[[tuple[str, ...]], str]) -> Tensor:
    """Return what layers make of values and constants, the latter repeated at every timestep."""
    tensors = [value for value in operands if isinstance(value, Tensor)]
    widest = merged_features(node, max(tensors, key=lambda tensor: math.prod(tensor.shape)), build)
    # A condition is never NaN, as what else holds may be, and one number is wanted beside that too.
    plain = next((tensor for tensor in tensors if tensor.boolean), widest)
    found = aligned(
        node,
        [
            value
            if isinstance(value, Tensor)
            else repeated(node, plain if without_repeats(value).size == 1 else widest, value, build)
            for value in operands
        ],
        build,
    )
    inputs = tuple(tensor.rows[0].value for tensor in found)
    return replace(found[0].with_row(Row(combine(inputs))), boolean=False)
