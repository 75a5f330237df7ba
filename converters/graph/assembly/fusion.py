"""Layers that an exporter wrote apart and that are one: biases behind linear layers, projections before GRUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.network.layers import GRU, Linear


def fuse_biases(build: Builder, shown: Iterable[str]) -> dict[str, str]:
    """Make offsets that follow a Linear layer its bias; return the new names of the values that vanish.

    ``shown`` are the values that the model's outputs show.
    """
    readers = Counter(source for layer in build.layers.values() for source in layer.inputs)
    readers.update(shown)
    renamed: dict[str, str] = {}
    for name, bias in build.shifts.items():
        linear = build.layers.get(build.layers[name].inputs[0])
        if not isinstance(linear, Linear) or linear.bias or readers[linear.name] != 1:
            continue
        build.layers[linear.name] = msgspec.structs.replace(linear, bias=True)
        build.weights[f"{linear.name}.bias"] = np.broadcast_to(bias, (linear.output_size,))
        renamed[name] = linear.name
        for parameter in build.layers.pop(name).weight_shapes():
            del build.weights[f"{name}.{parameter}"]
    for name, layer in build.layers.items():
        inputs = tuple(renamed.get(source, source) for source in layer.inputs)
        build.layers[name] = msgspec.structs.replace(layer, inputs=inputs)
    return renamed


def fuse_projections(build: Builder, shown: Iterable[str]) -> None:
    """Make Linear layers that compute a GRU's gates, for all timesteps at once, the GRU's own weights."""
    readers = Counter(source for layer in build.layers.values() for source in layer.inputs)
    readers.update(shown)
    for name in build.projected & build.layers.keys():
        layer = build.layers[name]
        linear = build.layers.get(layer.inputs[0])
        if not isinstance(layer, GRU) or not isinstance(linear, Linear) or readers[linear.name] != 1:
            continue
        picks = build.weights[f"{name}.weight_ih"]
        rows = np.argmax(np.abs(picks), axis=1)
        signs = picks[np.arange(len(rows)), rows]  # negative where z stands for 1 - z
        build.weights[f"{name}.weight_ih"] = build.weights.pop(f"{linear.name}.weight")[rows] * signs[:, None]
        if linear.bias:
            zeros = np.zeros(3 * layer.hidden_size, np.float32)
            own = build.weights.get(f"{name}.bias_ih", zeros)
            build.weights[f"{name}.bias_ih"] = own + build.weights.pop(f"{linear.name}.bias")[rows] * signs
            build.weights.setdefault(f"{name}.bias_hh", zeros)
        inputs = (*linear.inputs, *layer.inputs[1:])
        build.layers[name] = msgspec.structs.replace(
            layer, inputs=inputs, input_size=linear.input_size, bias=layer.bias or linear.bias
        )
        del build.layers[linear.name]
