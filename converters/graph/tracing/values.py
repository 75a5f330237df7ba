"""What stands for a tensor while a graph is interpreted: rows of layer values, and the meaning of the axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Axis, Dim, Role, dim_size
from grurt.converters.windows import Window

MAX_STACK = 4096
"""The most values that one tensor may stack."""

SEQUENCE_RANK = 3
"""Axes of ``(batch, time, features)``."""

ROW_BYTES = 128
"""What a row takes."""


class Every(Enum):
    """All positions of an axis, one after the other, as a loop runs through them."""

    FORWARD = "forward"
    BACKWARD = "backward"


Position = int | Every


@dataclass(frozen=True)
class Factor:
    """What a state is multiplied by before each timestep.

    Parameters
    ----------
    value
        The value.
    axes
        Those of its axes that the state has too.
    units
        Axes of size 1 of value and state, which stand at the same place, and may be the same.
    """

    value: str
    axes: Dim
    units: tuple[tuple[Axis, Axis], ...] = ()


@dataclass(frozen=True)
class Row:
    """One layer value, or a selection of it.

    Parameters
    ----------
    value
        Name of the model input or layer that writes it.
    final
        Whether this is the state of a GRU after its scan rather than its outputs.
    picked
        Positions picked on axes of the value, which the row does not have any more.
    part
        Which of the value's features these are, and on which axis; None if all of them.
    factor
        What it is multiplied by, where it is a state of a GRU; None if by nothing.
    softmax_over
        The axis of time along which the softmax of these scores is meant; None if the value itself is.
    weighted_by
        The axis of time, and the scores whose softmax over it weights the value's timesteps; None if nothing does.
    """

    value: str
    final: bool = False
    picked: tuple[tuple[Axis, Position], ...] = ()
    part: tuple[Axis, int, int] | None = None
    factor: Factor | None = None
    softmax_over: Axis | None = None
    weighted_by: tuple[Axis, Tensor] | None = None

    def narrowed(self, axis: Axis, start: int, stop: int) -> Row:
        """Return some of the row's features, which lie along an axis; also of one that is a part already."""
        whole, offset = (self.part[0], self.part[1]) if self.part is not None else (axis, 0)
        return replace(self, part=(whole, offset + start, offset + stop))


@dataclass(frozen=True)
class Order:
    """Positions that bring an axis into another order: sorted, or back into its own."""

    before: Axis
    after: Axis


