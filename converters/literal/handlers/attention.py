"""Attention: each of some queries looks at all keys, and takes so much of each value.

Source: operator ``Attention`` of the ONNX specification.
"""

from __future__ import annotations

import math

import numpy as np

from grurt.converters.graph.nodes import Node
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.handlers.elementwise import apply, combine, number
from grurt.converters.literal.handlers.products import matmul, scaled
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given, optional
from grurt.network import functions, operators


@handler("Attention")
def attention(node: Node, args: Arguments, build: ProgramBuilder) -> tuple[Value | None, ...]:
    """Attention over keys and values, those of earlier timesteps among them; several queries may share a head's."""
    node.ignore("softmax_precision", "qk_matmul_output_mode")
    is_merged = given(node, args).ndim == 3
    queries, keys, values = (
        _heads(node, build, given(node, args, index), "q_num_heads" if index == 0 else "kv_num_heads")
        for index in range(3)
    )
    past = optional(args, 4), optional(args, 5)
    if past[0] is not None and past[1] is not None:
        keys, values = build.concat([past[0], keys], 2), build.concat([past[1], values], 2)
    is_causal = bool(node.integer("is_causal", 0))
    if len(args) > 6 or (is_causal and past[0] is not None) or len(node.outputs) > 3:
        raise node.unsupported("it hides what comes later behind what came before", "give it a mask for that")
    build.mixes(node, 1, given(node, args, 1).ndim - 2)
    scale = node.number("scale", 0.0) or 1.0 / math.sqrt(queries.shape[-1])
    scores = matmul(build, scaled(build, queries, scale), _shared(build, keys, queries, (0, 1, 3, 2)))
    softcap = node.number("softcap", 0.0)
    capped: Value = apply(build, scores, functions.ScaledTanh(softcap, 1.0 / softcap)) if softcap else scores
    if is_causal:
        hidden = np.triu(np.full(scores.shape[-2:], -np.inf, np.float32), 1)
        capped = combine(build, "add", capped, hidden)
    if (mask := optional(args, 3)) is not None:
        capped = _masked(build, capped, mask)
    weights: Value = build.emit(operators.Softmax, capped, axis=3)
    if mask is not None and mask.dtype.kind == "b":  # a query that sees nothing takes nothing
        weights = build.emit(operators.Where, mask, weights, build.zero, dtype=scores.dtype)
    result: Value = matmul(build, weights, _shared(build, values, queries, (0, 1, 2, 3)))
    if is_merged:
        result = build.transpose(result, (0, 2, 1, 3))
        result = build.reshape(result, (*result.shape[:2], result.shape[2] * result.shape[3]))
    return result, keys, values


def _heads(node: Node, build: ProgramBuilder, value: Value, count: str) -> Value:
    """Return a value as ``(batch, heads, length, size)``."""
    heads = node.integer(count, 1)
    if value.ndim == 4:
        return value
    if value.ndim != 3 or heads < 1 or value.shape[2] % heads:
        raise node.misfit(f"its input of the shape {value.shape} has features that do not fall into {heads} heads")
    batch, length, size = value.shape
    return build.transpose(build.reshape(value, (batch, length, heads, size // heads)), (0, 2, 1, 3))


def _shared(build: ProgramBuilder, value: Value, queries: Value, perm: tuple[int, ...]) -> Value:
    """Return keys or values with as many heads as there are of queries, and their axes in an order."""
    batch, heads, length, size = value.shape
    times = queries.shape[1] // max(heads, 1)
    if times > 1:
        apart = build.reshape(value, (batch, heads, 1, length, size))
        wider = build.expand(apart, (batch, heads, times, length, size))
        value = build.reshape(wider, (batch, heads * times, length, size))
    return build.transpose(value, perm)


def _masked(build: ProgramBuilder, scores: Value, mask: Value) -> Value:
    """Return scores without those that a mask leaves out: where it is false, or by what it adds."""
    if mask.dtype.kind == "b":
        lowest = number(float(np.finfo(np.float32).min))
        return build.emit(operators.Where, mask, scores, lowest, dtype=scores.dtype)
    return combine(build, "add", scores, mask)
