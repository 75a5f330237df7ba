"""LayerNormalization, RMSNormalization and BatchNormalization.

PyTorch's exporter spells layer normalization out in single operators before opset 17, and RMS normalization before
opset 23.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Attribute, Node
from grurt.converters.graph.operators.refusals import OTHER_AXES
from grurt.converters.graph.operators.registry import operator, second
from grurt.converters.graph.rewriting.matching import AnyOf, Matcher, Op, Template, Var, op
from grurt.converters.graph.rewriting.recompose import rewrites
from grurt.converters.graph.tracing.axes import Axis, NotTimeError, Role
from grurt.converters.graph.tracing.features import require_features, the_one_row
from grurt.converters.graph.tracing.parameters import axis_index, constant, optional, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.errors import DesignReason
from grurt.network.layers import BatchNorm, LayerNorm, RMSNorm

_X = Var("x")


_Axes = tuple[int, ...] | None
"""Axes as an attribute; None where they are an input, as from opset 18 on."""


def _mean(of: Template, axes: _Axes) -> AnyOf:
    operands = (of, Var("axes")) if axes is None else (of,)
    given: dict[str, Attribute] = {} if axes is None else {"axes": axes}
    more: tuple[dict[str, Attribute], ...] = ({}, {"keepdims": 1}, {"keepdims": 1, "noop_with_empty_axes": 0})
    return AnyOf(tuple(op("ReduceMean", *operands, **given, **attributes) for attributes in more))


def _root(of: Template, axes: _Axes) -> Op:
    """Return the template of ``sqrt(mean(of * of) + epsilon)``."""
    square = AnyOf((op("Pow", of, 2.0), op("Mul", of, of)))
    return op("Sqrt", op("Add", _mean(square, axes), Var("epsilon")))


def _layer_norm(axes: _Axes) -> Mapping[str, tuple[Template, ...]]:
    """Return templates of ``(x - mean) / sqrt(variance + epsilon)``, with and without weights, by the last operator."""
    centered = op("Sub", _X, _mean(_X, axes))
    normalized = op("Div", centered, _root(centered, axes))
    scaled = op("Mul", normalized, Var("weight"))
    return {"Div": (normalized,), "Mul": (scaled,), "Add": (op("Add", scaled, Var("bias")),)}


def _rms_norm(axes: _Axes) -> Mapping[str, tuple[Template, ...]]:
    """Return templates of ``x / sqrt(mean(x * x) + epsilon)``, with and without a weight, by the last operator."""
    root = _root(_X, axes)
    divided = op("Div", _X, root)
    multiplied = op("Mul", _X, AnyOf((op("Reciprocal", root), op("Div", 1.0, root))))
    scaled = op("Mul", AnyOf((divided, multiplied)), Var("weight"))
    return {"Div": (divided,), "Mul": (multiplied, scaled)}


_TEMPLATES = [
    (name, axes, templates(axes))
    for axes in ((-1,), (-2, -1), None)
    for name, templates in (("LayerNormalization", _layer_norm), ("RMSNormalization", _rms_norm))
]
"""Layer normalization stands first: behind its centering, it is an RMS normalization."""


@rewrites("Div", "Mul", "Add")
def _normalization(node: Node, matcher: Matcher) -> Node | None:
    """Return the normalization that a node is the last operator of, with or without weights; None if of none."""
    for name, given, templates in _TEMPLATES:
        for template in templates.get(node.op, ()):
            for bindings in matcher.match(template, node.outputs[0]):
                axes = matcher.integers(bindings["axes"]) if given is None else given
                epsilon = matcher.number(bindings["epsilon"])
                weights = [bindings[parameter] for parameter in ("weight", "bias") if parameter in bindings]
                if not axes or epsilon is None or not _are_weights(matcher, weights, len(axes)):
                    continue
                attributes: dict[str, Attribute] = {"axes": axes, "epsilon": epsilon}
                inputs = (bindings["x"], *weights)
                return Node(node.name, name, inputs, node.outputs[:1], attributes, node.module)
    return None


def _of_tensorflow() -> Op:
    """Return the template of ``x * scale + (bias - mean * scale)``, ``scale = weight / sqrt(variance + epsilon)``."""
    mean = op("GlobalAveragePool", _X)
    centered = op("Sub", _X, mean)
    variance = op("GlobalAveragePool", op("Mul", centered, centered))
    scale = op("Mul", op("Reciprocal", op("Sqrt", op("Add", variance, Var("epsilon")))), Var("weight"))
    return op("Add", op("Mul", _X, scale), op("Add", op("Mul", op("Neg", mean), scale), Var("bias")))


_OF_TENSORFLOW = _of_tensorflow()


@rewrites("Add")
def _pooled_normalization(node: Node, matcher: Matcher) -> Node | None:
    """Return the normalization of Keras's LayerNormalization as tf2onnx writes it; None if a node ends none."""
    for bindings in matcher.match(_OF_TENSORFLOW, node.outputs[0]):
        epsilon = matcher.number(bindings["epsilon"])
        weights = [matcher.constant(bindings[name]) for name in ("weight", "bias")]
        are_rows = all(array is not None and array.shape[-1:] in ((), (array.size,)) for array in weights)
        if epsilon is not None and are_rows:
            attributes: dict[str, Attribute] = {"axes": (-1,), "epsilon": epsilon}
            inputs = (bindings["x"], bindings["weight"], bindings["bias"])
            return Node(node.name, "LayerNormalization", inputs, node.outputs[:1], attributes, node.module)
    return None


