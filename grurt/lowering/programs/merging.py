"""Small GRUs that do not wait for each other become one: its hidden units fill the lanes of a vector.

So do the two directions of one. A GRU of four hidden units takes as long as one of sixteen: what takes the time is
that each timestep waits for the one before. What runs backwards is handed its input backwards, and its answers are
turned round again. Weights between units of different GRUs are 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from grurt.lowering.programs.constants import Constant
from grurt.lowering.programs.views import ROW
from grurt.network import operators as op

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.lowering.packing import Numbers
    from grurt.network.operators.base import Shape

MERGED = "\0merged "
"""What the names of values begin with that merging adds: no name of a model has such a character."""


class _Part(NamedTuple):
    """One direction of a GRU, and where its hidden units and its features are among those of the merged one."""

    gru: op.GRU
    direction: int
    is_reversed: bool
    first_unit: int
    first_feature: int


@dataclass
class _Group:
    """GRUs that are merged, by their numbers, how many units they have, and which operators one of them waits for.

    Sets of operators are integers with a bit for each: there may be thousands of them.
    """

    members: list[int]
    units: int = 0
    own: int = 0
    waits_for: int = 0


def merge_scans(
    operators: Sequence[op.Operator], shapes: Mapping[str, Shape], constants: Mapping[str, Constant]
) -> tuple[list[op.Operator], dict[str, Constant]]:
    """Return operators in which small GRUs are merged, and the constants that they have beside those that are given."""
    of_all: dict[str, Constant] = {}
    replaced: dict[int, list[op.Operator]] = {}
    for number, members in enumerate(_groups(operators, shapes, constants)):
        grus = [operators[i] for i in members]
        merged, of_merged = _merged(f"{MERGED}{number} ", grus, shapes, constants)  # type: ignore[arg-type]
        replaced |= {i: [] for i in members[:-1]} | {members[-1]: merged}
        of_all |= of_merged
    listed = [each for i, operator in enumerate(operators) for each in replaced.get(i, [operator])]
    ordered = _in_order(listed)
    return (ordered, of_all) if ordered is not None else (list(operators), {})


def _groups(
    operators: Sequence[op.Operator], shapes: Mapping[str, Shape], constants: Mapping[str, Constant]
) -> list[list[int]]:
    """Return the numbers of GRUs that fit into a vector together."""
    groups: dict[object, list[_Group]] = {}
    waits_for: dict[str, int] = {}
    for number, operator in enumerate(operators):
        waits = reduce(or_, (waits_for.get(name, 0) for name in operator.inputs), 0)
        if isinstance(operator, op.GRU) and shapes[operator.inputs[0]][0] > 1:
            candidates = groups.setdefault(_likeness(operator, shapes, constants), [])
            units = _units(operator)
            fitting = (group for group in candidates if not waits & group.own and units + group.units <= ROW)
            group = next(fitting, None) or _Group([])
            if not group.members:
                candidates.append(group)
            group.members.append(number)
            group.units += units
            group.own |= 1 << number
            group.waits_for |= waits
            waits = waits | group.waits_for | group.own
        waits_for |= {name: waits for name in operator.outputs if name}
    found = [group.members for several in groups.values() for group in several]
    return [members for members in found if _is_worth_it([operators[i] for i in members])]


def _likeness(gru: op.GRU, shapes: Mapping[str, Shape], constants: Mapping[str, Constant]) -> object:
    """Return what GRUs have in common that can be merged."""
    functions = gru.gate_activation, gru.candidate_activation
    return shapes[gru.inputs[0]][:2], gru.linear_before_reset, functions, constants[gru.inputs[1]].weight_format


def _units(operator: op.Operator) -> int:
    return operator.directions * operator.hidden_size if isinstance(operator, op.GRU) else 0


def _is_worth_it(grus: Sequence[op.Operator]) -> bool:
    units = sum(map(_units, grus))
    return units <= ROW and (len(grus) > 1 or units > getattr(grus[0], "hidden_size", units))


def _merged(
    name: str, grus: Sequence[op.GRU], shapes: Mapping[str, Shape], constants: Mapping[str, Constant]
) -> tuple[list[op.Operator], dict[str, Constant]]:
    """Return the operators in place of some GRUs, and their constants. Names of new values begin with ``name``."""
    parts = _parts(grus, shapes)
    length, batch, _ = shapes[grus[0].inputs[0]]
    operators: list[op.Operator] = []
    features, states = [], []
    for i, part in enumerate(parts):
        x, h = part.gru.inputs[0], part.gru.inputs[4]
        size = part.gru.hidden_size
        if part.is_reversed:
            operators.append(_slice(x, f"{name}x{i}", shapes[x], backwards=True))
            x = f"{name}x{i}"
        features.append(x)
        operators.append(_slice(h, f"{name}h{i}", (1, batch, size), (part.direction, 0, 0)))
        states.append(f"{name}h{i}")
    operators += [
        op.Concat(inputs=tuple(features), outputs=(f"{name}x",), axis=2),
        op.Concat(inputs=tuple(states), outputs=(f"{name}h",), axis=2),
        op.GRU(
            inputs=(f"{name}x", f"{name}W", f"{name}R", f"{name}B", f"{name}h"),
            outputs=(f"{name}Y", f"{name}Y_h"),
            hidden_size=sum(part.gru.hidden_size for part in parts),
            linear_before_reset=grus[0].linear_before_reset,
            gate_activation=grus[0].gate_activation,
            candidate_activation=grus[0].candidate_activation,
        ),
    ]
    for gru in grus:
        operators += _answers(name, gru, [part for part in parts if part.gru is gru], (length, batch))
    return operators, {f"{name}{key}": constant for key, constant in _weights(parts, constants).items()}


def _parts(grus: Iterable[op.GRU], shapes: Mapping[str, Shape]) -> list[_Part]:
    parts = []
    unit = feature = 0
    for gru in grus:
        for direction in range(gru.directions):
            parts.append(_Part(gru, direction, direction == 1 or gru.direction == "reverse", unit, feature))
            unit += gru.hidden_size
            feature += shapes[gru.inputs[0]][2]
    return parts


def _answers(name: str, gru: op.GRU, parts: Sequence[_Part], sizes: tuple[int, int]) -> list[op.Operator]:
    """Return the operators that take the answers of a GRU out of those of the merged one."""
    length, batch = sizes
    operators: list[op.Operator] = []
    for output, merged, axis in zip(gru.outputs, ("Y", "Y_h"), (1, 0), strict=True):
        shape = (length, 1, batch, gru.hidden_size) if merged == "Y" else (1, batch, gru.hidden_size)
        several = [f"{name}{output} {part.direction}" for part in parts]
        written = several if len(parts) > 1 else [output]
        for part, own in zip(parts, written if output else (), strict=False):
            start = (*(0,) * (len(shape) - 1), part.first_unit)
            backwards = merged == "Y" and part.is_reversed
            operators.append(_slice(f"{name}{merged}", own, shape, start, backwards=backwards))
        if output and len(parts) > 1:
            operators.append(op.Concat(inputs=tuple(several), outputs=(output,), axis=axis))
    return operators


def _slice(
    x: str, output: str, sizes: Shape, starts: Sequence[int] = (0, 0, 0), *, backwards: bool = False
) -> op.Slice:
    """Return what takes a part of a value, perhaps with its first axis backwards."""
    first, steps = starts[0], [1] * len(sizes)
    if backwards:
        first, steps[0] = sizes[0] - 1, -1
    return op.Slice(inputs=(x,), outputs=(output,), starts=(first, *starts[1:]), sizes=sizes, steps=tuple(steps))


def _weights(parts: Sequence[_Part], constants: Mapping[str, Constant]) -> dict[str, Constant]:
    """Return W, R and B of the merged GRU, whose blocks are those of the parts."""
    of_parts = [[constants[name] for name in part.gru.inputs[1:4]] for part in parts]
    first, hidden = of_parts[0], sum(part.gru.hidden_size for part in parts)
    inputs = sum(weight.values.shape[2] for weight, _, _ in of_parts)
    w: Numbers = np.zeros((3, hidden, inputs), first[0].values.dtype)
    r: Numbers = np.zeros((3, hidden, hidden), w.dtype)
    b: Floats = np.zeros((6, hidden), np.float32)
    scales = np.zeros((2, 3, hidden), np.float32)
    for part, (weight_ih, weight_hh, bias) in zip(parts, of_parts, strict=True):
        size, own = part.gru.hidden_size, part.direction
        units = slice(part.first_unit, part.first_unit + size)
        features = slice(part.first_feature, part.first_feature + weight_ih.values.shape[2])
        w[:, units, features] = weight_ih.values[own].reshape(3, size, -1)
        r[:, units, units] = weight_hh.values[own].reshape(3, size, -1)
        b[:, units] = bias.values[own].reshape(6, size)
        for scale, matrix in zip(scales, (weight_ih, weight_hh), strict=True):
            if matrix.scale is not None:
                scale[:, units] = matrix.scale[own].reshape(3, size)
    of_w, of_r = (None if first[0].scale is None else scale.reshape(1, -1, 1) for scale in scales)
    return {
        "W": Constant(w.reshape(1, -1, inputs), first[0].weight_format, of_w),
        "R": Constant(r.reshape(1, -1, hidden), first[0].weight_format, of_r),
        "B": Constant(b.reshape(1, -1)),
    }


def _in_order(operators: Sequence[op.Operator]) -> list[op.Operator] | None:
    """Return operators each behind those that write what it reads, in their order else; None if that cannot be."""
    writers = {name: i for i, operator in enumerate(operators) for name in operator.outputs if name}
    missing = [{writers[name] for name in operator.inputs if name in writers} for operator in operators]
    readers: dict[int, list[int]] = {}
    for i, needed in enumerate(missing):
        for writer in needed:
            readers.setdefault(writer, []).append(i)
    ready = [i for i, needed in enumerate(missing) if not needed]
    ordered = []
    while ready:
        i = heapq.heappop(ready)
        ordered.append(operators[i])
        for reader in readers.get(i, ()):
            missing[reader].discard(i)
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return ordered if len(ordered) == len(operators) else None