@dataclass(frozen=True)
class Tensor:
    """A tensor that depends on the model's inputs.

    Parameters
    ----------
    rows
        The values that it holds: one, or several along the axes ``stacks``.
    dims
        For each dimension the axes that it merges.
    stacks
        The axes along which the rows are stacked, outermost first; none if there is one row.
    dropped
        Axes of size 1 that were squeezed away.
    integer
        Whether it holds integers: inputs of the model, or positions that layers have found.
    scale, shift, shifts
        Of integers that are an input of the model: what they are multiplied by, and what is added to all of them, or
        to each.
    places
        The positions that GatherND picks, one component for each axis: integers of an input, and constants.
    ends
        Of a mask of the timesteps before the ends of sequences: whether it holds before the ends, or behind them. Its
        rows name the input that gives the lengths.
    clamped
        Whether integers that are below 0 are 0 then.
    repeats
        Axes that were made by repeating integers of an input, or such a mask.
    boolean
        Whether its 0 and 1 stand for false and true.
    padding
        Timesteps of zeros before the first one, which the value has not: a Conv reads them as its own.
    surplus
        Timesteps behind the last one, which the value has not, of a Conv that pads on both sides. A Slice may cut them.
    uncut
        The axis of the timesteps without those.
    padded
        The dimension of the timesteps that there is padding before, or a surplus behind.
    whole
        What this is, without its last timesteps: a Concat with zeros before it would be a delay.
    is_cut
        Whether the value still has the timesteps that were cut off.
    at_the_end
        Whether as many are cut off of sequences of any length, rather than as many kept.
    window
        Of rows that are timesteps which a Slice has kept: the axis that they are stacked along, and the window by which
        it keeps them of sequences of any length; None if what the file says holds for its own length only.
    order
        What a Gather with these numbers does to an axis, where they are the result of sorting.
    at
        In a loop: the axis of the row's value that this is one position of, and the position, where the loop was
        unrolled, or else that it stands for each. What a layer makes of one timestep it makes of all, so layers are
        added for the whole value, and the position stays.
    """

    rows: tuple[Row, ...]
    dims: tuple[Dim, ...]
    stacks: Dim = ()
    dropped: Dim = ()
    integer: bool = False
    scale: int = 1
    shift: int = 0
    shifts: Array | None = None
    places: tuple[Array | Tensor, ...] = ()
    ends: bool | None = None
    clamped: bool = False
    repeats: Dim = ()
    boolean: bool = False
    padding: int = 0
    surplus: int = 0
    uncut: Dim = ()
    padded: Dim = ()
    whole: Tensor | None = None
    is_cut: bool = False
    at_the_end: bool = False
    window: tuple[Axis, Window] | None = None
    order: Order | None = None
    at: tuple[Axis, Position] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape, for the sizes of this interpretation."""
        return tuple(dim_size(dim) for dim in self.dims)

    @property
    def padded_shape(self) -> tuple[int, ...]:
        """The shape as the source has it, with the timesteps of the padding."""
        return tuple(
            size + self.padding if self.padding and dim == self.padded else size
            for size, dim in zip(self.shape, self.dims, strict=True)
        )

    def with_row(self, row: Row) -> Tensor:
        """Return the same tensor, of one row, with another value."""
        return replace(self, rows=(row,))

    def with_dim(self, index: int, dim: Dim | None) -> Tensor:
        """Return the tensor with another dimension in one place, or, for None, without it."""
        middle = () if dim is None else (dim,)
        return replace(self, dims=(*self.dims[:index], *middle, *self.dims[index + 1 :]))

    def settled(self) -> Tensor:
        """Return the same tensor, with the position that it is at picked from its rows."""
        if self.at is None:
            return self
        rows = tuple(replace(row, picked=(*row.picked, self.at)) for row in self.rows)
        return replace(self, rows=rows, at=None)

    def place_in_stacks(self, axis: Axis) -> int | None:
        """Return which of the axes along which the rows are stacked an axis is; None if it is none of them."""
        return next((place for place, stack in enumerate(self.stacks) if stack.root is axis.root), None)

    @property
    def executions(self) -> int:
        """How often a loop computes this: once for each position that it stands for."""
        return self.at[0].size if self.at is not None and isinstance(self.at[1], Every) else 1

    def picking(self, axis: Axis, positions: Iterable[int]) -> tuple[Row, ...]:
        """Return the rows at some positions of an axis, in the order of the axes that they are stacked along.

        Where it is none of these, the positions are outermost.
        """
        place = self.place_in_stacks(axis)
        if place is None:
            return tuple(
                replace(row, picked=(*row.picked, (axis, position))) for position in positions for row in self.rows
            )
        kept, inner = tuple(positions), math.prod(stack.size for stack in self.stacks[place + 1 :])
        starts = range(0, len(self.rows), axis.size * inner)
        return tuple(
            self.rows[start + position * inner + offset]
            for start in starts
            for position in kept
            for offset in range(inner)
        )


Value = Array | Tensor
"""A tensor of the graph: known numbers, or something that depends on the model's inputs."""

Arguments = tuple[Value | None, ...]
"""What a node reads; None where an optional input is left out."""


def stacked(count: int, node: Node, kept: range | None = None) -> Dim:
    """Return the dimension that rows are stacked along: nothing for a single row; ``kept``: see `Axis`."""
    where = f"the axis along which {node} stacks its values"
    return () if count == 1 else (Axis(count, where, Role.STATE, kept=kept),)
