"""What is known of the states of GRUs: where they come from, the loops that hand them on, where sequences end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grurt.converters.graph.tracing.axes import Axis
from grurt.converters.graph.tracing.values import Position


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

    def follows(self, position: Position, before: Position) -> bool:
        """Say whether a position is the one behind another, in the loop's order."""
        step = 1 if self.direction == "forward" else -1
        return isinstance(position, int) and position - step == before


Lengths = str | tuple[int, ...]
"""The lengths of padded sequences: the graph input that gives them, or constants; empty if sequences are not padded."""
