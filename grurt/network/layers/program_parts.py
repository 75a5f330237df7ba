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

    kind: str
    """Of the first operator."""
    matrices: dict[str, Axes]
    """The axes that products sum over, by the names of the constants."""


def program_parts(
    operators: Iterable[Operator], constants: Mapping[str, Shape], shapes: Mapping[str, Shape], shown: Collection[str]
) -> list[ProgramPart]:
    """Return what may be quantized, in the order in which it is read first.

    No constant is a matrix that anything else reads too, that is ``shown`` outside, that operators sum over along
    different axes, or whose scale would have the name of another constant.

    Parameters
    ----------
    operators
        Those of a program.
    constants, shapes
        The shapes of its constants, and of all its values.
    shown
        Names of what it hands out: results, and what states begin as or become.
    """
    parts: dict[int, ProgramPart] = {}
    part_of: dict[str, int] = {}
    others = {name for name in constants if f"{name}_scale" in constants} | {*shown}
    for number, operator in enumerate(operators):
        places = _matrices(operator, constants, shapes)
        others |= {name for place, name in enumerate(operator.inputs) if place not in places}
        matrices = {operator.inputs[place]: axes for place, axes in places.items()}
        sharing = sorted({part_of[name] for name in matrices if name in part_of})
        first = sharing[0] if sharing else number
        joined = [matrices, *(parts.pop(other).matrices for other in sharing[1:])]
        for each in joined if matrices else ():
            part = parts.setdefault(first, ProgramPart(operator.kind, {}))
            others |= {name for name, axes in each.items() if part.matrices.setdefault(name, axes) != axes}
            part_of |= dict.fromkeys(each, first)
    return [parts[number] for number in sorted(parts) if others.isdisjoint(parts[number].matrices)]


def _matrices(operator: Operator, constants: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> Mapping[int, Axes]:
    """Return the places where an operator reads constants as weight matrices, with the axes that it sums over."""
    if all(name in constants for name in operator.inputs[:2]):  # what is multiplied is constant too
        return {}
    summed = operator.matrices(*(shapes[name] for name in operator.inputs))
    return {place: axes for place, axes in summed.items() if operator.inputs[place] in constants}
