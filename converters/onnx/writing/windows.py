"""Windows of timesteps in ONNX: a sequence that is padded or cut, and slices of it side by side."""

from __future__ import annotations

import numpy as np

from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.network.layers import Unfold

_END = int(np.iinfo(np.int64).max)


def write_unfold(graph: GraphWriter, layer: Unfold, x: str) -> str:
    """Add what a layer gives of a sequence ``(time, batch, features)``."""
    padded = _padded(graph, layer, x)
    behind = [(layer.kernel_size - 1 - tap) * layer.dilation for tap in range(layer.kernel_size)]
    taps = [
        graph.slice(padded, 0, tap * layer.dilation, -count if count else _END, layer.stride)
        for tap, count in enumerate(behind)
    ]
    return graph.op("Concat", *taps, axis=-1) if len(taps) > 1 else taps[0]


def _padded(graph: GraphWriter, layer: Unfold, x: str) -> str:
    if isinstance(layer.padding, str):
        pads = _same_pads(graph, layer, x)
    elif layer.padding == (0, 0):
        return x
    else:
        before, after = layer.padding
        pads = graph.integers(before, 0, 0, after, 0, 0)
    return graph.op("Pad", x, pads, graph.constant(layer.fill))


def _same_pads(graph: GraphWriter, layer: Unfold, x: str) -> str:
    """Return by how many timesteps a sequence is padded for ``ceil(n / stride)`` windows."""
    n_steps, stride = graph.sizes(x, 0, 1), graph.integers(layer.stride)
    last = graph.op("Div", graph.op("Sub", n_steps, graph.integers(1)), stride)
    needed = graph.op("Add", graph.op("Mul", last, stride), graph.integers(layer.span))
    total = graph.op("Max", graph.op("Sub", needed, n_steps), graph.integers(0))
    half = graph.op("Add", total, graph.integers(int(layer.padding == "same_lower")))
    before = graph.op("Div", half, graph.integers(2))
    return graph.join(before, 0, 0, graph.op("Sub", total, before), 0, 0)
