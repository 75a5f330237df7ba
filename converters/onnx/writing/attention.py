"""Attention: products of queries and keys, a softmax over time, and products with values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.network.layers import Attention

_LEAST = float(np.finfo(np.float32).min)
"""Scores that are no more than this leave a timestep out."""


def write_attention(
    graph: GraphWriter, layer: Attention, weight: Array | None, sources: tuple[str, ...], valid: str | None
) -> str:
    """Add the attention of a whole sequence; return ``(time, batch, size)``, or ``(1, batch, size)`` for one answer.

    ``sources`` are ``(time, batch, size)`` each; ``valid``, where sequences end before others, is ``(time, batch, 1)``,
    0 behind the ends; ``weight (key_size,)`` is that of additive scores.
    """
    query, keys, values = (graph.transpose(source, 1, 0, 2) for source in sources[:3])
    bias = graph.transpose(sources[3], 1, 2, 0) if layer.biased else None
    if valid is not None:
        given = graph.constant(0.0) if bias is None else bias
        is_valid = graph.cast(graph.transpose(valid, 1, 2, 0), "bool")
        bias = graph.op("Where", is_valid, given, graph.constant(_LEAST))
    return graph.transpose(_attended(graph, layer, weight, (query, keys, values), bias), 1, 0, 2)


def write_attention_step(
    graph: GraphWriter, layer: Attention, weight: Array | None, sources: tuple[str, ...], states: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Add the attention of one timestep; return the answer ``(1, 1, size)``, and the states after it by name."""
    places, count = np.arange(layer.max_steps, dtype=np.float32), states[f"{layer.name}.count"]
    is_new = graph.op("Equal", graph.constant(places.reshape(1, -1, 1)), count)
    in_a_row = graph.constant(places.reshape(1, 1, -1))
    names = [layer.name if layer.shares_memory else f"{layer.name}.keys", layer.name]
    final = {
        name: graph.op("Where", is_new, source, states[name])
        for name, source in dict(zip(names, sources[1:3], strict=True)).items()
    }
    bias = graph.constant(0.0)
    if layer.biased:
        name = f"{layer.name}.bias"
        bias = final[name] = graph.op("Where", graph.op("Equal", in_a_row, count), sources[3], states[name])
    bias = graph.op("Where", graph.op("LessOrEqual", in_a_row, count), bias, graph.constant(_LEAST))
    answer = _attended(graph, layer, weight, (sources[0], final[names[0]], final[layer.name]), bias, is_causal=False)
    return answer, final | {f"{layer.name}.count": graph.op("Add", count, graph.constant(1.0))}


def _attended(
    graph: GraphWriter,
    layer: Attention,
    weight: Array | None,
    sources: tuple[str, str, str],
    bias: str | None,
    *,
    is_causal: bool | None = None,
) -> str:
    """Return answers ``(batch, queries, size)``, of values ``(batch, time, ...)`` and a bias ``(batch, 1, time)``."""
    query, keys, values = (
        graph.transpose(graph.reshape(source, 0, 0, layer.heads, -1), 0, 2, 1, 3) for source in sources
    )
    scores = _scores(graph, layer, weight, query, keys)
    if layer.causal if is_causal is None else is_causal:
        later = graph.op("Expand", graph.constant(-np.inf), graph.sizes(scores))
        scores = graph.op("Add", scores, graph.op("Trilu", later, graph.constant(1, "int64"), upper=1))
    if bias is None:
        shares = graph.op("Softmax", scores, axis=-1)
    else:
        least = graph.constant(_LEAST)
        scores = graph.op("Max", graph.op("Add", scores, graph.unsqueeze(bias, 1)), least)
        counted = graph.cast(graph.op("Greater", scores, least), "float32")
        shares = graph.op("Mul", graph.op("Softmax", scores, axis=-1), counted)
    found = graph.op("MatMul", shares, values)
    return graph.reshape(graph.transpose(found, 0, 2, 1, 3), 0, 0, layer.size)


def _scores(graph: GraphWriter, layer: Attention, weight: Array | None, query: str, keys: str) -> str:
    """Return the scores ``(batch, heads, queries, time)``."""
    if weight is None:
        products = graph.op("MatMul", query, graph.transpose(keys, 0, 1, 3, 2))
        return graph.op("Mul", products, graph.constant(layer.scale))
    compared = graph.op("Tanh", graph.op("Add", graph.unsqueeze(query, 3), graph.unsqueeze(keys, 2)))
    weighted = graph.op("Mul", compared, graph.constant(weight.reshape(1, layer.heads, 1, 1, -1)))
    return graph.op("ReduceSum", weighted, graph.integers(4), keepdims=0)
