"""Convolutions and products of matrices, as contractions of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.programs.base import Lowering
from grurt.lowering.programs.layouts import channels_last
from grurt.lowering.programs.rewriting import reach
from grurt.lowering.programs.steps import Contract, Depthwise, Product, Quantize
from grurt.lowering.programs.views import (
    ROW,
    Digits,
    Storage,
    View,
    certain,
    is_dense,
    merged_digits,
    offsets,
    padded_row,
)
from grurt.network.vectors import record_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.lowering.packing import Matrix, Numbers
    from grurt.lowering.programs.constants import Constant
    from grurt.network import operators as op
    from grurt.network.operators.base import Shape

_SIDE_BY_SIDE = 0.5
"""Of the channels of a grid: where fewer lie behind another one, they are brought together."""


class Contractions(Lowering):
    """Lowers convolutions and matrix products."""

    def conv(self, operator: op.Conv) -> None:
        x, out = self._grids(operator)
        weight, bias = self._weight_and_bias(operator, out.shape[1])
        strides = _strides(x)
        taps = [
            [tap * dilation * stride for tap in range(n_taps)]
            for n_taps, dilation, stride in zip(weight.values.shape[2:], operator.dilations, strides, strict=True)
        ]
        steps = [step * stride for step, stride in zip(operator.strides, strides, strict=True)]
        rows = offsets(zip(out.shape[2:], steps, strict=True)) + x.offset
        # (outputs, inputs / groups, taps) -> (groups, outputs / groups, inputs / groups, taps)
        of_groups = weight.values.reshape(operator.groups, -1, *weight.values.shape[1:])
        self._convolve(x, out, _of_outputs(weight, of_groups), bias, (rows, _sums(taps)))

    def conv_transpose(self, operator: op.ConvTranspose) -> None:
        x, out = self._grids(operator)
        weight, bias = self._weight_and_bias(operator, out.shape[1])
        # (inputs, outputs / groups, taps) -> (groups, outputs / groups, inputs / groups, taps)
        shape = weight.values.shape
        of_groups = weight.values.reshape(operator.groups, -1, *shape[1:]).swapaxes(1, 2)
        borders, _ = reach(operator, _unpadded(operator, shape, out.shape), shape, out.shape)
        for phase in product(*map(range, operator.strides)):
            self._phase(operator, phase, borders, (x, out), _of_outputs(weight, of_groups), bias)

    def _phase(
        self,
        operator: op.ConvTranspose,
        phase: Sequence[int],
        borders: Sequence[int],
        grids: tuple[View, View],
        weight: Constant,
        bias: Floats,
    ) -> None:
        """Compute those places of the output that are the same modulo the strides: they have the same taps."""
        x, out = grids
        strides = _strides(x)
        first, taps, chosen, of_groups = x.offset, [], [], weight.values
        part = out
        for axis, place in enumerate(phase):
            stride = operator.strides[axis]
            count = -(-(out.shape[2 + axis] - place) // stride)
            if count < 1:
                return
            part = certain(part.sliced(2 + axis, place, count, stride))
            n_taps, reached = weight.values.shape[3 + axis], place + operator.before[axis]
            own = [tap for tap in range(n_taps) if (reached - tap * operator.dilations[axis]) % stride == 0]
            chosen.append(own)
            taps.append([(reached - tap * operator.dilations[axis]) // stride * strides[axis] for tap in own])
            first += borders[axis] * strides[axis]
        if not all(chosen):  # there is nothing but the bias
            chosen, taps, of_groups = [[0]] * len(phase), [[0]] * len(phase), 0 * of_groups
        for axis, own in enumerate(chosen):
            of_groups = of_groups.take(own, axis=3 + axis)
        rows = offsets(zip(part.shape[2:], strides, strict=True)) + first
        self._convolve(x, part, weight._replace(values=of_groups), bias, (rows, _sums(taps)))

    def _grids(self, operator: op.Conv | op.ConvTranspose) -> tuple[View, View]:
        """Return the input and output of a convolution, with channels last and one stride for each axis."""
        x = self.values[operator.inputs[0]]
        if _lie_apart(x.axes[1]) or any(len(merged_digits(axis)) > 1 for axis in x.axes[2:]):
            x = self.copied(x, channels_last(len(x.shape)))
        return x, self.values.new(operator.outputs[0], order=channels_last(len(x.shape)))

    def _weight_and_bias(self, operator: op.Conv | op.ConvTranspose, channels: int) -> tuple[Constant, Floats]:
        weight, *biases = (self.constants[name] for name in operator.inputs[1:])
        return weight, biases[0].floats if biases else np.zeros(channels, np.float32)

    def _convolve(
        self,
        x: View,
        out: View,
        weight: Constant,
        bias: Floats,
        where: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        """Add the steps of a convolution: of weights ``(groups, outputs, inputs, *taps)``, and of rows and taps."""
        rows, taps = where
        groups, outputs, inputs = weight.values.shape[:3]
        of_groups = weight.values.reshape(groups, outputs, inputs, -1)
        places = out.transposed((0, *range(2, len(out.axes)), 1))
        if outputs == inputs == 1 < groups and is_dense(x.axes[1]) and is_dense(out.axes[1]):
            self._depthwise(x, places, np.ascontiguousarray(of_groups[:, 0, 0].T), bias, where)
            return
        for first, count in _merged_groups(groups, outputs):
            own = slice(first * outputs, (first + count) * outputs)
            matrix = weight.matrix(_block_diagonal(of_groups[first : first + count]), own)
            part = certain(places.sliced(len(places.axes) - 1, own.start, own.stop - own.start))
            channels = offsets(x.axes[1])[first * inputs : (first + count) * inputs]
            of_row = (taps[:, np.newaxis] + channels).ravel()
            self._contract(x, part, matrix, bias[own], (rows, of_row))

    def _depthwise(
        self, x: View, places: View, weights: Floats, bias: Floats, where: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> None:
        rows, taps = where
        out_rows = places.rows()
        self.steps.append(
            Depthwise(
                inputs=(x,), outputs=(places,), rows=rows, taps=taps, out_rows=out_rows, weights=weights, bias=bias
            )
        )

    def mat_mul(self, operator: op.MatMul) -> None:
        a, b, *bias = operator.inputs
        (name,) = operator.outputs
        if b in self.constants:
            matrices = self.constants[b]
            columns = self.constants[bias[0]].floats if bias else np.zeros(matrices.values.shape[-1], np.float32)
            self._multiply(self.values[a], matrices, columns, self.values.new(name))
            return
        if a in self.constants:  # (A x)' = x' A'
            rank = len(self.values.shapes[name])
            out = self.values.new(name, order=(*range(rank - 2), rank - 1, rank - 2))
            matrices = self.constants[a]._replace(values=self.constants[a].values.swapaxes(-1, -2))
            nothing = np.zeros(matrices.values.shape[-1], np.float32)
            self._multiply(_swapped(self.values[b]), matrices, nothing, _swapped(out))
        else:
            self._multiply_values(self.values[a], self.values[b], name)
        if bias:
            self.map(codes.MAP_ADD, self.values[name], self.values[name], self.values[bias[0]])

    def _multiply_values(self, a: View, b: View, name: str) -> None:
        lead = self.values.shapes[name][:-2]
        a, b = (x if _is_matrix(x) else self.copied(x) for x in (a, b))
        inputs = a.expanded((*lead, *a.shape[-2:])), b.expanded((*lead, *b.shape[-2:]))
        out = self.values.new(name)
        own = out if _is_matrix(out) else self.values.arena(out.shape)
        self.steps.append(Product(inputs=inputs, outputs=(own,)))
        self.copy(out, own)

    def _multiply(self, x: View, matrices: Constant, bias: Floats, out: View) -> None:
        """``out = x matrices + bias``, a product for each of the matrices, of all rows that are multiplied with it."""
        lead = out.shape[:-2]
        if _lie_apart(x.axes[-1]):
            x = self.copied(x)
        x = x.expanded((*lead, *x.shape[-2:]))
        shape = matrices.values.shape
        several = (1,) * (len(lead) - len(shape) + 2) + shape[:-2]
        matrices = _of_outputs(matrices, matrices.values.reshape(-1, *shape[-2:]).swapaxes(1, 2))
        for number, place in enumerate(np.ndindex(*several)):
            part, target = x, out
            for axis, start in enumerate(place):
                if several[axis] > 1:
                    part, target = part.at(axis, start), target.at(axis, start)
            own = slice(number * len(bias), (number + 1) * len(bias))
            matrix = matrices.matrix(matrices.values[number], own)
            self._contract(part, target, matrix, bias, (part.rows(), offsets(part.axes[-1])))

    def _contract(
        self, x: View, out: View, matrix: Matrix, bias: Floats, where: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> None:
        """Add a contraction: the last axis of ``out`` are the outputs, the others its rows.

        Inputs are taken in the order in which they lie in memory. Outputs are computed side by side, and copied from
        there if they do not belong there.
        """
        rows, places = where
        order = np.argsort(places, kind="stable")
        places = places[order]
        if matrix.scale is not None:
            x, rows, places = self._recorded(x, rows, places)
        target = out if is_dense(out.axes[-1]) else self.values.arena(out.shape)
        step = Contract(
            inputs=(x,),
            outputs=(target,),
            rows=rows,
            places=places,
            out_rows=target.rows(),
            weights=msgspec.structs.replace(matrix, values=np.ascontiguousarray(matrix.values[:, order])),
            bias=np.ascontiguousarray(bias),
        )
        self.steps.append(step)
        self.copy(out, target)

    def _recorded(
        self, x: View, rows: NDArray[np.int64], places: NDArray[np.int64]
    ) -> tuple[View, NDArray[np.int64], NDArray[np.int64]]:
        """Add the step that writes rows of the input as records, and return where these, and their features, are."""
        stride = record_bytes(len(places)) // F32_BYTES
        records = self.values.arena((len(rows) * stride,))
        starts = stride * np.arange(len(rows))
        gathered = Storage(padded_row(len(places)), codes.BASE_ARENA)
        step = Quantize(inputs=(x,), outputs=(records,), rows=rows, places=places, out_rows=starts, work=(gathered,))
        self.steps.append(step)
        return records, starts, np.arange(len(places))


def _strides(grid: View) -> tuple[int, ...]:
    """Return the strides of the axes behind the channels."""
    return certain(View(grid.storage, grid.offset, grid.axes[2:]).strides())


def _lie_apart(axis: Digits) -> bool:
    """Return whether too few places of an axis lie side by side to be gone through where they are."""
    places = np.sort(offsets(axis))
    return len(places) > 1 and bool(np.mean(np.diff(places) == 1) < _SIDE_BY_SIDE)


def _sums(taps: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return where taps lie along several axes, the last one fastest."""
    result = np.zeros(1, np.int64)
    for along in taps:
        result = (result[:, np.newaxis] + np.asarray(along, np.int64)).ravel()
    return result


