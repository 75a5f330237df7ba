"""One number of many, and what goes row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.tables import reduction
from grurt.lowering.programs.views import padded_row
from grurt.native.c99.layers.products import loop
from grurt.native.c99.text import literal

if TYPE_CHECKING:
    from grurt.lowering.programs.steps import Reduce, RowWise
    from grurt.native.c99.layers.programs.routine import Routine

_STARTS = {codes.REDUCE_MAX: "-INFINITY", codes.REDUCE_MIN: "INFINITY"}
_NEXT = {
    codes.REDUCE_SUM: "result + {x}",
    codes.REDUCE_L1: "result + fabsf({x})",
    codes.REDUCE_L2: "result + {x} * {x}",
    codes.REDUCE_MAX: "grurt_maximum(result, {x})",
    codes.REDUCE_MIN: "grurt_minimum(result, {x})",
}
_OF_ROWS = {
    codes.REDUCE_SUM: "grurt_sum",
    codes.REDUCE_L1: "grurt_sum_of_magnitudes",
    codes.REDUCE_L2: "grurt_sum_of_rounded_squares",
}
_SOFTMAX = {codes.SOFTMAX: "grurt_softmax", codes.LOG_SOFTMAX: "grurt_log_softmax"}


def write_reduce(routine: Routine, step: Reduce) -> None:
    """Write ``out[r] = factor * operation over j of x[r, j]``, in the order of the kernels."""
    iteration, lanes, along = reduction(step)
    columns = np.arange(iteration.size)
    out, x = (
        (each.rows[:, np.newaxis] + each.stride * columns).ravel() + each.view.offset for each in iteration.operands
    )
    (to, start), wrap = routine.loops(out, x)
    target = routine.element(step.outputs[0].storage, to, writes=True)
    source = step.inputs[0].storage
    if lanes == codes.IN_A_ROW:
        row = routine.at(source, start)
        value, statements = f"{_OF_ROWS[step.code]}({row}, {len(along)})", []
    else:
        is_fused = lanes == codes.SIDE_BY_SIDE and step.code == codes.REDUCE_L2
        following = "grurt_fma({x}, {x}, result)" if is_fused else _NEXT[step.code]
        (place,), wrap_row = routine.loops(along)
        element = routine.element(source, _sum(start, place))
        turns = wrap_row([f"result = {following.format(x=element)};"])
        value, statements = "result", [f"float result = {_STARTS.get(step.code, '0.0f')};", turns]
    scaled = value if step.scale == 1 else f"{value} * {literal(step.scale)}"
    statements.append(f"{target} = {scaled};")
    routine.add(wrap(statements))


def _sum(a: str, b: str) -> str:
    return " + ".join(each for each in (a, b) if each != "0") or "0"


def write_row_wise(routine: Routine, step: RowWise) -> None:
    """Write softmax, its logarithm or a normalization of each row."""
    x, out = step.inputs[0], step.outputs[0]
    rows = padded_row(step.size) * np.arange(step.n_rows)
    (place, to), wrap = routine.loops(rows + x.offset, rows + out.offset)
    source, target = routine.at(x.storage, place), routine.at(out.storage, to, writes=True)
    if step.code in _SOFTMAX:
        routine.add(wrap([f"{_SOFTMAX[step.code]}({source}, {target}, {step.size});"]))
        return
    i, size = routine.index(), literal(step.size)
    is_centred = step.code != codes.RMS_NORM
    mean = f"grurt_sum(row, {step.size}) / {size}" if is_centred else "0.0f"
    statements = [
        f"const float *const row = {source};",
        f"float *const to = {target};",
        f"const float mean = {mean};",
        f"const float variance = grurt_sum_of_squares(row, {step.size}, mean) / {size};",
        f"const float scale = 1.0f / sqrtf(variance + {literal(step.epsilon)});",
        loop(i, step.size, [f"to[{i}] = {f'(row[{i}] - mean)' if is_centred else f'row[{i}]'} * scale;"]),
    ]
    routine.add(wrap(statements))
