"""Functions of ``keras.ops`` of one number and of two, comparisons, truth values, and what these choose.

A truth value is 1 or 0 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.activations import LARGEST
from grurt.converters.keras.builder import Builder, same_time
from grurt.converters.keras.config import as_float, constant
from grurt.converters.keras.handlers import converts_function
from grurt.converters.keras.merging import beside_sequences
from grurt.converters.keras.values import ANY, Arguments, Kind, Layer, Tensor
from grurt.converters.mathematics import OF_ONE, OF_TWO, Formula, Operation
from grurt.errors import ConversionError
from grurt.network import functions, layers
from grurt.network.functions import Affine, AnyFunction, Clip

_FUNCTIONS: Mapping[str, AnyFunction] = {
    "Absolute": functions.Abs(),
    "Ceil": functions.Ceil(),
    "Cos": functions.Cos(),
    "Deg2rad": Affine(math.pi / 180, 0.0),
    "Erf": functions.Erf(),
    "Exp": functions.Exp(),
    "Floor": functions.Floor(),
    "Log": functions.Log(),
    "LogicalNot": Affine(-1.0, 1.0),
    "Negative": Affine(-1.0, 0.0),
    "Rad2deg": Affine(180 / math.pi, 0.0),
    "Reciprocal": functions.Reciprocal(),
    "Sign": functions.Sign(),
    "Sin": functions.Sin(),
    "Sqrt": functions.Sqrt(),
}
_FORMULAS = {
    **{name.capitalize(): OF_ONE[name] for name in ("tan", "sinh", "cosh", "exp2", "expm1", "log1p", "log2", "log10")},
    **{name.capitalize(): OF_ONE[name] for name in ("rsqrt", "trunc")},
    **{f"Arc{name[1:]}": OF_ONE[name] for name in ("asinh", "acosh", "atanh", "asin", "acos", "atan")},
}
_OF_TWO = {"FloorDivide": "floor_divide", "Hypot": "hypot", "Logaddexp": "logaddexp", "Mod": "remainder"}
_OPERATIONS: Mapping[str, Operation] = {
    "Equal": "equal",
    "Less": "less",
    "LessEqual": "less_or_equal",
    "LogicalOr": "max",
    "Maximum": "max",
    "Minimum": "min",
}
_MIRRORED = {"Greater": "less", "GreaterEqual": "less_or_equal"}
_PRODUCTS = range(2, 9)
"""Powers that are computed as products."""
_ROOTS: Mapping[float, tuple[AnyFunction, ...]] = {
    1.0: (),
    0.5: (functions.Sqrt(),),
    -0.5: (functions.Sqrt(), functions.Reciprocal()),
    -1.0: (functions.Reciprocal(),),
}


@converts_function(*_FUNCTIONS)
def function(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Apply a function of one number."""
    tensor = build.value(layer, args.only(layer), *ANY)
    return (tensor.with_value(build.function(tensor.value, _FUNCTIONS[layer.kind])),)


