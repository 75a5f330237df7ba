"""Functions of the features of a timestep."""

from collections.abc import Mapping

from grurt.network.functions import AnyFunction
from grurt.network.layers.base import Layer, Shape, SizedLayer

__all__ = ["Activation", "PRelu"]


class Activation(Layer, frozen=True, kw_only=True):
    """A function of `grurt.network.functions`, applied to every timestep."""

    function: AnyFunction

    @property
    def first_file_version(self) -> int:
        return max(self.file_version, self.function.file_version)

    @property
    def has_poles(self) -> bool:
        return self.function.has_poles


class PRelu(SizedLayer, frozen=True, kw_only=True, tag="prelu"):
    """``x if x >= 0 else weight * x``, with a ``weight (size,)`` learned for each feature."""

    def weight_shapes(self) -> Mapping[str, Shape]:
        return {"weight": (self.size,)}
