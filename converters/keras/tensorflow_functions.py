"""TensorFlow's functions in functional models of Keras 2, as those of ``keras.ops`` that compute the same.

A ``TFOpLambda`` names a function and its arguments; unlike a ``Lambda``, it holds no code.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from grurt.converters.keras import operations
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.config import Config
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.merging import join
from grurt.converters.keras.values import VECTORS, Arguments, Layer, Tensor

_MODULE = "keras.src.ops.tensorflow"
_L2_EPSILON = 1e-12
"""The least square of a length in ``tf.math.l2_normalize``."""


@dataclass(frozen=True)
class _Function:
    """What a function is called in ``keras.ops``, and where its arguments go.

    ``positional`` are those that it is called with, behind the first; ``renamed`` the names of those that configure it,
    each with the name that ``keras.ops`` has; ``defaults`` what differs where they are left out.
    """

    kind: str
    positional: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _lowered(prefix: str, kinds: str) -> dict[str, str]:
    """Return classes by names that are theirs in lower case."""
    return {f"{prefix}.{kind.lower()}": kind for kind in kinds.split()}


_SAME = {
    **_lowered("math", "Exp Expm1 Log Log1p Sqrt Rsqrt Square Negative Sign Floor Ceil Round Sin Cos Tan Sinh Cosh"),
    **_lowered("math", "Tanh Sigmoid Erf Reciprocal Softplus Softsign"),
    **_lowered("nn", "Relu Relu6 Elu Selu Silu Softplus Softsign Tanh Sigmoid"),
    "math.abs": "Absolute",
    "math.asinh": "Arcsinh",
    "math.acosh": "Arccosh",
    "math.atanh": "Arctanh",
    "math.log_sigmoid": "LogSigmoid",
    "math.logical_not": "LogicalNot",
    "math.is_nan": "Isnan",
    "nn.swish": "Silu",
    "identity": "Copy",
    "stop_gradient": "StopGradient",
    "zeros_like": "ZerosLike",
    "ones_like": "OnesLike",
}
_OF_TWO = {
    **_lowered("math", "Add Subtract Multiply Divide Maximum Minimum Equal Greater Less"),
    "__operators__.add": "Add",
    "__operators__.sub": "Subtract",
    "__operators__.mul": "Multiply",
    "math.truediv": "TrueDivide",
    "math.pow": "Power",
    "math.not_equal": "NotEqual",
    "math.greater_equal": "GreaterEqual",
    "math.less_equal": "LessEqual",
    "math.logical_and": "LogicalAnd",
    "math.logical_or": "LogicalOr",
    "math.logical_xor": "LogicalXor",
    "math.floordiv": "FloorDivide",
    "compat.v1.floor_div": "FloorDivide",
    "math.floormod": "Mod",
    "math.divide_no_nan": "DivideNoNan",
}
_REDUCTIONS = {
    **{f"math.reduce_{name}": name.capitalize() for name in ("sum", "mean", "max", "min", "prod", "std", "any", "all")},
    "math.reduce_logsumexp": "Logsumexp",
    "math.reduce_variance": "Var",
}
_AXIS = {"axis": "axis"}
_FUNCTIONS: Mapping[str, _Function] = {
    **{name: _Function(kind) for name, kind in _SAME.items()},
    **{name: _Function(kind, ("y",)) for name, kind in _OF_TWO.items()},
    **{
        name: _Function(kind, (), {**_AXIS, "keepdims": "keepdims"}, {"axis": None})
        for name, kind in _REDUCTIONS.items()
    },
    "math.argmax": _Function("Argmax", (), _AXIS, {"axis": 0}),
    "math.argmin": _Function("Argmin", (), _AXIS, {"axis": 0}),
    "nn.gelu": _Function("Gelu", (), {"approximate": "approximate"}, {"approximate": False}),
    "nn.leaky_relu": _Function("LeakyRelu", (), {"alpha": "negative_slope"}),
    "nn.softmax": _Function("Softmax", (), _AXIS),
    "nn.log_softmax": _Function("LogSoftmax", (), _AXIS),
    "math.cumsum": _Function("Cumsum", (), _AXIS, {"axis": 0}),
    "math.l2_normalize": _Function("Normalize", (), {**_AXIS, "epsilon": "epsilon"}, {"epsilon": _L2_EPSILON}),
    "concat": _Function("Concatenate", (), _AXIS),
    "stack": _Function("Stack", (), _AXIS, {"axis": 0}),
    "unstack": _Function("Unstack", (), _AXIS, {"axis": 0}),
    "split": _Function("Split", (), {"num_or_size_splits": "indices_or_sections", **_AXIS}, {"axis": 0}),
    "where": _Function("Where", ("x", "y")),
    "cast": _Function("Cast", (), {"dtype": "dtype"}),
    "clip_by_value": _Function("Clip", (), {"clip_value_min": "x_min", "clip_value_max": "x_max"}),
    "linalg.matmul": _Function("Matmul", ("b",)),
    "expand_dims": _Function("ExpandDims", (), _AXIS),
    "one_hot": _Function("OneHot", (), {"depth": "num_classes", **_AXIS}, {"axis": -1}),
    "reverse": _Function("Flip", (), _AXIS),
    "tile": _Function("Tile", (), {"multiples": "repeats"}),
    **{name: _Function("Squeeze", (), _AXIS, {"axis": None}) for name in ("squeeze", "compat.v1.squeeze")},
    **{name: _Function("Transpose", (), {"perm": "axes"}) for name in ("transpose", "compat.v1.transpose")},
    **{name: _Function("Take", ("indices",), _AXIS, {"axis": 0}) for name in ("gather", "compat.v1.gather")},
    **{name: _Function("Pad", ("constant_values",), {"paddings": "pad_width"}) for name in ("pad", "compat.v1.pad")},
}
_WITHOUT_EFFECT = {"conjugate": False, "validate_indices": None, "batch_dims": 0, "mode": "CONSTANT"}
"""Arguments of functions, and the value with which they change nothing."""


@converts("TFOpLambda")
def function(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``TFOpLambda``: a function of TensorFlow."""
    name = layer.config.get("function")
    layer.config.policy()
    layer.config.check_all_read()
    if name == "math.add_n":
        tensors = [build.value(layer, tensor, *VECTORS) for tensor in args.tensors(layer)]
        return (replace(join(layer, "Add", tensors, build), mask=None),)
    known = _FUNCTIONS.get(name) if isinstance(name, str) else None
    if known is None:
        raise layer.unsupported(f"TensorFlow's function {str(name)[:100]!r}", "use Keras's own layers")
    further = tuple(args.named.get(parameter) for parameter in known.positional)
    given = {key: value for key, value in args.named.items() if key not in known.positional}
    values: dict[str, Any] = dict(known.defaults)
    for key, value in given.items():
        if key in known.renamed:
            values[known.renamed[key]] = value
        elif key != "name" and value is not None and _WITHOUT_EFFECT.get(key, key) != value:
            raise layer.unsupported(f"the argument {key[:50]}={str(value)[:50]} of {name}", "call it without")
    config = Config(layer.where, _in_keras_terms(layer, known.kind, values))
    operation = replace(layer, kind=known.kind, module=_MODULE, config=config)
    positional = (*args.positional, *further)
    return operations.convert(operation, Arguments(positional, {}), build)


