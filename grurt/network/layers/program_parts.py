"""Which constants of a step program may be quantized: those that are read as weight matrices, and as nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from grurt.network.layers.base import Shape

if TYPE_CHECKING:
    from grurt.network.layers.program import Program
    from grurt.network.operators import Operator

Axes = tuple[int, ...]


class ProgramPart(NamedTuple):
    """Matrices that are quantized together: those of one operator, or of several that share some."""

    kind: str
    """Of the first operator."""
    matrices: dict[str, Axes]
    """The axes that products sum over, by the names of the constants."""


def program_parts(program: Program) -> list[ProgramPart]:
    """Return what may be quantized of a program, in the order in which it is read first.

    No constant is a matrix that anything else reads too, that operators sum over along different axes, or whose scale
    would have the name of another constant.
    """
    shapes = program.shapes()
    parts: list[ProgramPart] = []
    others = {name for name in program.constants if f"{name}_scale" in program.constants}
    others |= {name for state in program.states for name in (state.initial, state.result) if name} | {*program.results}
    for operator in program.operators:
        places = _matrices(operator, program.constants, shapes)
        others |= {name for place, name in enumerate(operator.inputs) if place not in places}
        matrices = {operator.inputs[place]: axes for place, axes in places.items()}
        sharing = [part for part in parts if not part.matrices.keys().isdisjoint(matrices)]
        place = parts.index(sharing[0]) if sharing else len(parts)
        for part in sharing:
            parts.remove(part)
            others |= {name for name, axes in matrices.items() if part.matrices.get(name, axes) != axes}
            matrices = part.matrices | matrices
        if matrices:
            parts.insert(place, ProgramPart(sharing[0].kind if sharing else operator.kind, matrices))
    return [part for part in parts if others.isdisjoint(part.matrices)]


def _matrices(operator: Operator, constants: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> Mapping[int, Axes]:
    """Return the places where an operator reads constants as weight matrices, with the axes that it sums over."""
    if all(name in constants for name in operator.inputs[:2]):  # what is multiplied is constant too
        return {}
    summed = operator.matrices(*(shapes[name] for name in operator.inputs))
    return {place: axes for place, axes in summed.items() if operator.inputs[place] in constants}
