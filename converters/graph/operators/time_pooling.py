"""What a sequence comes to: sums, means and maxima over time, and sums weighted by a softmax of scores over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.endings import ignores_ends
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Dim, Role
from grurt.converters.graph.tracing.values import Row, Tensor
from grurt.errors import UnsupportedError
from grurt.network.functions import Affine
from grurt.network.layers import TimePooling

Operation = Literal["sum", "mean", "max", "softmax"]

_OPERATIONS: dict[str, Operation] = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "GlobalAveragePool": "mean",
    "GlobalMaxPool": "max",
    "AveragePool": "mean",
    "MaxPool": "max",
}
_NEGATED = Affine(scale=-1.0, offset=0.0)


def is_time(tensor: Tensor, index: int) -> bool:
    """Say whether a dimension holds timesteps: an open one between others can be nothing else that is reduced."""
    dim = tensor.dims[index]
    if len(dim) != 1 or dim[0] in tensor.stacks:
        return False
    return dim[0].role is Role.TIME or (dim[0].role is None and dim[0].dynamic and index > 0)


def pooled(node: Node, tensor: Tensor, index: int, build: Builder, *, keeps: bool) -> Tensor | None:
    """Return what timesteps come to along a dimension of them; None if that is no operation of `TimePooling`."""
    weighted = None if tensor.stacks else tensor.rows[0].weighted_by
    (time,) = tensor.dims[index]
    if weighted is not None:
        if node.op != "ReduceSum" or weighted[0].root is not time.root:
            return None
        plain = tensor.with_row(replace(tensor.rows[0], weighted_by=None))
        return _pooled(node, plain, index, "softmax", build, weighted[1], keeps=keeps)
    if node.op == "ReduceMin":
        negated = build.map(node, tensor, lambda value: build.function(value, _NEGATED, build.name(node, "negated")))
        result = _pooled(node, negated, index, "max", build, keeps=keeps)
        return build.map(node, result, lambda value: build.function(value, _NEGATED, build.name(node, "min")))
    operation = _OPERATIONS.get(node.op)
    return None if operation is None else _pooled(node, tensor, index, operation, build, keeps=keeps)


def _pooled(
    node: Node,
    tensor: Tensor,
    index: int,
    operation: Operation,
    build: Builder,
    scores: Tensor | None = None,
    *,
    keeps: bool,
) -> Tensor:
    tensor = build.single(tensor.settled(), node)
    (time,) = tensor.dims[index]
    time.require(Role.TIME, node)
    size = _feature_count(node, tensor, index)
    inputs = [tensor.rows[0].value]
    score_size = 1
    if scores is not None:
        inputs.append(build.take(scores.rows[0], node))
        score_size = _score_size(scores)
    if any(map(build.is_single, inputs)):
        raise node.unsupported("it pools a vector that is the same at every timestep", "pool a sequence")
    layer = TimePooling(
        name=build.name(node, f"{operation}_over_time"),
        inputs=tuple(inputs),
        size=size,
        operation=operation,
        score_size=score_size,
    )
    if build.lengths and not ignores_ends(layer, build.layers):
        raise node.unsupported(
            "it joins all timesteps of packed sequences, those behind their ends among them",
            "multiply by the mask arange(n_steps) < lengths before a sum, and divide by the lengths, or fill with -1e9 "
            "before a maximum or a softmax",
        )
    result = tensor.with_row(Row(build.add(layer)))
    return result.with_dim(index, () if keeps else None)


def _feature_count(node: Node, tensor: Tensor, time: int) -> int:
    """Return how many features a tensor has beside its timesteps, and learn which dimension holds them."""
    known = [index for index, dim in enumerate(tensor.dims) if len(dim) == 1 and dim[0].role is Role.FEATURE]
    others = [index for index in range(len(tensor.dims)) if index != time and tensor.dims[index]]
    unknown = [index for index in others if len(tensor.dims[index]) == 1 and tensor.dims[index][0].role is None]
    if not known and len(others) == 2 and others[-1] in unknown:
        known = others[-1:]
        tensor.dims[known[0]][0].require(Role.FEATURE, node)
    if not known:
        return 1
    return max(tensor.shape[index] for index in known)


def _score_size(scores: Tensor) -> int:
    """Return how many scores a timestep has."""
    wide = [dim[0].size for dim in scores.dims if len(dim) == 1 and dim[0].role is Role.FEATURE]
    return max(wide, default=1)


def steps_before_ends(node: Node, mask: Tensor, index: int, build: Builder, *, keeps: bool) -> Tensor:
    """Return how many timesteps lie before the end of each sequence: the sum of a mask over time."""
    if mask.repeats:
        raise node.unsupported("it sums a mask that is repeated for features", "sum the mask before it is repeated")
    mask.dims[index][0].require(Role.TIME, node)
    count = Row(build.steps_before_ends())
    counted = replace(mask, rows=(count,), integer=False, boolean=False, ends=None)
    return counted.with_dim(index, () if keeps else None)


def softmax_over_time(node: Node, tensor: Tensor, index: int, build: Builder) -> Tensor:
    """Return scores as the weights that a softmax over time makes of them: only a sum over time can read these."""
    tensor = build.single(tensor.settled(), node)
    (time,) = tensor.dims[index]
    time.require(Role.TIME, node)
    return tensor.with_row(replace(tensor.rows[0], softmax_over=time))


def is_weight(value: object) -> bool:
    """Say whether a value is the weights of timesteps, by a softmax over these."""
    return isinstance(value, Tensor) and len(value.rows) == 1 and value.rows[0].softmax_over is not None


def weighted(node: Node, weights: Tensor, tensor: Tensor, build: Builder) -> Tensor:
    """Return a sequence times such weights, of the same dimensions: a sum over time has to follow."""
    rank = max(len(weights.dims), len(tensor.dims))
    weights, tensor = (replace(each, dims=((),) * (rank - len(each.dims)) + each.dims) for each in (weights, tensor))
    tensor = build.single(tensor.settled(), node)
    time = weights.rows[0].softmax_over
    for own, other in zip(tensor.dims, weights.dims, strict=True):
        _unify(node, tensor, own, other)
    if time is None or not any(axis.root is time.root for dim in tensor.dims for axis in dim):
        raise other_axes(node, tensor)
    scores = weights.with_row(replace(weights.rows[0], softmax_over=None))
    return tensor.with_row(replace(tensor.rows[0], weighted_by=(time, scores)))


def weighted_sum(
    node: Node, weights: Tensor, tensor: Tensor, places: tuple[tuple[int, int], ...], build: Builder
) -> Tensor:
    """Return a product with weights of timesteps, summed over these, without their dimension.

    ``places`` are which dimensions of both are the same: that of time, which is summed over, first.
    """
    for own, other in places:
        _unify(node, tensor, tensor.dims[other], weights.dims[own])
    time = weights.rows[0].softmax_over
    index = places[0][1]
    if time is None or len(tensor.dims[index]) != 1 or tensor.dims[index][0].root is not time.root:
        raise other_axes(node, tensor)
    scores = weights.with_row(replace(weights.rows[0], softmax_over=None))
    return _pooled(node, tensor, index, "softmax", build, scores, keeps=False)


def other_axes(node: Node, tensor: Tensor) -> UnsupportedError:
    """Return the exception for weights that are not those of a tensor's timesteps."""
    return node.unsupported(
        f"it weights a value of shape {tensor.shape} with scores that have other axes",
        "use one score for each timestep, or one for each feature of it",
    )


def _unify(node: Node, tensor: Tensor, own: Dim, other: Dim) -> None:
    if not other or (len(other) == 1 and other[0].size == 1 and other[0].role is Role.FEATURE):
        return
    if len(own) != len(other):
        raise other_axes(node, tensor)
    for axis, another in zip(own, other, strict=True):
        another.unify(axis, node)
