"""The states of an exported model as `Stream.snapshot` has them: read, and set."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from llvmlite import ir

from grurt.kernels import codes
from grurt.lowering.plan import PlanState
from grurt.native.instructions import F32, I32, I64, POINTER, i64, loop, pointer_to, return_unless_finite
from grurt.native.program import Program, states_begin


def add_state_access(program: Program, name: str, unbounded: Collection[str]) -> None:
    """Add what reads a state, and what sets it; those that are ``unbounded`` may be infinite.

    ``int64_t name_get_state(const void *state, float *values)`` returns how many timesteps there have been.
    ``int name_set_state(void *state, int64_t n_steps, const float *values)`` returns 0, or a status of `codes` for
    numbers that are not finite: then nothing has changed.
    """
    _add_get(program, f"{name}_get_state")
    _add_set(program, f"{name}_set_state", unbounded)


def _add_get(program: Program, name: str) -> None:
    function, builder = program.function(name, I64, POINTER, POINTER)
    state, values = function.args
    steps = builder.load(builder.bitcast(state, I64.as_pointer()))

    def read(place: Any, number: Any) -> None:
        builder.store(builder.load(number), place)

    _each_number(program, builder, state, values, steps, read)
    builder.ret(steps)


def _add_set(program: Program, name: str, unbounded: Collection[str]) -> None:
    function, builder = program.function(name, I32, POINTER, I64, POINTER)
    state, steps, values = function.args
    start = 0
    for state_name, place in program.plan.states.items():
        if state_name not in unbounded:
            return_unless_finite(builder, pointer_to(builder, values, 4 * start, I32), _size(place))
        start += _size(place)

    def write(place: Any, number: Any) -> None:
        builder.store(builder.load(place), number)

    _each_number(program, builder, state, values, steps, write)
    builder.store(steps, builder.bitcast(state, I64.as_pointer()))
    builder.ret(ir.Constant(I32, codes.OK))


def _size(place: PlanState) -> int:
    return math.prod(place.shape)


def _each_number(
    program: Program, builder: ir.IRBuilder, state: Any, values: Any, steps: Any, act: Callable[[Any, Any], None]
) -> None:
    """Call ``act`` with the address of each number among the values, and where it lies in the state."""
    begin = states_begin(program.plan)
    start = 0
    for place in program.plan.states.values():
        first = pointer_to(builder, values, 4 * start, F32)
        own = pointer_to(builder, state, begin + 4 * place.offset, F32)
        _walk(builder, _axes(place), first, own, i64(0), i64(0), steps if place.is_ring else None, act)
        start += _size(place)


def _axes(place: PlanState) -> list[tuple[int, int]]:
    """Return sizes and strides of a state's axes; the first is that of time, of one that moves in it."""
    return list(zip(place.shape, place.strides, strict=True)) if place.is_ring else list(place.axes)


def _walk(
    builder: ir.IRBuilder,
    axes: list[tuple[int, int]],
    values: Any,
    own: Any,
    place: Any,
    offset: Any,
    steps: Any | None,
    act: Callable[[Any, Any], None],
) -> None:
    """Go through the axes of a state in loops inside of each other.

    Of one that moves in time, row i is the oldest but i: the timestep whose number is that modulo the number of rows.
    """
    if not axes:
        act(builder.gep(values, [place]), builder.gep(own, [offset]))
        return
    (size, stride), *inner = axes

    def row(index: Any) -> None:
        there = index if steps is None else builder.urem(builder.add(steps, index), i64(size))
        inside = builder.add(offset, builder.mul(there, i64(stride)))
        _walk(builder, inner, values, own, builder.add(builder.mul(place, i64(size)), index), inside, None, act)

    loop(builder, size, row)
