"""Masks: which timesteps a GRU skips."""

from typing import ClassVar

from grurt.errors import ModelError
from grurt.network.layers.base import Layer

__all__ = ["FeatureMask", "TokenMask"]


class FeatureMask(Layer, frozen=True, kw_only=True):
    """0 where all features of a timestep equal ``mask_value``, otherwise 1: a mask for a `GRU` (Keras ``Masking``)."""

    reads_all: ClassVar[bool] = True

    mask_value: float = 0.0

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return 1


class TokenMask(Layer, frozen=True, kw_only=True):
    """0 where the token is ``token``, otherwise 1: a mask for a `GRU` (Keras ``Embedding`` with ``mask_zero``).

    Reads a token input.
    """

    reads_tokens: ClassVar[bool] = True
    from_zero: ClassVar[tuple[str, ...]] = ("token",)

    token: int = 0

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        if self.token >= input_sizes[0]:
            raise ModelError(
                f"layer {self.name!r}: expected a token of the vocabulary of {input_sizes[0]}, got {self.token}"
            )
        return 1
