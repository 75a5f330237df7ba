"""Pad of features: numbers before and behind those of each timestep, or some of them cut off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.constants import beside_features
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.values import MAX_STACK, Row, Tensor


def of_features(
    node: Node, tensor: Tensor, changed: Sequence[tuple[int, int, int]], fill: float, build: Builder
) -> Tensor | None:
    """Return the tensor with a number around its features, or without some; None if other axes are padded.

    Parameters
    ----------
    node
        The Pad.
    tensor
        What it pads.
    changed
        The axes that it pads, each with how much is put before and behind, or cut off where that is negative.
    fill
        The number.
    build
        Takes the layers.
    """
    if len(changed) != 1 or tensor.padding or tensor.surplus:
        return None
    index, before, after = changed[0]
    dim = tensor.dims[index]
    if len(dim) != 1 or dim[0].role is not Role.FEATURE or tensor.stacks or max(before, after) > MAX_STACK:
        return None
    size = dim[0].size
    kept = range(max(-before, 0), size - max(-after, 0))
    if not kept:
        raise node.invalid(f"it cuts all of {size} features off")
    tensor = build.single(tensor, node)
    value = tensor.rows[0].value
    value = value if len(kept) == size else build.slice(value, kept.start, kept.stop)
    parts = [
        beside_features(node, value, np.full(count, fill, np.float32), build) if count > 0 else ""
        for count in (before, after)
    ]
    joined = build.concatenated([name for name in (parts[0], value, parts[1]) if name], lambda: build.name(node, "pad"))
    feature = Axis(before + size + after, f"the feature axis of {joined!r}", Role.FEATURE)
    return tensor.with_row(Row(joined)).with_dim(index, (feature,))