def _are_weights(matcher: Matcher, tensors: list[str], n_axes: int) -> bool:
    arrays = [matcher.constant(tensor) for tensor in tensors]
    return all(array is not None and array.ndim == n_axes for array in arrays)


def _last_axis(node: Node, rank: int) -> int | None:
    given = node.attributes.get("axes", (node.attributes.get("axis", -1),))
    return rank - 1 if rank and given in ((-1,), (rank - 1,)) else None


@operator("LayerNormalization", features_at=_last_axis)
def layer_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """LayerNormalization over the features of a timestep (``axis=-1``)."""
    if len(node.outputs) > 1 and any(node.outputs[1:]):
        raise node.unsupported("its outputs of mean and deviation are not supported")
    tensor, size, weights = _of_features(node, args, ("weight", "bias"), build)
    layer = LayerNorm(
        name=build.name(node, "layer_norm"),
        inputs=(tensor.rows[0].value,),
        size=size,
        epsilon=node.number("epsilon", 1e-5),
        weight="weight" in weights,
        bias="bias" in weights,
    )
    return (tensor.with_row(Row(build.add(layer, weights))),)


@operator("RMSNormalization", features_at=_last_axis)
def rms_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """RMSNormalization over the features of a timestep (``axis=-1``)."""
    tensor, size, weights = _of_features(node, args, ("weight",), build)
    layer = RMSNorm(
        name=build.name(node, "rms_norm"),
        inputs=(tensor.rows[0].value,),
        size=size,
        epsilon=node.number("epsilon", 1e-5),
        weight="weight" in weights,
    )
    return (tensor.with_row(Row(build.add(layer, weights))),)


def _of_features(
    node: Node, args: Arguments, parameters: tuple[str, ...], build: Builder
) -> tuple[Tensor, int, dict[str, Array]]:
    """Return what is normalized, over how many features, and the weights that are there."""
    node.ignore("stash_type")
    tensor = build.single(tensor_input(node, args), node)
    rank = len(tensor.dims)
    n_axes = _count_axes(node, rank)
    given = {name: optional(args, i) for i, name in enumerate(parameters, start=1)}
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
    return tensor, size, {name: _vector(node, array, size, build) for name, array in arrays.items()}


def _count_axes(node: Node, rank: int) -> int:
    """Return over how many axes a node normalizes: the last ones, from ``axis`` on, or those that were spelled out."""
    if not node.has("axes"):
        return rank - axis_index(node, node.integer("axis", -1), rank)
    axes = sorted(axis_index(node, axis, rank) for axis in node.integers("axes"))
    if axes != list(range(rank - len(axes), rank)):
        raise node.unsupported("it normalizes other axes than the last", "only the features can be normalized")
    return len(axes)


def _all_positions(
    node: Node, tensor: Tensor, arrays: Mapping[str, Value], build: Builder
) -> tuple[str, dict[str, Value]]:
    """Return the vector that holds all positions of a grid, and weights of its last two dimensions in that order."""
    if all(len(dim) == 1 for dim in tensor.dims[-2:]):
        _learn_roles(node, *(dim[0] for dim in tensor.dims[-2:]))
    roles = [[axis.role for axis in dim] for dim in tensor.dims[-2:]]
    if roles not in ([[Role.POSITION], [Role.FEATURE]], [[Role.FEATURE], [Role.POSITION]]):
        raise NotTimeError
    swapped = roles[0] == [Role.FEATURE]
    flat: dict[str, Value] = {}
    for name, value in arrays.items():
        array = constant(node, value, "weights")
        if array.shape != tensor.shape[-2:]:
            raise NotTimeError
        flat[name] = (array.T if swapped else array).reshape(-1)
    return build.with_positions(tensor.rows[0].value, 1), flat


