"""Contexts of several lengths: what a graph works out along an axis that may be shorter than it is.

A program has fixed shapes: those of the largest size. A shorter context is filled up with zeros, and wherever the graph
adds numbers up along the axis, compares them, or weighs them by a softmax, those behind the end are left out. Which
axis that is of every value, the same graph shows where the size is larger by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from grurt.converters.literal.builder import FLOAT, ProgramBuilder
from grurt.converters.literal.simplify import live_operators
from grurt.converters.literal.values import Traced, Value
from grurt.errors import UnsupportedError
from grurt.network import operators as op
from grurt.network.operators.base import Operator

_NOTHING = {"sum": 0.0, "mean": 0.0, "l1": 0.0, "l2": 0.0, "sum_square": 0.0, "max": -math.inf, "min": math.inf}
"""What changes no result of a reduction."""

_PLACE_BY_PLACE = (op.Apply, op.Combine, op.Where, op.PRelu, op.Transpose, op.Expand)
"""Operators that make of one place along an axis one place of what they write."""

_SHAPES = {"shape", "sizes"}
"""Fields of operators that say how large something is."""


class LengthMasks:
    """Leaves out what lies behind the end of contexts wherever a program looks along an open axis.

    Parameters
    ----------
    build
        The program, with the largest size. Its operators are replaced.
    wider
        The same, where the size is larger by one.
    inputs
        The values of the inputs of both, side by side.
    name, size
        The source's name of the size, and the largest.
    """

    def __init__(
        self,
        build: ProgramBuilder,
        wider: ProgramBuilder,
        inputs: Iterable[tuple[Traced, Traced]],
        name: str,
        size: int,
    ) -> None:
        self._build, self._wider = build, wider
        self._name, self._size = name, size
        self._axes: dict[str, int] = {}
        """Along which axis of a value places may be missing."""
        self._masks: dict[tuple[int, int], Traced] = {}
        for own, other in inputs:
            self._compare(own.name, other.name)
        self._zero = set(self._axes)
        """Values that are 0 there."""
        self.mask = build.input((size,), FLOAT)
        """1 at each place that there is, and 0 behind them."""
        build.source_names[self.mask.name] = f"mask of {name}"

    def axis(self, value: Value) -> int | None:
        """Return the axis of a value along which places may be missing."""
        return self._axes.get(value.name) if isinstance(value, Traced) else None

    def apply(self, wanted: Sequence[tuple[Value, Value]]) -> dict[str, Traced]:
        """Replace the operators; return what takes the place of those values that are wanted, by their names.

        Raises
        ------
        UnsupportedError
            If what the program computes depends on the size in another way.
        """
        names = [
            (own.name, other.name) for own, other in wanted if isinstance(own, Traced) and isinstance(other, Traced)
        ]
        own = live_operators(self._build.operators, [name for name, _ in names])
        other = live_operators(self._wider.operators, [name for _, name in names])
        if [each.kind for each in own] != [each.kind for each in other]:
            raise self._refusal("the size changes what is computed")
        self._build.operators = []
        for operator, wider in zip(own, other, strict=True):
            self._add(operator, wider)
        return {name: self._filled(name, 0.0) for name, _ in names if name in self._axes}

    def _compare(self, own: str, other: str) -> None:
        """Take note of the axis along which a value is longer where the size is."""
        shape, wider = self._build.shapes[own], self._wider.shapes[other]
        if shape == wider:
            return
        longer = [axis for axis, sizes in enumerate(zip(shape, wider, strict=False)) if sizes[0] != sizes[1]]
        if len(shape) != len(wider) or len(longer) != 1 or shape[longer[0]] != self._size != wider[longer[0]] - 1:
            raise self._refusal(f"a value of shape {shape} would be of shape {wider} where it is larger by one")
        self._axes[own] = longer[0]

    def _refusal(self, reason: str) -> UnsupportedError:
        return UnsupportedError(
            f"size {self._name[:100]!r}: the graph does more along it than to leave out what is not there: {reason}; "
            "export it with a size that is fixed"
        )

    def _add(self, operator: Operator, wider: Operator) -> None:
        for own, other in zip(operator.inputs, wider.inputs, strict=True):
            if own in self._build.constants:
                self._compare_constants(own, other)
        for own, other in zip(operator.outputs, wider.outputs, strict=True):
            if own and other:
                self._compare(own, other)
        self._compare_fields(operator, wider)
        if self._axes.keys().isdisjoint((*operator.inputs, *operator.outputs)):
            self._build.operators.append(operator)
        else:
            self._build.operators.append(self._masked(operator))

    def _compare_constants(self, own: str, other: str) -> None:
        self._compare(own, other)
        array, wider = self._build.constants[own], self._wider.constants[other]
        if own in self._axes:
            wider = wider.take(range(self._size), self._axes[own])
        if not np.array_equal(array, wider, equal_nan=True):
            raise self._refusal("numbers that it computes with are others for another size")

    def _compare_fields(self, operator: Operator, wider: Operator) -> None:
        for name in operator.__struct_fields__:
            own, other = getattr(operator, name), getattr(wider, name)
            if own == other or name in ("inputs", "outputs"):
                continue
            if name not in _SHAPES or operator.outputs[0] not in self._axes:
                raise self._refusal(f"{operator.where}: its {name} would be {other} in place of {own}")

    def _masked(self, operator: Operator) -> Operator:
        """Return an operator that leaves out what lies behind the end; what it needs for that is added before it."""
        axes = [self._axes.get(name) for name in operator.inputs]
        out = self._axes.get(operator.outputs[0])
        match operator:
            case op.MatMul():
                return self._of_product(operator, axes)
            case op.Softmax(axis=axis, log=False) if axis == axes[0]:
                self._zero.add(operator.outputs[0])
                return self._reading(operator, 0, -math.inf)
            case op.Reduce() if axes[0] in operator.axes:
                return self._of_reduction(operator)
            case op.Softmax() | op.Reduce() | op.Normalize() if out == axes[0] and not self._works_along(operator):
                return operator
            case op.Reshape() if self._keeps_places(operator):
                self._zero |= {operator.outputs[0]} if operator.inputs[0] in self._zero else set()
                return operator
            case op.Slice() if out is not None or self._shows_the_first(operator):
                return operator
            case op.Concat(axis=axis) if out is not None and out != axis:
                return operator
        if not isinstance(operator, _PLACE_BY_PLACE) or out is None:
            raise self._refusal(f"{operator.where} has no meaning without some of the places")
        if operator.moves and operator.inputs[0] in self._zero:
            self._zero.add(operator.outputs[0])
        return operator

    def _works_along(self, operator: op.Softmax | op.Reduce | op.Normalize) -> bool:
        along = (operator.axis,) if isinstance(operator, op.Softmax) else operator.axes
        return self._axes[operator.inputs[0]] in along

    def _of_product(self, operator: op.MatMul, axes: Sequence[int | None]) -> Operator:
        left, right = (len(self._build.shapes[name]) for name in operator.inputs[:2])
        if axes[0] == left - 1 and axes[1] == right - 2:
            return self._reading(self._reading(operator, 0, 0.0), 1, 0.0)
        return operator

    def _of_reduction(self, operator: op.Reduce) -> Operator:
        reading = self._reading(operator, 0, _NOTHING[operator.operation])
        if operator.operation != "mean":
            return reading
        build, axis = self._build, self._axes[operator.inputs[0]]
        places = self._mask(len(build.shapes[operator.inputs[0]]), axis)
        count = build.emit(op.Reduce, places, axes=(axis,), operation="sum")
        others = math.prod(build.shapes[operator.inputs[0]][each] for each in operator.axes if each != axis)
        total = build.emit(op.Combine, count, np.full((1,) * count.ndim, others, np.float32), operation="mul")
        summed = build.input(build.shapes[operator.outputs[0]], FLOAT)
        build.operators.append(msgspec.structs.replace(reading, operation="sum", outputs=(summed.name,)))
        return op.Combine(inputs=(summed.name, total.name), outputs=operator.outputs, operation="div")

    def _keeps_places(self, operator: op.Reshape) -> bool:
        """Whether the axis stays an axis of its own."""
        read, written = operator.inputs[0], operator.outputs[0]
        if read not in self._axes or written not in self._axes:
            return False
        shape = self._build.shapes[read]
        return math.prod(shape[: self._axes[read]]) == math.prod(operator.shape[: self._axes[written]])

    def _shows_the_first(self, operator: op.Slice) -> bool:
        """Whether a slice shows the first place, which there always is."""
        axis = self._axes[operator.inputs[0]]
        return operator.sizes[axis] == 1 and operator.starts[axis] == 0

    def _reading(self, operator: Operator, place: int, filling: float) -> Operator:
        """Return an operator that reads a number in place of what lies behind the end of one of its inputs."""
        name = self._filled(operator.inputs[place], filling).name
        return msgspec.structs.replace(operator, inputs=(*operator.inputs[:place], name, *operator.inputs[place + 1 :]))

    def _filled(self, name: str, filling: float) -> Traced:
        """Return a value with a number in the place of what lies behind the end."""
        shape = self._build.shapes[name]
        value = Traced(name, shape, FLOAT)
        if filling == 0.0 and name in self._zero:
            return value
        mask = self._mask(len(shape), self._axes[name])
        filled = self._build.emit(op.Where, mask, value, np.full((1,) * len(shape), filling, np.float32), dtype=FLOAT)
        if filling == 0.0:
            self._zero.add(filled.name)
        self._axes[filled.name] = self._axes[name]
        return filled

    def _mask(self, rank: int, axis: int) -> Traced:
        """Return the mask as it stands beside a value of some axes."""
        if (rank, axis) not in self._masks:
            shape = tuple(self._size if each == axis else 1 for each in range(rank))
            self._masks[rank, axis] = self._build.emit(op.Reshape, self.mask, shape=shape)
        return self._masks[rank, axis]
