"""What an exported model is given once: its context is made of the caller's arrays, and given to streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from grurt.kernels import codes
from grurt.lowering.plan import Plan
from grurt.native.instructions import (
    F32,
    I32,
    I64,
    POINTER,
    at,
    copy_words,
    i64,
    loop,
    pointer_to,
    return_unless_finite,
)
from grurt.native.intermediate import Kernels
from grurt.native.program import STEPS_BYTES, Program
from grurt.network.contexts import ContextPart, context_parts
from grurt.network.frames import Frames, frames_of
from grurt.network.layers import AnyLayer
from grurt.network.network import Network
from grurt.network.vectors import context_numbers


@dataclass(frozen=True)
class Prepared:
    """What one layer reads of a context.

    Parameters
    ----------
    layer, part
        The layer, and where in the context that lies.
    plan, frames
        What computes it; None: it is the values, one after the other.
    """

    layer: AnyLayer
    part: ContextPart
    plan: Plan | None
    frames: Frames | None


@dataclass(frozen=True)
class ContextLayout:
    """How a context lies in a program's memory: what layers read, and behind it the values that it is made of.

    Parameters
    ----------
    prepared
        What each layer reads.
    shapes
        The largest shapes of what the caller gives, by name.
    opened
        The axes along which that may be shorter, and the masks of their places.
    """

    prepared: tuple[Prepared, ...]
    shapes: Mapping[str, tuple[int, ...]]
    opened: Mapping[str, tuple[int, str | None]]

    @property
    def values_begin(self) -> int:
        """Where the values begin, in bytes."""
        return 4 * sum(context_numbers(each.part.size) for each in self.prepared)

    @property
    def n_bytes(self) -> int:
        """Size of a context, a multiple of 8."""
        values = max(sum(map(math.prod, each.part.shapes.values())) for each in self.prepared)
        return -(-(self.values_begin + 4 * values) // 8) * 8

    @property
    def plans(self) -> list[Plan]:
        """What is run to make one."""
        return [each.plan for each in self.prepared if each.plan is not None]


def context_layout(network: Network, lowered: Callable[[Network], Plan]) -> ContextLayout | None:
    """Return how contexts of a network lie in memory; None if it has none."""
    parts = context_parts(network)
    if not parts:
        return None
    prepared = []
    for layer in network.layers:
        if layer.name in parts:
            part = parts[layer.name]
            made = part.preparation
            plan, frames = (None, None) if made is None else (lowered(made), frames_of(made))
            prepared.append(Prepared(layer, part, plan, frames))
    return ContextLayout(tuple(prepared), network.context_shapes, network.open_contexts)


def add_context_access(module: ir.Module, name: str, layout: ContextLayout, kernels: Kernels) -> None:
    """Add what makes a context, and what gives it to a stream.

    ``int name_make_context(void *context, void *scratch, const float *values, int64_t places ...)``, without places
    where no axis is open, returns 0, or a status of `codes`.
    ``void name_set_context(void *state, const void *context)``.
    """
    _Making(module, name, layout, kernels).add(f"{name}_make_context")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER]), f"{name}_set_context")
    builder = ir.IRBuilder(function.append_basic_block())
    state, context = function.args
    builder.store(builder.ptrtoint(context, I64), pointer_to(builder, state, STEPS_BYTES, I64))
    builder.ret_void()


class _Making:
    """Writes the function that makes a context."""

    def __init__(self, module: ir.Module, name: str, layout: ContextLayout, kernels: Kernels) -> None:
        self._module, self._layout = module, layout
        self._programs = {
            number: Program(module, f"context{number}_", each.plan, each.frames, kernels)
            for number, each in enumerate(layout.prepared)
            if each.plan is not None and each.frames is not None
        }

    def add(self, name: str) -> None:
        types: list[Any] = []
        for context in self._layout.shapes:
            types += [POINTER, I64] if context in self._layout.opened else [POINTER]
        function = ir.Function(self._module, ir.FunctionType(I32, [POINTER, POINTER, *types]), name)
        self._builder = ir.IRBuilder(function.append_basic_block())
        self._context, self._scratch, *given = function.args
        arguments = iter(given)
        self._arrays: dict[str, Any] = {}
        self._places: dict[str, Any] = {}
        for context in self._layout.shapes:
            self._arrays[context] = next(arguments)
            if context in self._layout.opened:
                self._places[context] = next(arguments)
        self._check()
        for number, each in enumerate(self._layout.prepared):
            self._prepare(number, each)
        self._builder.ret(ir.Constant(I32, codes.OK))

    def _check(self) -> None:
        """Return a status unless there are as many places as there may be, and all numbers are finite."""
        builder, owners = self._builder, dict[str, str]()
        for context, (axis, mask) in self._layout.opened.items():
            places, most = self._places[context], self._layout.shapes[context][axis]
            wrong = builder.icmp_unsigned(">=", builder.sub(places, i64(1)), i64(most))
            first = context if mask is None else owners.setdefault(mask, context)
            wrong = builder.or_(wrong, builder.icmp_signed("!=", places, self._places[first]))
            with builder.if_then(wrong, likely=False):
                builder.ret(ir.Constant(I32, codes.NOT_PLAIN))
        for context, shape in self._layout.shapes.items():
            count: Any = i64(math.prod(shape))
            if context in self._places:
                inside = math.prod(shape) // shape[self._layout.opened[context][0]]
                count = builder.mul(self._places[context], i64(inside))
            return_unless_finite(builder, builder.bitcast(self._arrays[context], I32.as_pointer()), count)

    def _prepare(self, number: int, each: Prepared) -> None:
        builder, start = self._builder, self._layout.values_begin
        ports = []
        for value, shape in each.part.shapes.items():
            ports.append(at(builder, self._context, start))
            self._fill(value, shape, ports[-1])
            start += 4 * math.prod(shape)
        out = at(builder, self._context, 4 * each.part.start)
        if number in self._programs:
            steps = builder.alloca(I64)
            self._programs[number].timestep(builder, builder.bitcast(steps, POINTER), self._scratch, [*ports, out])
        else:
            copy_words(builder, out, ports[0], each.part.size)

    def _fill(self, value: str, shape: tuple[int, ...], target: Any) -> None:
        """Write a context, filled up with zeros, or the mask of its places."""
        builder = self._builder
        if value not in self._layout.shapes:
            owner = next(name for name, (_, mask) in self._layout.opened.items() if mask == value)
            self._fill_mask(target, shape[0], self._places[owner])
        elif value not in self._places:
            copy_words(builder, target, self._arrays[value], math.prod(shape))
        else:
            axis = self._layout.opened[value][0]
            inside, size = math.prod(shape[axis + 1 :]), shape[axis]
            filled = builder.mul(self._places[value], i64(inside))
            array = self._arrays[value]

            def one(outer: Any) -> None:
                to = at(builder, target, builder.mul(outer, i64(4 * size * inside)))
                copy_words(builder, to, at(builder, array, builder.mul(builder.mul(outer, filled), i64(4))), filled)
                rest = builder.sub(i64(size * inside), filled)
                copy_words(builder, at(builder, to, builder.mul(filled, i64(4))), None, rest)

            loop(builder, math.prod(shape[:axis]), one)

    def _fill_mask(self, target: Any, size: int, places: Any) -> None:
        builder = self._builder
        numbers = builder.bitcast(target, F32.as_pointer())

        def one(index: Any) -> None:
            is_there = builder.icmp_signed("<", index, places)
            number = builder.select(is_there, ir.Constant(F32, 1.0), ir.Constant(F32, 0.0))
            builder.store(number, builder.gep(numbers, [index]))

        loop(builder, size, one)
