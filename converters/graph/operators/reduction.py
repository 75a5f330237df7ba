"""Reductions of the features of a timestep, or of states that are stacked, to one number: ReduceSum, ArgMax, ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from grurt.converters.graph.building.alignment import merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.linear import linear
from grurt.converters.graph.operators.refusals import OTHER_AXES, against
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.operators.time_pooling import is_time, pooled, steps_before_ends
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import require_features
from grurt.converters.graph.tracing.parameters import axis_index, listed_axes, number, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.network.functions import Affine, Log
from grurt.network.layers import Activation, Add, AnyLayer, Binary, Mul, Reduce

Operation = Literal["max", "min", "prod", "l1", "l2", "log_sum_exp", "argmax", "argmin"]


@dataclass(frozen=True)
class _Reduction:
    """How an operator is made of layers.

    Parameters
    ----------
    of_features
        Returns the reduced tensor, of one whose last dimension holds the features.
    of_states
        Returns the layer that reduces values of one size; None if there is none.
    """

    of_features: Callable[[Node, Tensor, Builder], Tensor]
    of_states: Callable[[str, tuple[str, ...]], AnyLayer] | None = None


def _sum(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    return _weighted_sum(node, tensor, 1.0, build)


def _mean(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    return _weighted_sum(node, tensor, 1 / tensor.shape[-1], build)


def _weighted_sum(node: Node, tensor: Tensor, weight: float, build: Builder) -> Tensor:
    return linear(node, tensor, np.broadcast_to(np.float32(weight), (1, tensor.shape[-1])), None, build)


def _sum_of_squares(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    def square(value: str) -> str:
        return build.add(Mul(name=build.name(node, "square"), inputs=(value, value)))

    return _sum(node, build.map(node, tensor, square), build)


def _log_of_sum(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    return build.map(
        node, _sum(node, tensor, build), lambda value: build.function(value, Log(), build.name(node, "log"))
    )


def _by(operation: Operation) -> Callable[[Node, Tensor, Builder], Tensor]:
    def reduced(node: Node, tensor: Tensor, build: Builder) -> Tensor:
        tensor = merged_features(node, tensor, build)
        last = len(tensor.dims) - 1
        require_features(node, tensor, last, tensor.shape[last])

        def layer(value: str) -> str:
            return build.add(Reduce(name=build.name(node, operation), inputs=(value,), operation=operation))

        result = build.map(node, tensor, layer)
        return result.with_dim(last, (Axis(1, f"the feature axis of {node}", Role.FEATURE),))

    return reduced


_REDUCTIONS = {
    "ReduceSum": _Reduction(_sum, lambda name, inputs: Add(name=name, inputs=inputs)),
    "ReduceMean": _Reduction(_mean, lambda name, inputs: Add(name=name, inputs=inputs)),
    "ReduceMax": _Reduction(_by("max"), lambda name, inputs: Binary(name=name, inputs=inputs, operation="max")),
    "ReduceMin": _Reduction(_by("min"), lambda name, inputs: Binary(name=name, inputs=inputs, operation="min")),
    "ReduceProd": _Reduction(_by("prod"), lambda name, inputs: Mul(name=name, inputs=inputs)),
    "ReduceL1": _Reduction(_by("l1")),
    "ReduceL2": _Reduction(_by("l2")),
    "ReduceLogSumExp": _Reduction(_by("log_sum_exp")),
    "ReduceSumSquare": _Reduction(_sum_of_squares),
    "ReduceLogSum": _Reduction(_log_of_sum),
}
_OF_INTEGERS = ("ReduceSum", "ReduceMax", "ReduceMin")
"""What counts conditions that hold, or finds whether any does."""


@operator(*_REDUCTIONS)
def reduce(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Reduce one axis, of features or of states."""
    tensor = tensor_input(node, args)
    node.ignore("noop_with_empty_axes")
    axes: Sequence[int] = listed_axes(node, args, 1, len(tensor.dims)) or ()
    keeps = bool(node.integer("keepdims", 1))
    tensor, axes = _without_units(tensor, axes, keeps=keeps)
    if len(axes) != 1:
        raise node.unsupported(
            f"it computes across {len(axes) or 'all'} axes",
            "one axis can be reduced, of features",
            against(axis for index in axes or range(len(tensor.dims)) for axis in tensor.dims[index]),
        )
    if tensor.ends and node.op == "ReduceSum" and is_time(tensor, axes[0]):
        return (steps_before_ends(node, tensor, axes[0], build, keeps=keeps),)
    counts = tensor.integer and build.is_computed(tensor) and node.op in _OF_INTEGERS
    result = _reduced(
        node, replace(tensor, integer=tensor.integer and not counts), axes[0], _REDUCTIONS[node.op], build
    )
    return (replace(result, integer=counts or result.integer),)


