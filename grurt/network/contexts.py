"""Where in a context lies what the layers read of it, and the networks that compute that, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from grurt.network.inputs import Input, Output
from grurt.network.layers import Layer
from grurt.network.network import Network, once_per_network
from grurt.network.splitting import part_of
from grurt.network.vectors import context_numbers

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.layers import AnyLayer
    from grurt.network.layers.base import Shape


@dataclass(frozen=True)
class ContextPart:
    """What one layer reads of a context.

    Parameters
    ----------
    start, size
        Where it begins in a context's memory, and how long it is, in float32.
    shapes
        The shapes of the values that it is made of, by name: contexts, and masks.
    preparation
        A network of one output, which computes it of these, in the order of its inputs; None: it is they themselves,
        one after the other.
    """

    start: int
    size: int
    shapes: Mapping[str, Shape]
    preparation: Network | None


def given_values(layer: AnyLayer, contexts: Mapping[str, Array]) -> dict[str, Array]:
    """Return the values that contexts are for a layer: filled up with zeros to their largest shapes, and their masks.

    ``contexts`` are of the shapes that `check_context` admits, by name.
    """
    shapes, found = layer.given_shapes(), {}
    for name, shape in layer.context_shapes().items():
        found[name] = np.zeros(shape, contexts[name].dtype)
        found[name][tuple(map(slice, contexts[name].shape))] = contexts[name]
    for name, (axis, mask) in layer.open_contexts().items():
        if mask is not None:
            found[mask] = (np.arange(shapes[mask][0]) < contexts[name].shape[axis]).astype(contexts[name].dtype)
    return {name: found[name] for name in shapes}


@once_per_network
def context_parts(network: Network) -> dict[str, ContextPart]:
    """Return what the layers with contexts read of them, by the layers' names."""
    layers = [layer for layer in network.layers if layer.context_shapes()]
    sizes = [layer.context_size() for layer in layers]
    starts = accumulate(map(context_numbers, sizes), initial=0)
    return {
        layer.name: ContextPart(start, size, layer.given_shapes(), _preparation(network, layer))
        for layer, start, size in zip(layers, starts, sizes, strict=False)
    }


def _preparation(network: Network, layer: Layer) -> Network | None:
    prepared = layer.preparation()
    if prepared is None:
        return None
    inputs = [Input(name, math.prod(shape)) for name, shape in layer.given_shapes().items()]
    return part_of(network, [prepared], inputs, [Output("prepared", prepared.name)])
