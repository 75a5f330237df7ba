"""Functions of every number of one, two or three views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.lowering.functions import BINARY, function_of
from grurt.lowering.programs.iteration import iterate
from grurt.native.c99.expressions import expression
from grurt.native.c99.layers.arithmetic import OF_TWO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.lowering.programs.iteration import Operand
    from grurt.lowering.programs.steps import Map
    from grurt.native.c99.layers.programs.routine import Routine

_OF_CODES = {
    codes.MAP_COPY: "{a}",
    codes.MAP_FLUSH: "grurt_flush({a})",
    codes.MAP_ADD: "{a} + {b}",
    codes.MAP_MUL: "{a} * {b}",
    codes.MAP_WHERE: "{a} == 0.0f ? {c} : {b}",
    codes.MAP_PRELU: "{a} < 0.0f ? {a} * {b} : {a}",
    **{codes.MAP_BINARY + code: OF_TWO[name] for name, code in BINARY.items()},
}


def write_map(routine: Routine, step: Map) -> None:
    """Write ``out[i] = f(a[i], b[i], c[i])``."""
    (out,) = step.outputs
    iteration = iterate(out, step.inputs)
    views = [_places(operand, iteration.size) for operand in iteration.operands]
    if step.code == codes.MAP_COPY and _is_block(step, views):
        source, size = routine.at(step.inputs[0].storage, str(views[1][0])), len(views[0])
        target = routine.at(out.storage, str(views[0][0]), writes=True)
        routine.add(f"memcpy({target}, {source}, {size} * sizeof(float));")
        return
    places, wrap = routine.loops(*views)
    target = routine.element(out.storage, places[0], writes=True)
    pairs = zip(step.inputs, places[1:], strict=True)
    inputs = dict(zip("abc", (routine.element(view.storage, place) for view, place in pairs), strict=False))
    known = _OF_CODES.get(step.code)
    value = known.format(**inputs) if known else expression(function_of(step.code, *step.parameters), inputs["a"])
    routine.add(wrap([f"{target} = {value};"]))


def _places(operand: Operand, size: int) -> NDArray[np.int64]:
    rows = operand.rows + operand.view.offset
    return (rows[:, np.newaxis] + operand.stride * np.arange(size)).ravel()


def _is_block(step: Map, views: list[NDArray[np.int64]]) -> bool:
    """Return whether numbers that lie side by side come to lie so in other memory."""
    out, x = step.outputs[0].storage, step.inputs[0].storage
    is_apart = out is not x and x.numbers is None and len(views[0]) > 1
    return is_apart and all(bool((np.diff(view) == 1).all()) for view in views)
