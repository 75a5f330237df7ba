"""What a network costs, worked out from its layers before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grurt.network.vectors import padded

if TYPE_CHECKING:
    from grurt.network.layers import AnyLayer
    from grurt.network.value import Value


@dataclass(frozen=True)
class Costs:
    """Memory in float32 numbers, padded to whole vectors, and work."""

    values: int
    """Of one timestep of every value."""
    states: int
    """Of the states of one stream."""
    working_memory: int
    """Of what layers keep beside their values during a timestep, where their weights do not bound it."""
    multiply_adds: int
    """Of a timestep with matrices; what is done to each feature by itself is not counted."""

    @property
    def memory(self) -> int:
        """What a small file can make large: memory of a stream that the sizes of its weights do not bound."""
        return self.values + self.states + self.working_memory


def costs(layers: Sequence[AnyLayer], values: Mapping[str, Value]) -> Costs:
    """Return what a network of these layers and values costs."""
    positions = {layer.name: values[layer.name].positions for layer in layers}
    return Costs(
        values=sum(value.positions * padded(value.size) for value in values.values()),
        states=sum(math.prod(shape[:-1]) * padded(shape[-1]) for shape in state_shapes(layers, values).values()),
        working_memory=sum(layer.working_memory(positions[layer.name]) for layer in layers),
        multiply_adds=sum(layer.multiply_adds(positions[layer.name]) for layer in layers),
    )


def state_shapes(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the states that the layers carry, by layer name."""
    shapes = {layer.name: layer.state_shape(values[layer.name].positions) for layer in layers}
    return {name: shape for name, shape in shapes.items() if shape is not None}
