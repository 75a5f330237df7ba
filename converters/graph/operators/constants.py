"""Constants as values: the same numbers at every timestep, beside a value that gives the timesteps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import per_feature, the_one_row, without_repeats
from grurt.converters.graph.tracing.parameters import axis_index
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor
from grurt.network import functions
from grurt.network.layers import Constant


def repeated(node: Node, tensor: Tensor, array: Array, build: Builder) -> Tensor:
    """Return a constant as a value beside another: one number, or one for each feature, at every timestep."""
    compact = without_repeats(array)
    build.folder.budget.read(compact.nbytes, node)
    if compact.size == 1 and np.isinf(compact).all():
        return _infinite(node, tensor, bool(compact.reshape(-1)[0] > 0), build)
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
        wide, numbers = tensor, per_feature(node, tensor, array, build.folder.budget)
    value = tensor.rows[0].value
    if numbers.ndim == 0:
        # Whatever is limited to one number is that number, of how many features there ever are.
        number = float(numbers)
        name = build.function(value, functions.Clip(minimum=number, maximum=number), build.name(node, "constant"))
    else:
        name = beside_features(node, value, numbers, build)
    return replace(wide.with_row(Row(name)), boolean=False)


def _infinite(node: Node, tensor: Tensor, is_positive: bool, build: Builder) -> Tensor:
    """Return an infinity beside a value: the reciprocal of 0, or its logarithm."""
    zero = repeated(node, tensor, np.zeros((), np.float32), build)
    function = functions.Reciprocal() if is_positive else functions.Log()
    return zero.with_row(Row(build.function(zero.rows[0].value, function, build.name(node, "infinity"))))


def with_constants(node: Node, args: Arguments, build: Builder) -> Iterator[Tensor]:
    """Yield what a Concat reads as tensors: constants along the axis of the features are the same at every timestep."""
    beside = next(value for value in args if isinstance(value, Tensor))
    index = axis_index(node, node.integer("axis", 0), len(beside.dims))
    for value in args:
        if isinstance(value, Tensor):
            yield value
        elif value is None:
            raise node.invalid("one of its inputs is left out")
        else:
            yield _along_features(node, beside, index, value, build)


def _along_features(node: Node, beside: Tensor, index: int, array: Array, build: Builder) -> Tensor:
    """Return a constant whose numbers along a dimension are features, at every timestep of another value."""
    axes = beside.dims[index]
    is_feature = index == len(beside.dims) - 1 and all(axis.role in (None, Role.FEATURE) for axis in axes)
    is_repeated = is_feature and array.shape[:-1] == beside.shape[:-1]
    numbers = the_one_row(node, array, build.folder.budget) if is_repeated else None
    if numbers is None or array.dtype.kind not in "fiub" or not np.isfinite(numbers).all():
        raise node.unsupported(
            f"it puts a constant of shape {array.shape} beside a value of shape {beside.shape}",
            "the same numbers can be put beside the features of every timestep",
        )
    for axis in axes:
        axis.require(Role.FEATURE, node)
    tensor = build.single(beside, node)
    name = beside_features(node, tensor.rows[0].value, np.asarray(numbers, np.float32), build)
    feature = Axis(numbers.size, f"the feature axis of {name!r}", Role.FEATURE)
    return replace(tensor.with_row(Row(name)).with_dim(index, (feature,)), boolean=False)


def beside_features(node: Node, value: str, numbers: Array, build: Builder) -> str:
    """Return numbers as a value that has the timesteps of another."""
    build.folder.budget.create(4 * numbers.size, node)
    layer = Constant(name=build.name(node, "constant"), inputs=(value,), size=numbers.size)
    return build.add(layer, {"weight": numbers})
