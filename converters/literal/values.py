"""What stands for a tensor while a graph is interpreted: known numbers, or a value of the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node


@dataclass(frozen=True, eq=False)
class Traced:
    """A tensor that depends on the network's inputs.

    Parameters
    ----------
    name
        Names the value in the program that is being built.
    shape
        Its shape.
    dtype
        That of the source, which divides whole numbers in another way; the program itself has float32 only.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def is_integer(self) -> bool:
        """Whether its numbers are whole."""
        return self.dtype.kind in "iub"


Value = Array | Traced
Arguments = tuple[Value | None, ...]


def is_constant(value: Value | None) -> TypeGuard[Array]:
    """Say whether a value is known."""
    return isinstance(value, np.ndarray)


def given(node: Node, args: Arguments, index: int = 0) -> Value:
    """Return an input that may not be left out."""
    value = args[index] if index < len(args) else None
    if value is None:
        raise node.invalid(f"its input {index} is missing")
    return value


def optional(args: Arguments, index: int) -> Value | None:
    """Return an input, or None if it is left out."""
    return args[index] if index < len(args) else None


def scalar(value: Value | None) -> float | None:
    """Return the number that a constant of one element is; None of anything else."""
    return (
        float(value.reshape(-1)[0]) if is_constant(value) and value.size == 1 and value.dtype.kind in "fiub" else None
    )
