"""Functions of one number, operations on two, comparisons, and what a condition chooses.

A condition is a value of 0 and 1: what ONNX calls a boolean tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.alignment import merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.arithmetic import aligned, scaled
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.elementwise import FUNCTIONS
from grurt.converters.graph.tracing.features import per_feature, without_repeats
from grurt.converters.graph.tracing.parameters import required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network import functions
from grurt.network.functions import AnyFunction
from grurt.network.layers import AnyLayer, Binary, Constant, Mul, Where

_LARGEST = float(np.finfo(np.float32).max)
_PRODUCTS = (2, 3, 4)
_ROOTS: dict[float, tuple[AnyFunction, ...]] = {
    0.5: (functions.Sqrt(),),
    -0.5: (functions.Sqrt(), functions.Reciprocal()),
    -1.0: (functions.Reciprocal(),),
}

Operation = Literal["sub", "div", "pow", "min", "max", "less", "less_or_equal", "equal"]


@operator(*FUNCTIONS)
def function(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply a function of `FUNCTIONS`."""
    return (_mapped(node, tensor_input(node, args), build, FUNCTIONS[node.op]),)


@operator("Div", reads_repeats=True)
def divide(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Div: ``a / b``, where one of them may be constant."""
    first, second = required(node, args, 0), required(node, args, 1)
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
    tensor, number = tensor_input(node, args), float(exponent.flat[0])
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
    numbers = [float(bound.flat[0]) for bound in bounds if bound.size == 1]
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
    operands = [_as_numbers(required(node, args, index), build) for index in range(2)]
    if node.op.startswith("Greater"):
        operands.reverse()
    operation: Operation = "equal" if node.op == "Equal" else "less_or_equal" if "Or" in node.op else "less"
    return (replace(_binary(node, operation, operands, build), boolean=True),)


def _as_numbers(value: Value, build: Builder) -> Value:
    """Return integers that layers have found as the numbers that they are."""
    is_found = isinstance(value, Tensor) and value.integer and build.is_computed(value)
    return replace(value, integer=False) if is_found else value  # type: ignore[type-var]


@operator("And", "Or", "Xor", "Not", reads_repeats=True)
def combine(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """And, Or, Xor and Not of conditions, as product, maximum, inequality and difference from 1."""
    if node.op == "Not":
        return (_negated(node, tensor_input(node, args), build),)
    operands = [required(node, args, 0), required(node, args, 1)]
    if node.op == "And":
        result = _of_values(node, operands, build, lambda inputs: Mul(name=build.name(node, "and"), inputs=inputs))
        return (replace(result, boolean=True),)
    result = replace(_binary(node, "max" if node.op == "Or" else "equal", operands, build), boolean=True)
    return (_negated(node, result, build) if node.op == "Xor" else result,)


def _negated(node: Node, condition: Tensor, build: Builder) -> Tensor:
    return _mapped(node, condition, build, functions.Affine(scale=-1.0, offset=1.0), boolean=True)


@operator("Where", reads_repeats=True)
def where(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Where: of two values or constants, by a condition."""
    operands = [required(node, args, index) for index in range(3)]
    is_boolean = all(isinstance(each, Tensor) and each.boolean for each in operands[1:])
    result = _of_values(node, operands, build, lambda inputs: Where(name=build.name(node, "where"), inputs=inputs))
    return (replace(result, boolean=is_boolean),)


def _mapped(node: Node, tensor: Tensor, build: Builder, *applied: AnyFunction, boolean: bool = False) -> Tensor:
    """Return the tensor with functions applied one after the other."""
    result = build.map(node, tensor, lambda value: build.in_turn(value, applied, partial(build.name, node)))
    return replace(result, boolean=boolean)


def _binary(node: Node, operation: Operation, operands: list[Value], build: Builder) -> Tensor:
    def layer(inputs: tuple[str, ...]) -> AnyLayer:
        return Binary(name=build.name(node, operation), operation=operation, inputs=inputs)

    return _of_values(node, operands, build, layer)


def _of_values(
    node: Node, operands: list[Value], build: Builder, layer: Callable[[tuple[str, ...]], AnyLayer]
) -> Tensor:
    """Return what a layer makes of values and constants, the latter repeated at every timestep."""
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
    return replace(found[0].with_row(Row(build.add(layer(inputs)))), boolean=False)


def repeated(node: Node, tensor: Tensor, array: Array, build: Builder) -> Tensor:
    """Return a constant as a value beside another: one number, or one for each feature, at every timestep."""
    compact = without_repeats(array)
    build.folder.budget.read(compact.nbytes, node)
    if not np.isfinite(compact).all():
        raise node.unsupported("a constant of it is not finite", "use a large number in its place")
    if array.dtype.kind != "f":
        array = build.folder.computed(node, lambda numbers: numbers.astype(np.float32), array)
    tensor = build.single(tensor, node)
    is_wide = array.ndim > 0 and array.shape[-1] == array.size > 1
    if is_wide and tensor.shape[-1:] == (1,) and all(axis.role is Role.FEATURE for axis in tensor.dims[-1]):
        feature = Axis(array.size, f"the feature axis of {node}", Role.FEATURE)
        wide = tensor.with_dim(len(tensor.dims) - 1, (feature,))
        numbers = array.reshape(-1)
    else:
        wide, numbers = tensor, per_feature(node, tensor, array)
    value = tensor.rows[0].value
    if numbers.ndim == 0:
        # Whatever is limited to one number is that number, of how many features there ever are.
        number = float(numbers)
        name = build.function(value, functions.Clip(minimum=number, maximum=number), build.name(node, "constant"))
    else:
        layer = Constant(name=build.name(node, "constant"), inputs=(value,), size=numbers.size)
        name = build.add(layer, {"weight": numbers})
    return replace(wide.with_row(Row(name)), boolean=False)
