"""Which constants of a step program may be quantized: those that are read as weight matrices, and as nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from grurt.network.layers.base import Shape

if TYPE_CHECKING:
    from grurt.network.operators import Operator

Axes = tuple[int, ...]


class ProgramPart(NamedTuple):
    """Matrices that are quantized together: those of one operator, or of several that share some."""

    number: int
    """By which they are ordered."""
    kind: str
    """Of the first operator."""
    matrices: dict[str, Axes]
    """The axes that products sum over, by the names of the constants."""


def program_parts(
    operators: Iterable[Operator],
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Shape],
    handed_on: Collection[str],
) -> list[ProgramPart]:
    """Return what may be quantized of a program, in the order in which it is read first.

    No constant is a matrix that anything else reads too, that operators sum over along different axes, or whose scale
    would have the name of another constant; nor is what is ``handed_on``, as a result or a state.
    """
    parts: dict[str, ProgramPart] = {}  # by the names of all their matrices
    others = {name for name in constants if f"{name}_scale" in constants}.union(handed_on)
    for operator in operators:
        places = _matrices(operator, constants, shapes)
        others |= {name for place, name in enumerate(operator.inputs) if place not in places}
        read = {operator.inputs[place]: axes for place, axes in places.items()}
        sharing = list({id(parts[name]): parts[name] for name in read if name in parts}.values())
        part = min(sharing, key=lambda part: part.number, default=ProgramPart(len(parts), operator.kind, {}))
        for matrices in (*(other.matrices for other in sharing if other is not part), read):
            others |= {name for name, axes in matrices.items() if part.matrices.get(name, axes) != axes}
            part.matrices.update(matrices)
            parts |= dict.fromkeys(matrices, part)
    found = sorted({part.number: part for part in parts.values()}.items())
    return [part for _, part in found if others.isdisjoint(part.matrices)]


def _matrices(operator: Operator, constants: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> Mapping[int, Axes]:
    """Return the places where an operator reads constants as weight matrices, with the axes that it sums over."""
    if all(name in constants for name in operator.inputs[:2]):  # what is multiplied is constant too
        return {}
    summed = operator.matrices(*(shapes[name] for name in operator.inputs))
    return {place: axes for place, axes in summed.items() if operator.inputs[place] in constants}
