"""LayerNormalization and BatchNormalization.

PyTorch's exporter spells layer normalization out in single operators before opset 17.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator, second
from grurt.converters.graph.rewriting.matching import AnyOf, Matcher, Template, Var, op
from grurt.converters.graph.rewriting.recompose import rewrites
from grurt.converters.graph.tracing.axes import Role
from grurt.converters.graph.tracing.features import require_features
from grurt.converters.graph.tracing.parameters import axis_index, constant, optional, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network.layers import BatchNorm, LayerNorm

_X = Var("x")


def _normalized(axes: tuple[int, ...]) -> Template:
    """Return the template of ``(x - mean) / sqrt(variance + epsilon)`` over the last axes."""

    def mean(of: Template) -> AnyOf:
        return AnyOf((op("ReduceMean", of, axes=axes), op("ReduceMean", of, axes=axes, keepdims=1)))

    centered = op("Sub", _X, mean(_X))
    variance = mean(AnyOf((op("Pow", centered, 2.0), op("Mul", centered, centered))))
    return op("Div", centered, op("Sqrt", op("Add", variance, Var("epsilon"))))


def _by_last_operator(axes: tuple[int, ...]) -> Mapping[str, Template]:
    normalized = _normalized(axes)
    scaled = op("Mul", normalized, Var("weight"))
    return {"Div": normalized, "Mul": scaled, "Add": op("Add", scaled, Var("bias"))}


_TEMPLATES = {axes: _by_last_operator(axes) for axes in ((-1,), (-2, -1))}


@rewrites("Div", "Mul", "Add")
def _layer_norm(node: Node, matcher: Matcher) -> Node | None:
    """Return the LayerNormalization that a node is the last operator of, with or without weights; None if of none."""
    for axes, templates in _TEMPLATES.items():
        template = templates.get(node.op)
        for bindings in matcher.match(template, node.outputs[0]) if template is not None else ():
            epsilon = matcher.constant(bindings["epsilon"])
            weights = [bindings[name] for name in ("weight", "bias") if name in bindings]
            arrays = [matcher.constant(name) for name in weights]
            if (
                epsilon is None
                or epsilon.size != 1
                or any(array is None or array.ndim != len(axes) for array in arrays)
            ):
                continue
            attributes = {"axis": axes[0], "epsilon": float(epsilon.flat[0])}
            inputs = (bindings["x"], *weights)
            return Node(node.name, "LayerNormalization", inputs, node.outputs[:1], attributes, node.module)
    return None


def _last_axis(node: Node, rank: int) -> int | None:
    return rank - 1 if rank and node.attributes.get("axis", -1) in (-1, rank - 1) else None


@operator("LayerNormalization", features_at=_last_axis)
def layer_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """LayerNormalization over the features of a timestep (``axis=-1``)."""
    node.ignore("stash_type")
    tensor = build.single(tensor_input(node, args), node)
    rank = len(tensor.dims)
    n_axes = rank - axis_index(node, node.integer("axis", -1), rank)
    if len(node.outputs) > 1 and any(node.outputs[1:]):
        raise node.unsupported("its outputs of mean and deviation are not supported")
    given = {"weight": optional(args, 1), "bias": optional(args, 2)}
    arrays = {name: array for name, array in given.items() if array is not None}
    if n_axes == 2 and build.grid:
        value, arrays = _all_positions(node, tensor, arrays, build)
        tensor = tensor.with_row(Row(value))
        size = math.prod(tensor.shape[-2:])
    elif n_axes == 1:
        size = tensor.shape[-1]
        require_features(node, tensor, rank - 1, size)
    else:
        raise node.unsupported("it normalizes several axes", "only the features of a timestep can be normalized")
    weights = {name: _vector(node, array, size) for name, array in arrays.items()}
    layer = LayerNorm(
        name=build.name(node, "layer_norm"),
        inputs=(tensor.rows[0].value,),
        size=size,
        epsilon=node.number("epsilon", 1e-5),
        weight="weight" in weights,
        bias="bias" in weights,
    )
    return (tensor.with_row(Row(build.add(layer, weights))),)


def _all_positions(
    node: Node, tensor: Tensor, arrays: Mapping[str, Value], build: Builder
) -> tuple[str, dict[str, Value]]:
    """Return the vector that holds all positions of a grid, and weights of its last two dimensions in that order."""
    roles = [[axis.role for axis in dim] for dim in tensor.dims[-2:]]
    if roles not in ([[Role.POSITION], [Role.FEATURE]], [[Role.FEATURE], [Role.POSITION]]):
        raise node.unsupported(
            "it normalizes several axes", "the features of a timestep can be normalized, at one position or at all"
        )
    swapped = roles[0] == [Role.FEATURE]
    flat: dict[str, Value] = {}
    for name, value in arrays.items():
        array = constant(node, value, "weights")
        if array.shape != tensor.shape[-2:]:
            raise node.unsupported(f"expected weights of shape {tensor.shape[-2:]}, got {array.shape}")
        flat[name] = (array.T if swapped else array).reshape(-1)
    return build.with_positions(tensor.rows[0].value, 1), flat


@operator("BatchNormalization", features_at=second)
def batch_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """BatchNormalization in inference, of ``(batch, features)`` or ``(batch, features, time)``."""
    node.ignore("momentum")
    if node.integer("training_mode", 0) or not node.integer("spatial", 1) or any(node.outputs[1:]):
        raise node.unsupported("it computes statistics of the batch", "call model.eval() before the export")
    tensor = build.single(tensor_input(node, args), node)
    if len(tensor.dims) < 2:
        raise node.invalid(f"expected an input of 2 axes or more, got the shape {tensor.shape}")
    size = tensor.shape[1]
    require_features(node, tensor, 1, size)
    names = ("weight", "bias", "mean", "variance")
    weights = {name: _vector(node, required(node, args, i), size) for i, name in enumerate(names, start=1)}
    layer = BatchNorm(
        name=build.name(node, "batch_norm"),
        inputs=(tensor.rows[0].value,),
        size=size,
        epsilon=node.number("epsilon", 1e-5),
    )
    return (tensor.with_row(Row(build.add(layer, weights))),)


def _vector(node: Node, value: Value, size: int) -> Array:
    array = constant(node, value, "weights")
    if array.shape != (size,) or array.dtype.kind != "f":
        raise node.unsupported(f"expected weights of shape ({size},), got {array.dtype} {array.shape}")
    return array
