"""ReduceSum and ReduceMean, over the features of a timestep or over states that are stacked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.linear import linear
from grurt.converters.graph.operators.refusals import OTHER_AXES
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.axes import Role
from grurt.converters.graph.tracing.parameters import listed_axes, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network.functions import Affine
from grurt.network.layers import Activation, Add


@operator("ReduceMean", "ReduceSum")
def reduce(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """ReduceSum and ReduceMean of one axis, of features or of states."""
    tensor = tensor_input(node, args)
    node.ignore("noop_with_empty_axes")
    axes = listed_axes(node, args, 1, len(tensor.dims)) or ()
    if len(axes) != 1:
        raise node.unsupported(f"it computes across {len(axes) or 'all'} axes", "one axis can be reduced, of features")
    (index,) = axes
    is_mean, keeps = node.op == "ReduceMean", bool(node.integer("keepdims", 1))
    dim = tensor.dims[index]
    if dim and dim == tensor.stacks:
        return (_of_states(node, tensor, index, build, is_mean=is_mean, keeps=keeps),)
    if not _are_features(tensor, index):
        raise node.unsupported(*OTHER_AXES)
    return (_of_features(node, tensor, index, build, is_mean=is_mean, keeps=keeps),)


def _are_features(tensor: Tensor, index: int) -> bool:
    """Say whether a dimension, of which nothing else may be known yet, holds the features: then it is the last one."""
    *outer, axis = tensor.dims[index] or (None,)
    if axis is None or tuple(outer) != tensor.stacks:
        return False
    unknown = axis.role is None and not axis.dynamic and index == len(tensor.dims) - 1 > 1
    return axis.role is Role.FEATURE or unknown


def _of_features(node: Node, tensor: Tensor, index: int, build: Builder, *, is_mean: bool, keeps: bool) -> Tensor:
    last = len(tensor.dims) - 1
    order = [*(place for place in range(last + 1) if place != index), index]
    moved = replace(tensor, dims=tuple(tensor.dims[place] for place in order))
    size = moved.shape[-1]
    weight = np.broadcast_to(np.float32(1 / size if is_mean else 1), (1, size))
    result = linear(node, moved, weight, None, build)
    dims = list(result.dims[:-1])
    feature = result.dims[-1]
    if keeps:
        dims.insert(index, feature)
        return replace(result, dims=tuple(dims))
    return replace(result, dims=tuple(dims), dropped=(*result.dropped, *feature))


def _of_states(node: Node, tensor: Tensor, index: int, build: Builder, *, is_mean: bool, keeps: bool) -> Tensor:
    values = tuple(build.take(row, node) for row in tensor.rows)
    value = build.add(Add(name=build.name(node, "sum"), inputs=values))
    if is_mean:
        mean = Affine(scale=1 / len(values), offset=0.0)
        value = build.add(Activation(name=build.name(node, "mean"), inputs=(value,), function=mean))
    return replace(tensor, rows=(Row(value),), stacks=()).with_dim(index, () if keeps else None)
