"""LayerNormalization and BatchNormalization."""

from __future__ import annotations

import math
from collections.abc import Mapping

from grurt.network.layers import BatchNorm, LayerNorm

from .axes import Role
from .builder import Builder
from .dense import require_features
from .graph import Array, Node
from .movement import tensor_input
from .parameters import axis_index, constant, optional, required
from .values import Arguments, Row, Tensor, Value


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