def _in_keras_terms(layer: Layer, kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a function with values that ``keras.ops`` has for the same."""
    if kind == "Normalize":
        return {**values, "epsilon": float(values["epsilon"]) ** 0.5}
    sizes = values.get("indices_or_sections")
    if kind == "Split" and isinstance(sizes, list):
        if not all(type(size) is int for size in sizes):
            raise layer.invalid(f"expected sizes of parts, got {str(sizes)[:50]}")
        return {**values, "indices_or_sections": list(itertools.accumulate(sizes[:-1]))}
    return {"mode": "constant", **values} if kind == "Pad" else values


@converts("SlicingOpLambda")
def item(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``SlicingOpLambda``: ``x[...]``."""
    layer.config.require("function", ("__operators__.getitem",), "use an index")
    layer.config.policy()
    layer.config.check_all_read()
    key = args.named.get("slice_spec")
    parts = [_part(part) for part in key] if isinstance(key, list) else _part(key)
    operation = replace(layer, kind="GetItem", module=_MODULE, config=Config(layer.where, {}))
    return operations.convert(operation, Arguments((*args.positional, parts), {}), build)


def _part(part: Any) -> Any:
    """Return a part of an index as Keras 3 writes it."""
    if isinstance(part, Mapping) and "class_name" not in part:
        return {"class_name": "__slice__", "config": part}
    return part
