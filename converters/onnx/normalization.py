"""LayerNormalization and BatchNormalization."""

from __future__ import annotations

from grurt.layers import BatchNorm, LayerNorm

from .builder import Builder
from .dense import require_features
from .graph import Array, Node
from .movement import tensor_input
from .parameters import axis_index, constant, optional, required
from .values import Arguments, Row, Value


def layer_normalization(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """LayerNormalization over the features of a timestep (``axis=-1``)."""
    node.ignore("stash_type")
    tensor = build.single(tensor_input(node, args), node)
    rank = len(tensor.dims)
    if axis_index(node, node.integer("axis", -1), rank) != rank - 1:
        raise node.unsupported("it normalizes several axes", "only the features of a timestep can be normalized")
    if len(node.outputs) > 1 and any(node.outputs[1:]):
        raise node.unsupported("its outputs of mean and deviation are not supported")
    size = tensor.shape[-1]
    require_features(node, tensor, rank - 1, size)
    weights = {"weight": _vector(node, required(node, args, 1), size)}
    if (bias := optional(args, 2)) is not None:
        weights["bias"] = _vector(node, bias, size)
    layer = LayerNorm(
        name=build.name(node, "layer_norm"),
        inputs=(tensor.rows[0].value,),
        size=size,
        epsilon=node.number("epsilon", 1e-5),
        bias="bias" in weights,
    )
    return (tensor.with_row(Row(build.add(layer, weights))),)


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
