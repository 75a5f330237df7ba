"""Where in a context lies what the layers read of it, and the networks that compute that, once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

from grurt.network.inputs import Input, Output
from grurt.network.layers import Layer
from grurt.network.network import Network, once_per_network
from grurt.network.splitting import part_of
from grurt.network.vectors import context_numbers


@dataclass(frozen=True)
class ContextPart:
    """What one layer reads of a context.

    Parameters
    ----------
    start, size
        Where it begins in a context's memory, and how long it is, in float32.
    names
        The contexts that it is made of.
    preparation
        A network of one output, which computes it of these, in the order of its inputs; None: it is they themselves,
        one after the other.
    """

    start: int
    size: int
    names: tuple[str, ...]
    preparation: Network | None


@once_per_network
def context_parts(network: Network) -> dict[str, ContextPart]:
    """Return what the layers with contexts read of them, by the layers' names."""
    layers = [layer for layer in network.layers if layer.context_shapes()]
    sizes = [layer.context_size() for layer in layers]
    starts = accumulate(map(context_numbers, sizes), initial=0)
    return {
        layer.name: ContextPart(start, size, tuple(layer.context_shapes()), _preparation(network, layer))
        for layer, start, size in zip(layers, starts, sizes, strict=False)
    }


def _preparation(network: Network, layer: Layer) -> Network | None:
    prepared = layer.preparation()
    if prepared is None:
        return None
    inputs = [Input(name, math.prod(shape)) for name, shape in layer.context_shapes().items()]
    return part_of(network, [prepared], inputs, [Output("prepared", prepared.name)])
