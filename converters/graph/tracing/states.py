"""What is known of the states of GRUs: where they come from, the loops that hand them on, where sequences end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grurt.converters.graph.tracing.axes import Axis


@dataclass(frozen=True)
class StateSource:
    """Where the initial state of a GRU comes from.

    A graph input, the position on its state axis if it has one, and the first of the features that belong to the GRU.
    """

    input: str
    position: int
    axis: Axis | None
    start: int = 0


@dataclass(frozen=True)
class Loop:
    """A loop over the timesteps that was unrolled: a GRU layer, what it reads, and which axis it scans which way."""

    gru: str
    inputs: tuple[str, ...]
    weights: tuple[int, ...]
    time: Axis
    direction: Literal["forward", "reverse"]

    @property
    def last(self) -> int:
        """The position of the last timestep that the loop reaches."""
        return self.time.size - 1 if self.direction == "forward" else 0

    def before(self, position: int) -> int:
        """Return the position before another in the loop's order."""
        return position - 1 if self.direction == "forward" else position + 1


Lengths = str | tuple[int, ...]
"""The lengths of padded sequences: the graph input that gives them, or constants; empty if sequences are not padded."""
