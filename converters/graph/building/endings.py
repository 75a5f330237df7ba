"""What lies behind the ends of padded sequences, where it is read together with what lies before them."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.network.layers import GRU, AnyLayer, Concat, PastEnd, TimePooling

_LEAST_FILLING = -1e4
"""What masks fill with at most, so that it is no maximum, and nothing in a softmax: that of float16 is the largest."""


def ignores_ends(pooling: TimePooling, layers: Mapping[str, AnyLayer]) -> bool:
    """Say whether a pooling of a padded sequence is what its timesteps before the end alone come to.

    A sum of zeros behind the end is, a maximum of what a mask has filled there, and a softmax of such scores.
    """
    match pooling.operation:
        case "sum":
            return _is_zero(pooling.inputs[0], layers)
        case "max":
            return _is_filled(pooling.inputs[0], layers)
        case "softmax":
            return _is_filled(pooling.inputs[1], layers)
    return False


def _is_zero(value: str, layers: Mapping[str, AnyLayer]) -> bool:
    layer = layers.get(value)
    if isinstance(layer, Concat):
        return all(_is_zero(name, layers) for name in layer.inputs)
    return isinstance(layer, GRU) or (isinstance(layer, PastEnd) and layer.value == 0)


def _is_filled(value: str, layers: Mapping[str, AnyLayer]) -> bool:
    layer = layers.get(value)
    return isinstance(layer, PastEnd) and layer.value <= _LEAST_FILLING
