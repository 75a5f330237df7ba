"""The operators that are understood, each registered where it is converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.values import Arguments, Value

Handler = Callable[[Node, Arguments, Builder], tuple[Value, ...]]
FeaturesAt = Callable[[Node, int], int | None]


@dataclass(frozen=True)
class Operator:
    """How an operator is converted, and what it may be given.

    Parameters
    ----------
    convert
        Returns what the operator writes.
    in_loops
        What it does with a value that is one timestep of an unrolled loop: the same as with every other timestep
        (``"alike"``); it reads that timestep alone, picked from its sequence (``"single"``); or it sees for itself
        which timesteps it reads (``"aware"``).
    moves_axes
        Whether it only moves axes, or sees for itself which of them it reads: positions need no dimension of their own.
    reads_padding
        Whether it sees for itself what a sequence is padded with, before or behind, or what was cut off.
    reads_repeats
        Whether it sees for itself what a constant repeats. Constants that others read cost what they take written out.
    features_at
        Returns which dimension of the first input, of a rank, holds features; None if the operator does not tell.
    """

    convert: Handler
    in_loops: Literal["alike", "single", "aware"]
    moves_axes: bool
    reads_padding: bool
    reads_repeats: bool
    features_at: FeaturesAt


OPERATORS: dict[str, Operator] = {}
"""Every operator by name."""


def operator(
    *names: str,
    in_loops: Literal["alike", "single", "aware"] = "alike",
    moves_axes: bool = False,
    reads_padding: bool = False,
    reads_repeats: bool = False,
    features_at: FeaturesAt = lambda node, rank: None,
) -> Callable[[Handler], Handler]:
    """Register a handler for operators of these names; see `Operator`."""

    def register(handler: Handler) -> Handler:
        entry = Operator(handler, in_loops, moves_axes, reads_padding, reads_repeats, features_at)
        OPERATORS.update(dict.fromkeys(names, entry))
        return handler

    return register


def second(node: Node, rank: int) -> int | None:
    """Return the dimension of features in ``(batch, features, ...)``."""
    return 1 if rank > 1 else None


def last(node: Node, rank: int) -> int | None:
    """Return the dimension of features in ``(..., features)``."""
    return rank - 1 if rank else None
