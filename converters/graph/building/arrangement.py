"""Features that lie in parts, each a row: which dimension merges the parts with their features, and in which order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.converters.graph.tracing.values import MAX_STACK, Row, Tensor


def merged_feature(tensor: Tensor, index: int) -> Axis | None:
    """Return the axis of the features that a dimension merges with all axes of the stack; None if it does not.

    Of an axis of which nothing is known yet it is taken to be that, if it is in the last dimension.
    """
    others = [axis for axis in tensor.dims[index] if tensor.place_in_stacks(axis) is None]
    if len(others) != 1 or len(tensor.dims[index]) != len(tensor.stacks) + 1:
        return None
    (axis,) = others
    may_be = axis.role is None and not axis.dynamic and index == len(tensor.dims) - 1 > 0
    return axis if axis.role is Role.FEATURE or may_be else None


def single_features(tensor: Tensor) -> Tensor | None:
    """Return a stack of single features, which were squeezed away, as a tensor to be one value; None for others."""
    axes = [axis for dim in tensor.dims for axis in dim]
    dropped = [axis for axis in tensor.dropped if axis.role is Role.FEATURE]
    if len(dropped) != 1 or tensor.stacks not in tensor.dims or any(axis.role is Role.FEATURE for axis in axes):
        return None
    kept = tuple(axis for axis in tensor.dropped if axis is not dropped[0])
    return replace(tensor, stacks=(), dropped=kept, integer=False, boolean=False)


def in_order_of(tensor: Tensor, dim: Dim, feature: Axis, node: Node) -> Iterator[Row]:
    """Yield the rows, or parts of them, in the order of a dimension that merges their features with the stack."""
    are_whole = dim[-1] is feature
    steps = 1 if are_whole else feature.size
    if steps * len(tensor.rows) > MAX_STACK:
        raise node.unsupported(
            f"it puts {steps * len(tensor.rows)} features in another order", f"at most {MAX_STACK} are supported"
        )
    strides = {
        axis.root: math.prod(other.size for other in tensor.stacks[place + 1 :])
        for place, axis in enumerate(tensor.stacks)
    }
    for position in itertools.product(*(range(steps if axis is feature else axis.size) for axis in dim)):
        places = dict(zip(dim, position, strict=True))
        at = places.pop(feature)
        row = tensor.rows[sum(strides[axis.root] * number for axis, number in places.items())]
        yield row if are_whole else row.narrowed(feature, at, at + 1)
