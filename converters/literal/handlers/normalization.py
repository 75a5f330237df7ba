"""Normalizations, by what is measured and by what was learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.elementwise import combine
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given
from grurt.errors import DesignReason
from grurt.network import operators


@handler("BatchNormalization")
def batch_norm(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """BatchNormalization, of statistics that are known: a scale and a shift for each channel, in float64."""
    node.ignore("momentum")
    if node.integer("training_mode", 0):
        raise node.unsupported(
            "the model was exported in training mode", "call model.eval() before the export", DesignReason.TRAINING
        )
    if not node.integer("spatial", 1):
        raise node.unsupported("it normalizes each place by itself (spatial=0)")
    value, epsilon = given(node, args), node.number("epsilon", 1e-5)
    gamma, beta, mean, variance = (
        parameters.constant(node, given(node, args, index), "statistics").astype(np.float64) for index in range(1, 5)
    )
    scale = gamma / np.sqrt(variance + epsilon)
    shape = (-1, *(1,) * max(0, value.ndim - 2))
    scaled = combine(build, "mul", value, scale.reshape(shape))
    return combine(build, "add", scaled, (beta - mean * scale).reshape(shape))


@handler("LayerNormalization", "RMSNormalization")
def layer_norm(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """LayerNormalization, and RMSNormalization, which does not subtract the mean: over the last axes."""
    node.ignore("stash_type")
    value = given(node, args)
    axes = range(parameters.axis_index(node, node.integer("axis", -1), value.ndim), value.ndim)
    build.mixes(node, 0, *axes)
    result = _normalized(node, build, value, axes, centered=node.op == "LayerNormalization")
    return _scaled(build, result, [args[index] if index < len(args) else None for index in (1, 2)])


@handler("InstanceNormalization")
def instance_norm(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """InstanceNormalization: each channel over all places."""
    value = given(node, args)
    build.mixes(node, 0, *range(1, value.ndim))
    result = _normalized(node, build, value, range(2, value.ndim))
    shape = (-1, *(1,) * (value.ndim - 2))
    return _scaled(build, result, [_reshaped(node, build, args, index, shape) for index in (1, 2)])


@handler("GroupNormalization")
def group_norm(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """GroupNormalization: channels in groups over all places; scales are for each channel, or, earlier, each group."""
    node.ignore("stash_type")
    value, groups = given(node, args), node.integer("num_groups", 1)
    n, channels, *places = (*value.shape, 0, 0)[: max(2, value.ndim)]
    if value.ndim < 2 or groups < 1 or channels % groups:
        raise node.misfit(f"{channels} channels do not fall into {groups} groups")
    build.mixes(node, 0, *range(1, value.ndim))
    split = build.reshape(value, (n, groups, channels // groups, *places))
    result = _normalized(node, build, split, range(2, split.ndim))
    by_group = given(node, args, 1).shape == (groups,) != (channels,)
    if not by_group:
        result = build.reshape(result, value.shape)
    shape = (-1, *(1,) * (result.ndim - 2))
    scaled = _scaled(build, result, [_reshaped(node, build, args, index, shape) for index in (1, 2)])
    return build.reshape(scaled, value.shape)


@handler("MeanVarianceNormalization")
def mean_variance(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """MeanVarianceNormalization over axes."""
    value = given(node, args)
    axes = [parameters.axis_index(node, axis, value.ndim) for axis in node.integers("axes") or (0, 2, 3)]
    build.mixes(node, 0, *axes)
    return build.emit(operators.Normalize, value, axes=tuple(axes), epsilon=1e-18)


def _normalized(
    node: Node, build: ProgramBuilder, value: Value, axes: Sequence[int], *, centered: bool = True
) -> Value:
    epsilon = node.number("epsilon", 1e-5)
    if not epsilon > 0:
        raise node.unsupported(f"its epsilon is {epsilon}", "it has to be positive")
    return build.emit(operators.Normalize, value, axes=tuple(axes), epsilon=epsilon, centered=centered)


def _scaled(build: ProgramBuilder, value: Value, parts: Sequence[Value | None]) -> Value:
    for part, operation in zip(parts, ("mul", "add"), strict=True):
        if part is not None:
            value = combine(build, operation, value, part)
    return value


def _reshaped(node: Node, build: ProgramBuilder, args: Arguments, index: int, shape: Sequence[int]) -> Value:
    part = given(node, args, index)
    return build.reshape(part, (math.prod(part.shape), *shape[1:]))
