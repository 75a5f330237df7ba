"""The inputs and outputs of a model."""

from typing import ClassVar

import msgspec


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="features", tag_field="kind"):
    """A model input of ``size`` float32 features per timestep."""

    name: str
    size: int

    tokens: ClassVar[bool] = False

    @property
    def vector_shape(self) -> tuple[int, ...]:
        """Shape of what the input reads at a timestep."""
        return (self.size,)


class TokenInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="tokens", tag_field="kind"):
    """A model input of one token id per timestep, an integer in ``[0, vocabulary_size)``."""

    name: str
    vocabulary_size: int

    tokens: ClassVar[bool] = True
    vector_shape: ClassVar[tuple[int, ...]] = ()

    @property
    def size(self) -> int:
        """How many different tokens there are."""
        return self.vocabulary_size


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model output: its public name, and the name of the value that it shows."""

    name: str
    value: str


AnyInput = Input | TokenInput
