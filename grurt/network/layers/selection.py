"""One timestep of a sequence."""

from collections.abc import Mapping
from typing import ClassVar

from grurt.network.layers.base import Layer

__all__ = ["FirstStep", "LastStep"]


class LastStep(Layer, frozen=True, kw_only=True):
    """The value at the last timestep of a sequence. In a stream: at the latest, the answer so far.

    Parameters
    ----------
    by_length
        Whether the last timestep of a padded sequence is that before its end, as in ``y[arange(batch), lengths - 1]``,
        also where the source runs on to the end of the longest; see `grurt.LengthsPort`.
    """

    needs_sequence: ClassVar[bool] = True
    passes_on: ClassVar[bool] = True
    later_fields: ClassVar[Mapping[str, int]] = {"by_length": 2}

    by_length: bool = False

    @property
    def selects_timestep(self) -> bool:
        return True


class FirstStep(Layer, frozen=True, kw_only=True):
    """The value at the first timestep of a sequence: of a reverse GRU, its final state. Cannot stream."""

    needs_sequence: ClassVar[bool] = True

    @property
    def selects_timestep(self) -> bool:
        return True

    @property
    def unstreamable_reason(self) -> str | None:
        return f"layer {self.name!r} reads the first timestep of the finished sequence"
