"""How the vectors of a timestep lie in a row of a table: the model's inputs, or its outputs, side by side."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from grurt.array_types import Floats
from grurt.model import Model

StepValue = Floats | int
"""What one input takes in a timestep: features ``(size,)``, or a token."""


@dataclass(frozen=True)
class Part:
    """One input or output: its place in the row."""

    name: str
    size: int
    tokens: bool


@dataclass(frozen=True)
class Layout:
    """The parts of a row, in order."""

    parts: tuple[Part, ...]

    @property
    def width(self) -> int:
        """How many fields a row has."""
        return sum(part.size for part in self.parts)

    @property
    def field_names(self) -> list[str]:
        """A name for each field: the part's own, numbered where the part has several fields."""
        return [
            part.name if part.size == 1 else f"{part.name}_{index}" for part in self.parts for index in range(part.size)
        ]

    @property
    def field_is_token(self) -> list[bool]:
        """For each field, whether it is a token id."""
        return [part.tokens for part in self.parts for _ in range(part.size)]

    def split(self, row: list[float]) -> StepValue | dict[str, StepValue]:
        """Return what `Stream.step` takes for a row of ``width`` numbers."""
        values: dict[str, StepValue] = {}
        start = 0
        for part in self.parts:
            fields = row[start : start + part.size]
            values[part.name] = int(fields[0]) if part.tokens else np.array(fields, np.float32)
            start += part.size
        return values if len(self.parts) > 1 else values[self.parts[0].name]

    def by_name(self, answer: Any) -> Mapping[str, Floats]:
        """Return the answer of a model as a mapping, also where it is the array of the only output."""
        return answer if isinstance(answer, Mapping) else {self.parts[0].name: answer}

    def join(self, answer: Any) -> Floats:
        """Return the row ``(width,)`` of an answer."""
        return np.concatenate([np.ravel(value) for value in self.by_name(answer).values()])


def input_layout(model: Model) -> Layout:
    """Return the layout of the model's inputs; a token is one field."""
    return Layout(tuple(Part(port.name, math.prod(port.vector_shape), port.tokens) for port in model.inputs))


def output_layout(model: Model) -> Layout:
    """Return the layout of the model's outputs."""
    return Layout(tuple(Part(port.name, model.values[port.value].size, tokens=False) for port in model.outputs))
