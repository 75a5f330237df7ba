"""The numbers that weights in fewer bits stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.network.nibbles import unpack_nibbles

if TYPE_CHECKING:
    from grurt.array_types import Array, Doubles
    from grurt.network.layers import AnyLayer


def represented(layer: AnyLayer, weights: Mapping[str, Array]) -> dict[str, Doubles]:
    """Return the numbers that a layer's weights stand for, float64 and in their float32 shapes, by parameter name.

    ``weights`` are those of its network.
    """
    formats, scales = layer.matrix_formats(), layer.scales()
    found = {}
    for name, shape in layer.float32_shapes().items():
        array = weights[f"{layer.name}.{name}"]
        if formats.get(name) == "int4":
            array = unpack_nibbles(array, shape[1])
        found[name] = array.astype(np.float64)
        if f"{name}_scale" in scales:
            scale = weights[f"{layer.name}.{name}_scale"].astype(np.float64)
            found[name] *= scale.reshape(*scale.shape, *[1] * (len(shape) - scale.ndim))
    return found
