"""Attention as one operator: of a single query, as that which is spelled out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.arithmetic import scaled
from grurt.converters.graph.operators.linear import columns, matched, weighted_rows
from grurt.converters.graph.operators.refusals import ATTENTION
from grurt.converters.graph.operators.registry import last, operator
from grurt.converters.graph.operators.time_pooling import is_time, softmax_over_time
from grurt.converters.graph.tracing.parameters import required
from grurt.converters.graph.tracing.values import Arguments, Tensor, Value


@operator("Attention", features_at=last)
def attention(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Attention of a single query, with one head: a softmax over time of products, and the sum that it weights."""
    query, keys, values = (required(node, args, index) for index in range(3))
    if not (isinstance(query, Tensor) and isinstance(keys, Tensor) and isinstance(values, Tensor)):
        raise node.unsupported(*ATTENTION)
    fitting = columns(query, _with_columns(keys))
    if fitting is None or not fitting[2] or any(each is not None for each in args[3:]) or node.integer("is_causal", 0):
        raise node.unsupported(*ATTENTION)
    scale = node.number("scale", 1 / math.sqrt(query.shape[-1]))
    scores = scaled(node, matched(node, *fitting, build), np.asarray(scale, np.float32), build)
    time = len(scores.dims) - 1
    if not is_time(scores, time):
        raise node.unsupported(*ATTENTION)
    return (weighted_rows(node, softmax_over_time(node, scores, time, build), values, build),)


def _with_columns(keys: Tensor) -> Tensor:
    """Return keys as the columns of a matrix, as a product has them."""
    return replace(keys, dims=(*keys.dims[:-2], *keys.dims[:-3:-1]))
