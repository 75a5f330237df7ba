"""Masks: which timesteps a GRU skips, and what stands behind the ends of padded sequences."""

from typing import ClassVar

from grurt.errors import ModelError
from grurt.network.layers.base import Layer

__all__ = ["FeatureMask", "PastEnd", "TokenMask"]


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


class PastEnd(Layer, frozen=True, kw_only=True):
    """What it reads; but ``value`` behind the end of a padded sequence, as the model's source has it.

    Of ``y * (arange(n_steps) < lengths)`` the value is 0. A stream has no timesteps behind the end of its sequence; a
    run of sequences of several lengths has: see `grurt.LengthsPort`.
    """

    passes_on: ClassVar[bool] = True
    file_version: ClassVar[int] = 2

    value: float = 0.0
