"""The axes of tensors, followed through a graph to what each of them means.

ONNX knows axes by position, and exporters transpose, merge and squeeze them. Here an axis is an object that keeps its
identity through all of that. What it means, its *role*, is learned where an operator says so: a GRU scans the time
axis, a matrix multiplication contracts the features. Sizes never identify an axis, so it does not matter if the batch
has as many sequences as a layer has units.

A dimension of a tensor is the tuple of the axes that it merges, outermost first: ``()`` for a dimension of size 1
that means nothing, ``(axis,)`` in most cases, ``(batch, time)`` after a reshape that merged the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Self

from grurt.converters.graph.nodes import Node
from grurt.errors import ConversionError, DesignReason, UnsupportedError


class Role(Enum):
    """What an axis means."""

    BATCH = "batch"
    TIME = "time"
    FEATURE = "feature"
    STATE = "state"
    POSITION = "position"


_AGAINST = {
    frozenset((Role.TIME, Role.FEATURE)): DesignReason.SEQUENCE_LENGTH,
    frozenset((Role.TIME, Role.BATCH)): DesignReason.ACROSS_BATCH,
    frozenset((Role.FEATURE, Role.BATCH)): DesignReason.ACROSS_BATCH,
}
"""Why one axis cannot have two meanings, where that is by design."""

_JOINING = ("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "InstanceNormalization", "CumSum")
"""What joins all features without weights for each of them: over time, whole sequences of any length."""


def _against(*meanings: tuple[Role, Node | None]) -> DesignReason | None:
    """Return why one axis cannot have two meanings, told by nodes; None if that is not by design."""
    reason = _AGAINST.get(frozenset(role for role, _ in meanings))
    joins = any(
        role is Role.FEATURE and node is not None and (node.op in _JOINING or node.op.startswith("Reduce"))
        for role, node in meanings
    )
    return DesignReason.WHOLE_SEQUENCE if joins and reason is DesignReason.SEQUENCE_LENGTH else reason


class OpenFeaturesError(ConversionError):
    """An axis that the file leaves open holds the features of a layer, whose weights say how many there are.

    Parameters
    ----------
    message
        What is wrong if the axis cannot have that size.
    stand_in
        The number that stands for the size in this interpretation.
    size
        How many features there are.
    name
        The name of the size, where it is known.
    """

    def __init__(self, message: str, stand_in: int = 0, size: int = 0, name: str = "") -> None:
        super().__init__(message)
        self.stand_in = stand_in
        self.size = size
        self.name = name


class NotTimeError(UnsupportedError):
    """The axis that was tried as time cannot be it. Has no message: the next is tried, and the first refusal shown."""


_LONGEST_WHERE = 240

REVERSED = object()
"""The order of an axis that runs from its last element to the first."""


class _United:
    """One of things that are found to be the same."""

    _same_as: Self | None = None

    @property
    def root(self) -> Self:
        """The one that stands for all that were found to be the same."""
        root = self
        while root._same_as is not None:
            root = root._same_as
        each = self
        while each._same_as is not None:  # so that no chain is followed twice
            each._same_as, each = root, each._same_as
        return root


class _Meaning(_United):
    """What axes mean that have one meaning: those found to be the same, and their parts; and which node told it."""

    def __init__(self, role: Role | None) -> None:
        self.role = role
        self.told_by: Node | None = None

    def unite(self, other: _Meaning) -> None:
        if other is not self:
            if self.role is None:
                self.role, self.told_by = other.role, other.told_by
            other._same_as = self


class Axis(_United):
    """An axis of a tensor.

    Parameters
    ----------
    size
        Its size: what the file says, or, where the file leaves it open, a number chosen for this interpretation.
    where
        Says in error messages which axis this is.
    role
        Its meaning, where that is known at once.
    dynamic
        Whether the file leaves the size open.
    part_of
        The axis that this is a part of, or another order of: the two have one meaning.
    order
        What sorted its elements, or `REVERSED`, where that is not their own order: axes in different orders are never
        the same.
    kept
        Of a stack: which positions of another axis a Slice has kept, so far as it says how far they might go on.
    """

    def __init__(
        self,
        size: int,
        where: str,
        role: Role | None = None,
        *,
        dynamic: bool = False,
        part_of: Axis | None = None,
        order: object = None,
        kept: range | None = None,
    ) -> None:
        self.size = size
        self.kept = kept
        self.where = where if len(where) <= _LONGEST_WHERE else f"{where[:_LONGEST_WHERE]} ..."
        self.dynamic = dynamic
        self.order = order
        self._part_of = part_of
        self._meaning: _Meaning = _Meaning(role) if part_of is None else part_of._meaning.root

    def __repr__(self) -> str:
        return f"<Axis {self.where}: {self.size}, {self.role}>"

    @property
    def role(self) -> Role | None:
        """The axis's meaning; None as long as no operator has told it."""
        return self._meaning.root.role

    def require(self, role: Role, node: Node) -> None:
        """Learn the axis's meaning; UnsupportedError if it was found to mean something else."""
        meaning = self._meaning.root
        if (known := meaning.role) is None:
            meaning.role, meaning.told_by = role, node
        elif known is not role:
            other = meaning.told_by
            elsewhere = "elsewhere" if other is None or other.op == node.op == "input" else f"of {other}"
            raise node.unsupported(
                f"{self.where} serves as the {role.value} axis here and as the {known.value} axis {elsewhere}",
                "each GRU must scan the same time axis, and layers must work on the features of one timestep",
                _against((role, node), (known, other)),
            )

    @property
    def is_reversed(self) -> bool:
        """Whether the axis runs from the last element to the first."""
        return self.root.order is REVERSED

    def reversed(self) -> Axis:
        """Return the axis with its elements in reverse order: of a reversed one, the one that it is the reverse of."""
        root = self.root
        if root.order is REVERSED and root._part_of is not None:
            return root._part_of
        return Axis(self.size, f"{self.where}, reversed", dynamic=self.dynamic, part_of=self, order=REVERSED)

    def unify(self, other: Axis, node: Node) -> None:
        """Learn that two axes are the same."""
        mine, others = self.root, other.root
        if mine is others:
            return
        if mine.order is not others.order:
            raise node.unsupported(
                f"{self.where} meets {other.where} in another order",
                "sort or reverse both, or none, before they are combined",
            )
        if mine.size != others.size and not (mine.dynamic or others.dynamic):
            raise node.unsupported(
                f"{self.where} of size {mine.size} meets {other.where} of size {others.size}",
                "values that are combined must have the same axes",
            )
        if others.role is not None:
            mine.require(others.role, node)
        elif mine.role is not None:
            others.require(mine.role, node)
        mine._meaning.root.unite(others._meaning.root)
        if mine.order is not None and mine._part_of is not None and others._part_of is not None:
            mine._part_of.unify(others._part_of, node)
        mine._part_of = mine._part_of or others._part_of
        others._same_as = mine


