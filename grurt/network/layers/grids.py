"""From vectors to grids, and back."""

from typing import ClassVar

from grurt.errors import ModelError
from grurt.network.layers.base import Layer

__all__ = ["Flatten", "Unflatten"]


class Unflatten(Layer, frozen=True, kw_only=True):
    """Split a vector of ``positions * size`` features into a grid: ``positions`` vectors, one after the other."""

    rearranges: ClassVar[bool] = True

    positions: int

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        positions, size = inputs[0]
        if positions != 1:
            raise ModelError(f"layer {self.name!r}: expected single vectors, got {positions} positions: Flatten first")
        if size % self.positions:
            raise ModelError(f"layer {self.name!r}: positions={self.positions} must divide the input's size, {size}")
        return self.positions, size // self.positions


class Flatten(Layer, frozen=True, kw_only=True):
    """Join the positions of a grid into one vector, one after the other: what `Unflatten` split."""

    rearranges: ClassVar[bool] = True

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        positions, size = inputs[0]
        return 1, positions * size