@converts_function(*_FORMULAS)
def formula_of_one(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Apply a formula of several layers."""
    tensor = build.value(layer, args.only(layer), *ANY)
    return (tensor.with_value(_FORMULAS[layer.kind](formula(layer, build), tensor.value)),)


@converts_function("Round")
def rounded(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``round``, also to decimals."""
    tensor, decimals = build.value(layer, args.only(layer), *ANY), layer.config.get("decimals", 0)
    if type(decimals) is not int or abs(decimals) > _MOST_DECIMALS:
        raise layer.config.invalid("decimals", f"a whole number up to {_MOST_DECIMALS}", decimals)
    scale = 10.0**decimals
    steps = (Affine(scale, 0.0), functions.Round(), Affine(1 / scale, 0.0)) if decimals else (functions.Round(),)
    return (tensor.with_value(formula(layer, build).of(tensor.value, *steps)),)


_MOST_DECIMALS = 6
_INFINITIES = ("Infinity", "-Infinity")
"""What JSON has no numbers for, as text."""


@converts_function("Squareplus")
def squareplus(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``squareplus``: ``(x + sqrt(x * x + b)) / 2``."""
    tensor, b = build.value(layer, args.only(layer), *ANY), layer.config.number("b", 4.0)
    rows = formula(layer, build)
    root = rows.of(rows.multiply(tensor.value, tensor.value), Affine(1.0, b), functions.Sqrt())
    return (tensor.with_value(rows.of(rows.add(tensor.value, root), Affine(0.5, 0.0))),)


@converts_function("SparsePlus")
def sparse_plus(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``sparse_plus``: 0 up to -1, ``(x + 1) ** 2 / 4`` between, x from 1 on."""
    tensor, rows = build.value(layer, args.only(layer), *ANY), formula(layer, build)
    between = rows.of(tensor.value, Clip(-1.0, 1.0), Affine(1.0, 1.0))
    above = rows.of(tensor.value, Affine(1.0, -1.0), functions.Relu())
    return (tensor.with_value(rows.add(rows.of(rows.multiply(between, between), Affine(0.25, 0.0)), above)),)


@converts_function("Threshold")
def threshold(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``threshold``: a value in place of numbers that are not above the threshold."""
    config, tensor = layer.config, args.only(layer)
    limit, value = config.number("threshold"), config.number("default_value")
    return (combined(layer, (limit, tensor, tensor, value), build, _chosen_by("less", layer, build)),)


@converts_function("Isnan", "Isinf", "Isfinite")
def is_special(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``isnan``: what does not equal itself; ``isfinite``: what is 0 times 0; ``isinf``: neither."""
    tensor, rows = build.value(layer, args.only(layer), *ANY), formula(layer, build)
    value = tensor.value
    known = rows.binary("equal", value, value)
    zero = rows.of(value, Affine(0.0, 0.0))
    finite = rows.binary("equal", zero, zero)
    negated = Affine(-1.0, 1.0)
    result = {
        "Isnan": lambda: rows.of(known, negated),
        "Isfinite": lambda: finite,
        "Isinf": lambda: rows.multiply(known, rows.of(finite, negated)),
    }[layer.kind]()
    return (tensor.with_value(result),)


@converts_function(*_OPERATIONS, *_MIRRORED, *_OF_TWO, "LogicalAnd", "DivideNoNan", "Divide", "TrueDivide")
def of_two(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Apply an operation on two numbers, of which one may be given."""
    operands = args.positional[:2]
    if layer.kind in ("Maximum", "Minimum") and (limited := _limited(layer, operands, build)) is not None:
        return (limited,)
    return (combined(layer, operands, build, _combination(layer, build)),)


def _combination(layer: Layer, build: Builder) -> Callable[[Sequence[str]], str]:
    """Return what combines two values to one."""
    rows, kind = formula(layer, build), layer.kind
    if kind in _OPERATIONS:
        return lambda values: rows.binary(_OPERATIONS[kind], *values)
    if kind in _MIRRORED:
        operation: Operation = "less" if kind == "Greater" else "less_or_equal"
        return lambda values: rows.binary(operation, values[1], values[0])
    if kind in _OF_TWO:
        return lambda values: OF_TWO[_OF_TWO[kind]](rows, *values)
    if kind == "LogicalAnd":
        return lambda values: rows.multiply(*values)
    if kind == "DivideNoNan":
        return lambda values: _quotient_or_zero(layer, rows, values, build)
    return lambda values: rows.binary("div", *values)


def _quotient_or_zero(layer: Layer, rows: Formula, values: Sequence[str], build: Builder) -> str:
    """Return ``a / b``, and 0 where b is 0."""
    zero = rows.of(values[1], Clip(0.0, 0.0))
    is_zero, quotient = rows.binary("equal", values[1], zero), rows.binary("div", *values)
    return _chosen(layer, build, (is_zero, zero, quotient))


def _chosen(layer: Layer, build: Builder, values: Sequence[str]) -> str:
    """Return the second of three values where the first holds, else the third."""
    return build.add(layers.Where(name=build.unique(layer.name), inputs=tuple(values)))


def _limited(layer: Layer, operands: Sequence[Any], build: Builder) -> Tensor | None:
    """Return a tensor that is limited by one number; None for anything else."""
    tensors = [item for item in operands if isinstance(item, Tensor)]
    numbers = [item for item in operands if isinstance(item, int | float) and not isinstance(item, bool)]
    if len(tensors) != 1 or len(numbers) != 1:
        return None
    tensor = build.value(layer, tensors[0], *ANY)
    bound = float(np.clip(numbers[0], -LARGEST, LARGEST))
    limit = Clip(bound, LARGEST) if layer.kind == "Maximum" else Clip(-LARGEST, bound)
    return tensor.with_value(build.function(tensor.value, limit))


@converts_function("NotEqual", "LogicalXor")
def unequal(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``not_equal``, and ``logical_xor``, which is the same of truth values."""
    rows = formula(layer, build)

    def compared(values: Sequence[str]) -> str:
        return rows.of(rows.binary("equal", *values), Affine(-1.0, 1.0))

    return (combined(layer, args.positional[:2], build, compared),)


@converts_function("Where")
def where(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``where``: of two, by a truth value."""
    if len(args.positional) != 3 or args.positional[2] is None:
        raise layer.unsupported("where without what it chooses from", "give it two tensors or numbers")
    return (combined(layer, args.positional, build, partial(_chosen, layer, build)),)


@converts_function("Select")
def select(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``select``: of several, the first whose truth value holds, else a default."""
    conditions, choices, default = (*args.positional, None, None, None)[:3]
    if not isinstance(conditions, list) or not isinstance(choices, list) or len(conditions) != len(choices):
        raise layer.unsupported("something else than as many choices as truth values", "use where")
    result = 0.0 if default is None else default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = combined(layer, (condition, choice, result), build, partial(_chosen, layer, build))
    if not isinstance(result, Tensor):
        raise layer.unsupported("no truth values", "use where")
    return (result,)


def _chosen_by(operation: Operation, layer: Layer, build: Builder) -> Callable[[Sequence[str]], str]:
    """Return what chooses the third of four values where an operation on the first two holds, else the fourth."""
    rows = formula(layer, build)

    def chosen(values: Sequence[str]) -> str:
        return _chosen(layer, build, (rows.binary(operation, *values[:2]), *values[2:]))

    return chosen


@converts_function("Square", "Power")
def power(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``power``: a product, of small whole exponents; also of a tensor to a tensor, or of a number to one."""
    base, exponent = (*args.positional, 2)[:2] if args.positional else (None, None)
    if not isinstance(base, Tensor) or not isinstance(exponent, int | float) or isinstance(exponent, bool):
        rows = formula(layer, build)
        return (combined(layer, (base, exponent), build, lambda values: rows.binary("pow", *values)),)
    tensor, number = build.value(layer, base, *ANY), as_float(exponent, lambda: _beyond(layer))
    if number in _PRODUCTS:
        made = layers.Mul(name=build.unique(layer.name), inputs=(tensor.value,) * int(number))
        return (tensor.with_value(build.add(made)),)
    if number == 0:
        return (tensor.with_value(build.function(tensor.value, Clip(1.0, 1.0))),)
    steps = _ROOTS.get(number, (functions.Pow(exponent=number),))
    return (tensor.with_value(formula(layer, build).of(tensor.value, *steps)),)


@converts_function("Cast", "SaturateCast")
def cast(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``cast``: to integers towards zero, to truth values where a number is not 0."""
    tensor, dtype = build.value(layer, args.only(layer), *ANY), layer.config.get("dtype", "float32")
    if dtype in ("float32", "float64"):
        return (tensor,)
    if dtype in ("int32", "int64"):
        return (tensor.with_value(OF_ONE["trunc"](formula(layer, build), tensor.value)),)
    if dtype != "bool":
        raise layer.unsupported(f"dtype={str(dtype)[:100]}", "grurt computes in float32")
    return unequal(layer, Arguments((tensor, 0.0), {}), build)


@converts_function("ZerosLike", "OnesLike", "FullLike")
def filled(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``full_like``: one number in place of all."""
    tensor = build.value(layer, args.positional[0], *ANY)
    known = {"ZerosLike": 0.0, "OnesLike": 1.0}
    number = known[layer.kind] if layer.kind in known else args.positional[1]
    if not isinstance(number, int | float):
        raise layer.unsupported("a tensor to fill with", "fill with a number")
    return (tensor.with_value(_constant(layer, tensor, np.asarray(number, np.float32), build)),)


def combined(layer: Layer, operands: Sequence[Any], build: Builder, combine: Callable[[Sequence[str]], str]) -> Tensor:
    """Return what a function makes of tensors and constants, number by number; one feature is repeated to fit.

    Parameters
    ----------
    layer
        The function.
    operands
        Its tensors, numbers and arrays.
    build
        Takes the layers.
    combine
        Returns the value that the layers of the function make of values of one size.
    """
    tensors = [build.value(layer, item, *ANY) if isinstance(item, Tensor) else None for item in operands]
    found = [tensor for tensor in tensors if tensor is not None]
    numbers = [None if isinstance(item, Tensor) else given(layer, item) for item in operands]
    if not found or any(tensor is None and array is None for tensor, array in zip(tensors, numbers, strict=True)):
        raise layer.unsupported("something else than tensors and numbers", "supported are tensors, numbers and arrays")
    kinds = beside_sequences(layer, found)
    same_time(layer, found)
    widest = max(kinds, key=lambda tensor: tensor.size)
    arrays = [array.reshape(-1) if array is not None and array.size > 1 else array for array in numbers]
    size = max([widest.size, *(array.size for array in arrays if array is not None)])
    _check_sizes(layer, widest, size, [array for array in numbers if array is not None])
    if any(tensor.size not in (1, size) for tensor in found):
        raise layer.invalid(f"expected tensors of one size, got {[tensor.size for tensor in found]}")
    base = widest.with_value(build.widened(widest.value, size, widest.size), size)
    values = [
        _constant(layer, base, array, build) if tensor is None else build.widened(tensor.value, size, tensor.size)
        for tensor, array in zip(tensors, arrays, strict=True)
    ]
    return base.with_value(combine(values))


def _check_sizes(layer: Layer, tensor: Tensor, size: int, arrays: Sequence[Array]) -> None:
    """Raise UnsupportedError for constants that are not one number, or one for each feature."""
    has_features = tensor.kind in (Kind.SEQUENCE, Kind.SINGLE)
    for array in arrays:
        if array.size != 1 and not (has_features and array.shape[-1:] == (array.size,) and array.size == size):
            raise layer.unsupported(
                f"a constant of shape {array.shape}",
                f"supported are one number, and one for each of {tensor.size} features",
            )


def given(layer: Layer, value: object) -> Array | None:
    """Return a number, or an array of Keras's JSON; None for anything else."""
    if isinstance(value, bool) or (isinstance(value, str) and value in _INFINITIES):
        return np.asarray(float(value), np.float32)
    if isinstance(value, int | float):
        return np.asarray(as_float(value, lambda: _beyond(layer)))
    return constant(value) if isinstance(value, Mapping | list) else None


def _beyond(layer: Layer) -> ConversionError:
    return layer.unsupported("a number beyond floating point", "use a smaller one")


def _constant(layer: Layer, beside: Tensor, array: Array | None, build: Builder) -> str:
    """Return numbers as a value that has the timesteps and the size of another.

    Infinities, which are no weights, are the reciprocal of 0, or its logarithm.
    """
    if array is not None and array.size == 1 and np.isinf(array).all():
        infinite = functions.Reciprocal() if array > 0 else functions.Log()
        return formula(layer, build).of(beside.value, Clip(0.0, 0.0), infinite)
    weight = build.filled(layer, (beside.size,), 0.0 if array is None else array)
    name = build.unique(f"{layer.name}.constant")
    return build.add(layers.Constant(name=name, inputs=(beside.value,), size=beside.size), {"weight": weight})


def formula(layer: Layer, build: Builder) -> Formula:
    """Return what adds the layers of a formula, named after a Keras layer."""
    return Formula(build, lambda kind: build.unique(f"{layer.name}.{kind}"))