Dim = tuple[Axis, ...]


def dim_size(dim: Dim) -> int:
    """Return the size of a dimension: the product of the axes that it merges."""
    return math.prod(axis.size for axis in dim)


def regroup(dims: Sequence[Dim], dropped: Dim, shape: Sequence[int], node: Node) -> tuple[tuple[Dim, ...], Dim]:
    """Reshape: return the axes of ``dims`` distributed over dimensions of the given sizes, and the axes left over.

    A reshape keeps the order of the elements, so axes of size 2 and more fall into the new dimensions in just one way.
    For axes of size 1, in files exported with a batch of one sequence or a sequence of one timestep, there is a
    choice: each keeps a dimension of its own between the same neighbours if there is one, features before batch before
    time, and features that were last are last again; else any free dimension of size 1; else it is left over, and comes
    back with the next free dimension, if only one of them can: of several nothing tells which is which.

    Raises
    ------
    UnsupportedError
        If an axis would be split.
    """
    slots = [axis for dim in dims for axis in (dim or (_placeholder(),))]
    groups = _distribute([axis for axis in slots if axis.size > 1], shape, node)
    free = [index for index, size in enumerate(shape) if size == 1]
    placed: dict[int, Axis] = {}
    for gap, units in _by_gap(slots).items():
        candidates = [index for index in free if sum(map(len, groups[:index])) == gap]
        if units[-1] is slots[-1] and units[-1].role is Role.FEATURE and candidates[-1:] == [len(shape) - 1]:
            placed[candidates.pop()] = units.pop()
        placed.update(zip(candidates, _most_important(units, len(candidates)), strict=False))
    waiting = [axis for axis in slots if axis.size == 1 and axis.where and axis not in placed.values()]
    left_over = list(dropped)
    open_places = [index for index in free if index not in placed or not placed[index].where]
    is_clear = len(open_places) - len(waiting) < 2 or len(left_over) < 2
    for index in open_places:
        axis = waiting.pop(0) if waiting else left_over.pop() if left_over and is_clear else None
        placed.pop(index, None)
        groups[index] = [] if axis is None else [axis]
    groups = [[placed[index]] if index in placed else group for index, group in enumerate(groups)]
    return tuple(map(tuple, groups)), (*left_over, *waiting)


def _placeholder() -> Axis:
    return Axis(1, "")


def _distribute(axes: Iterable[Axis], shape: Sequence[int], node: Node) -> list[list[Axis]]:
    remaining = list(axes)
    groups = []
    for size in shape:
        group: list[Axis] = []
        while remaining and math.prod(axis.size for axis in group) < size:
            group.append(remaining.pop(0))
        if math.prod(axis.size for axis in group) != size:
            culprit = group[-1].where if group else "an axis"
            raise node.unsupported(
                f"the reshape to {tuple(shape)} splits {culprit}",
                "only the features of a timestep can be split, into parts of one size, not timesteps or sequences",
            )
        groups.append(group)
    return groups


def _by_gap(slots: Iterable[Axis]) -> dict[int, list[Axis]]:
    """Return the axes of size 1 by how many larger ones stand before them."""
    gaps: dict[int, list[Axis]] = {}
    gap = 0
    for axis in slots:
        if axis.size > 1:
            gap += 1
        else:
            gaps.setdefault(gap, []).append(axis)
    return gaps


def _most_important(units: list[Axis], count: int) -> list[Axis]:
    order = {Role.FEATURE: 0, Role.STATE: 0, Role.POSITION: 0, Role.BATCH: 1, None: 1, Role.TIME: 2}
    ranked = sorted(units, key=lambda axis: order[axis.role] if axis.where else 3)
    kept = ranked[:count]
    return [axis for axis in units if axis in kept]