def _unpadded(operator: op.ConvTranspose, weight: Shape, out: Shape) -> Shape:
    """Return the shape that the input of a transposed convolution had before it was padded."""
    sizes = []
    for axis, n_places in enumerate(out[2:]):
        taps = (weight[2 + axis] - 1) * operator.dilations[axis]
        cut = operator.before[axis] + operator.after[axis]
        sizes.append((n_places + cut - 1 - taps) // operator.strides[axis] + 1)
    return (1, weight[0], *sizes)


def _merged_groups(groups: int, outputs: int) -> Iterator[tuple[int, int]]:
    """Yield groups that are computed together, by the first and how many: as many as fill a vector."""
    together = max(1, ROW // outputs)
    for first in range(0, groups, together):
        yield first, min(together, groups - first)


def _of_outputs(weight: Constant, values: Numbers) -> Constant:
    """Return weights ``(groups, outputs, ...)`` with a scale for each output of each group, one group after the other.

    All groups have the same scales unless each has its own.
    """
    if weight.scale is None:
        return weight._replace(values=values)
    scale = weight.scale.ravel()
    count = values.shape[0] * values.shape[1]
    return weight._replace(values=values, scale=np.tile(scale, count // len(scale)))


def _block_diagonal(of_groups: Numbers) -> Numbers:
    """From ``(groups, outputs, inputs, taps)`` to ``(groups * outputs, taps * groups * inputs)``: 0 between groups."""
    groups, outputs, inputs, taps = of_groups.shape
    matrix = np.zeros((groups, outputs, taps, groups, inputs), of_groups.dtype)
    for group in range(groups):
        matrix[group, :, :, group] = of_groups[group].swapaxes(1, 2)
    return matrix.reshape(groups * outputs, -1)


def _is_matrix(view: View) -> bool:
    """Return whether the last two axes have one stride each."""
    return all(len(merged_digits(axis)) <= 1 for axis in view.axes[-2:])


def _swapped(view: View) -> View:
    axes = range(len(view.axes))
    return view.transposed((*axes[:-2], axes[-1], axes[-2]))