def _without_units(tensor: Tensor, axes: Sequence[int], *, keeps: bool) -> tuple[Tensor, Sequence[int]]:
    """Return a tensor and the axes of it that are reduced, without those of size 1 beside others."""
    units = [index for index in axes if not tensor.dims[index]]
    if len(units) == len(axes):
        units = units[1:]
    left = [index for index in axes if index not in units]
    if keeps or not units:
        return tensor, left
    dims = tuple(dim for index, dim in enumerate(tensor.dims) if index not in units)
    return replace(tensor, dims=dims), [index - sum(unit < index for unit in units) for index in left]


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """GlobalAveragePool and GlobalMaxPool of three axes: over time, or features, as TensorFlow normalizes layers."""
    tensor = tensor_input(node, args)
    if len(tensor.dims) != 3:
        raise node.unsupported(*OTHER_AXES)
    of_features = "ReduceMean" if node.op == "GlobalAveragePool" else "ReduceMax"
    return (_reduced(node, tensor, 2, _REDUCTIONS[of_features], build),)


@operator("CumSum")
def running_sum(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """CumSum over features: a product with a triangle of ones."""
    tensor = merged_features(node, tensor_input(node, args), build)
    index = axis_index(node, int(number(node, required(node, args, 1), "axis")), len(tensor.dims))
    if index != len(tensor.dims) - 1 or not _are_features(tensor, index):
        raise node.unsupported(*OTHER_AXES[:2], against(tensor.dims[index]))
    size = tensor.shape[index]
    build.folder.budget.create(4 * size * size, node)
    ones = np.tri(size, k=-1 if node.integer("exclusive", 0) else 0, dtype=np.float32)
    return (linear(node, tensor, ones.T if node.integer("reverse", 0) else ones, None, build),)


@operator("ArgMax", "ArgMin")
def place_of_extreme(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """ArgMax and ArgMin over features: an integer."""
    tensor = tensor_input(node, args)
    if node.integer("select_last_index", 0):
        raise node.unsupported("of several equal numbers it picks the last", "pick the first (select_last_index=0)")
    index = axis_index(node, node.integer("axis", 0), len(tensor.dims))
    reduction = _Reduction(_by("argmax" if node.op == "ArgMax" else "argmin"))
    return (replace(_reduced(node, tensor, index, reduction, build), integer=True),)


def _reduced(node: Node, tensor: Tensor, index: int, reduction: _Reduction, build: Builder) -> Tensor:
    keeps = bool(node.integer("keepdims", 1))
    dim = tensor.dims[index]
    if dim and dim == tensor.stacks and reduction.of_states is not None:
        return _of_states(node, tensor, index, reduction.of_states, build, keeps=keeps)
    if is_time(tensor, index) and (result := pooled(node, tensor, index, build, keeps=keeps)) is not None:
        return result
    if not _are_features(tensor, index):
        raise node.unsupported(*OTHER_AXES[:2], against(dim))
    return _of_features(node, tensor, index, reduction, build, keeps=keeps)


def _are_features(tensor: Tensor, index: int) -> bool:
    """Say whether a dimension, of which nothing else may be known yet, holds the features: then it is the last one."""
    *outer, axis = tensor.dims[index] or (None,)
    if axis is None or tuple(outer) not in ((), tensor.stacks) or axis in tensor.stacks:
        return False
    unknown = axis.role is None and not axis.dynamic and index == len(tensor.dims) - 1 > 1
    return axis.role is Role.FEATURE or unknown


def _of_features(
    node: Node, tensor: Tensor, index: int, reduction: _Reduction, build: Builder, *, keeps: bool
) -> Tensor:
    last = len(tensor.dims) - 1
    order = [*(place for place in range(last + 1) if place != index), index]
    moved = replace(tensor, dims=tuple(tensor.dims[place] for place in order))
    result = reduction.of_features(node, moved, build)
    dims = list(result.dims[:-1])
    feature = result.dims[-1]
    if keeps:
        dims.insert(index, feature)
        return replace(result, dims=tuple(dims))
    return replace(result, dims=tuple(dims), dropped=(*result.dropped, *feature))


def _of_states(
    node: Node,
    tensor: Tensor,
    index: int,
    layer: Callable[[str, tuple[str, ...]], AnyLayer],
    build: Builder,
    *,
    keeps: bool,
) -> Tensor:
    values = tuple(build.take(row, node) for row in tensor.rows)
    name = "sum" if node.op == "ReduceMean" else node.op.removeprefix("Reduce").lower()
    value = build.add(layer(build.name(node, name), values))
    if node.op == "ReduceMean":
        mean = Affine(scale=1 / len(values), offset=0.0)
        value = build.add(Activation(name=build.name(node, "mean"), inputs=(value,), function=mean))
    return replace(tensor, rows=(Row(value),), stacks=()).with_dim(index, () if keeps else None)
