"""Operators that look at many numbers for each that they write, as steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.base import Lowering
from grurt.lowering.programs.steps import Reduce, RowWise
from grurt.lowering.programs.views import Storage, View, certain, padded_row

if TYPE_CHECKING:
    from grurt.network import operators as op

_REDUCE = {
    "sum": codes.REDUCE_SUM,
    "mean": codes.REDUCE_SUM,
    "max": codes.REDUCE_MAX,
    "min": codes.REDUCE_MIN,
    "l1": codes.REDUCE_L1,
    "l2": codes.REDUCE_L2,
    "sum_square": codes.REDUCE_L2,
}


class Reductions(Lowering):
    """Lowers reductions, softmax and normalizations."""

    def reduce(self, operator: op.Reduce) -> None:
        (name,) = operator.outputs
        x = self.values[operator.inputs[0]]
        axes = set(operator.axes)
        kept = [digit for axis, digits in enumerate(x.axes) if axis not in axes for digit in digits]
        along = [digit for axis in sorted(axes) for digit in x.axes[axis]]
        out = self.values.new(name, x)
        own = out if out.reshaped(tuple(size for size, _ in kept)) is not None else self.values.arena(out.shape)
        count = int(np.prod([size for size, _ in along], dtype=np.int64))
        self.steps.append(
            Reduce(
                code=_REDUCE[operator.operation],
                inputs=(x,),
                outputs=(own,),
                kept=tuple(kept),
                along=tuple(along),
                scale=1.0 / count if operator.operation == "mean" else 1.0,
            )
        )
        if operator.operation == "l2":
            self.map(codes.SQRT, own, own)
        self.copy(out, own)

    def softmax(self, operator: op.Softmax) -> None:
        self._row_wise(operator, codes.LOG_SOFTMAX if operator.log else codes.SOFTMAX, (operator.axis,), 0.0)

    def normalize(self, operator: op.Normalize) -> None:
        code = codes.LAYER_NORM if operator.centered else codes.RMS_NORM
        self._row_wise(operator, code, operator.axes, operator.epsilon)

    def _row_wise(self, operator: op.Operator, code: int, axes: tuple[int, ...], epsilon: float) -> None:
        """Bring the axes together in rows that are padded to whole vectors, and work on these."""
        x = self.values[operator.inputs[0]]
        order = (*(axis for axis in range(len(x.axes)) if axis not in axes), *sorted(axes))
        ordered = x.transposed(order)
        size = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
        n_rows = x.size // size
        rows, out = (self._padded_rows(n_rows, size) for _ in range(2))
        source, target = certain(rows.reshaped(ordered.shape)), certain(out.reshaped(ordered.shape))
        self.copy(source, ordered)
        step = RowWise(code=code, inputs=(rows,), outputs=(out,), n_rows=n_rows, size=size, epsilon=epsilon)
        self.steps.append(step)
        self.values.bind(operator.outputs[0], target.transposed(np.argsort(order).tolist()))

    def _padded_rows(self, n_rows: int, size: int) -> View:
        stride = padded_row(size)
        storage = Storage(n_rows * stride, codes.BASE_ARENA)
        rows = ((n_rows, stride),) if n_rows > 1 else ()
        return View(storage, 0, (rows, ((size, 1),) if size > 1 else ()))