def _learn_roles(node: Node, outer: Axis, inner: Axis) -> None:
    """Learn which of two axes that are normalized together holds features: the inner one, if neither is known."""
    first = outer.role is Role.FEATURE or inner.role is Role.POSITION
    for axis, role in (
        (outer, Role.FEATURE if first else Role.POSITION),
        (inner, Role.POSITION if first else Role.FEATURE),
    ):
        if axis.role is None:
            axis.require(role, node)


@operator("GroupNormalization", features_at=second)
def group_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """GroupNormalization of vectors ``(batch, features)``: groups of features, normalized each by itself."""
    node.ignore("stash_type")
    tensor = build.single(tensor_input(node, args), node)
    if any(axis.size > 1 for dim in tensor.dims[2:] for axis in dim) or len(tensor.dims) < 2:
        raise node.unsupported(*OTHER_AXES)
    size, groups = tensor.shape[1], node.integer("num_groups", 1)
    require_features(node, tensor, 1, size)
    if groups < 1 or size % groups:
        raise node.invalid(f"it divides {size} features into {groups} groups")
    scale, shift = (_of_each(node, required(node, args, i), size, groups, build) for i in (1, 2))
    norm = LayerNorm(
        name=build.name(node, "group_norm"),
        inputs=(tensor.rows[0].value,),
        size=size // groups,
        epsilon=node.number("epsilon", 1e-5),
        weight=False,
        bias=False,
    )
    value = build.in_groups(norm, groups)
    return (tensor.with_row(Row(build.scale_and_shift(node, value, scale, shift))),)


def _of_each(node: Node, value: Value, size: int, groups: int, build: Builder) -> Array:
    """Return a number for each feature, also from one for each group, as before opset 21."""
    array = constant(node, value, "weights")
    if array.shape != (groups,) or groups == size:
        return _vector(node, value, size, build)
    build.folder.budget.create(4 * size, node)
    return np.repeat(array, size // groups)


@operator("InstanceNormalization", features_at=second)
def instance_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """InstanceNormalization of ``(batch, groups, features of each)``, as exporters write group normalization."""
    tensor = tensor_input(node, args)
    if len(tensor.dims) != 3 or not tensor.stacks or tensor.dims[1] != tensor.stacks:
        raise node.unsupported(*OTHER_AXES)
    size, groups = tensor.shape[2], tensor.shape[1]
    require_features(node, tensor, 2, size)
    weights = [_vector(node, required(node, args, i), groups, build) for i in (1, 2)]
    rows = []
    for row, scale, shift in zip(tensor.rows, *weights, strict=True):
        norm = LayerNorm(
            name=build.name(node, "instance_norm"),
            inputs=(build.take(row, node),),
            size=size,
            epsilon=node.number("epsilon", 1e-5),
            weight=False,
            bias=False,
        )
        value = build.add(norm)
        rows.append(Row(value if (scale, shift) == (1, 0) else build.scale_and_shift(node, value, scale, shift)))
    return (replace(tensor, rows=tuple(rows)),)


@operator("BatchNormalization", features_at=second)
def batch_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """BatchNormalization in inference, of ``(batch, features)`` or ``(batch, features, time)``."""
    node.ignore("momentum")
    if node.integer("training_mode", 0) or not node.integer("spatial", 1) or any(node.outputs[1:]):
        raise node.unsupported(
            "it computes statistics of the batch", "call model.eval() before the export", DesignReason.TRAINING
        )
    tensor = build.single(tensor_input(node, args), node)
    if len(tensor.dims) < 2:
        raise node.invalid(f"expected an input of 2 axes or more, got the shape {tensor.shape}")
    size = tensor.shape[1]
    require_features(node, tensor, 1, size)
    names = ("weight", "bias", "mean", "variance")
    weights = {name: _vector(node, required(node, args, i), size, build) for i, name in enumerate(names, start=1)}
    layer = BatchNorm(
        name=build.name(node, "batch_norm"),
        inputs=(tensor.rows[0].value,),
        size=size,
        epsilon=node.number("epsilon", 1e-5),
    )
    return (tensor.with_row(Row(build.add(layer, weights))),)


def _vector(node: Node, value: Value, size: int, build: Builder) -> Array:
    array = constant(node, value, "weights")
    if array.ndim > 1 and array.size and array.shape[-1] == size:  # an exporter may repeat it for every timestep
        row = the_one_row(node, array, build.folder.budget)
        array = array if row is None else row
    if array.shape != (size,) or array.dtype.kind != "f":
        raise node.unsupported(f"expected weights of shape ({size},), got {array.dtype} {array.shape}")
    return array
