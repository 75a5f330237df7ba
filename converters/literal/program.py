"""A program that was built, as a layer: with the source's names, beside the layers around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.literal.builder import Embedded, ProgramBuilder
from grurt.converters.literal.naming import UniqueNames
from grurt.converters.literal.refusals import refuse_offline
from grurt.converters.literal.simplify import live_operators, with_scales_in_weights
from grurt.converters.literal.values import Traced
from grurt.errors import UnsupportedError
from grurt.network import operators
from grurt.network.inputs import AnyInput, Input, Output, TokenInput
from grurt.network.layers import Embedding, Program, Slice
from grurt.network.layers.base import Layer
from grurt.network.layers.program import ProgramContext, ProgramState
from grurt.network.operators.base import Operator


@dataclass(frozen=True)
class Kept:
    """A state: its name, the value that it is while a timestep runs, and what it becomes; what it begins as."""

    name: str
    value: Traced
    result: Traced
    begins: str | None = None


@dataclass(frozen=True)
class Given:
    """An input that is given once: its name, and its value."""

    name: str
    value: Traced
    open_axis: int | None = None
    """The axis along which it may be shorter,"""
    mask: Traced | None = None
    """and the value that is 1 at the places that there are."""


class Layers:
    """The layers of a step graph: tables of tokens, the program, and what takes its results apart.

    Parameters
    ----------
    build
        The program as it was built.
    frames
        The values of the inputs that are read at each timestep, by name.
    shown
        What it writes, by the names of the network's outputs.
    kept
        Its states.
    contexts
        The inputs that are given once.
    """

    def __init__(
        self,
        build: ProgramBuilder,
        frames: Mapping[str, Traced],
        shown: Mapping[str, Traced],
        kept: Sequence[Kept],
        contexts: Sequence[Given] = (),
    ) -> None:
        self.layers: list[Layer] = []
        self.weights: dict[str, Array] = {}
        self._build = build
        self._frames = frames
        self._shown = dict(shown)
        self._kept = kept
        self._contexts = contexts
        self._live = self._live_operators()
        self._layer_names = UniqueNames((*frames, *(state.name for state in kept), *(each.name for each in contexts)))
        self._read = {name for operator in self._live for name in operator.inputs}
        self._read |= self._wanted()
        self._embedded = [each for each in build.embeddings if each.value.name in self._read]
        refuse_offline(build.scans, {name for operator in self._live for name in operator.outputs})

    def _wanted(self) -> set[str]:
        return {value.name for value in (*self._shown.values(), *(state.result for state in self._kept))}

    def _live_operators(self) -> list[Operator]:
        build, wanted = self._build, self._wanted()
        live = with_scales_in_weights(build, live_operators(build.operators, wanted), wanted)
        if live:
            return live
        name, value = next(iter(self._shown.items()))  # nothing is computed, as where a state is what was read before
        self._shown[name] = build.emit(operators.Reshape, value, shape=value.shape)
        return build.operators[-1:]

    def inputs(self) -> list[AnyInput]:
        """Return the network's inputs."""
        return [self._input(name) for name in self._frames]

    def _input(self, name: str) -> AnyInput:
        value = self._frames[name]
        rows = {each.table.shape[0] for each in self._embedded if each.token == value.name}
        if not rows:
            return Input(name, math.prod(value.shape))
        if value.name in self._read:
            raise UnsupportedError(f"input {name[:100]!r}: it is a token, which picks from a table, and a number too")
        if len(rows) > 1:
            raise UnsupportedError(f"input {name[:100]!r}: it picks from tables of {sorted(rows)} rows")
        return TokenInput(name, rows.pop())

    def add_program(self) -> list[Output]:
        """Add the program and the layers around it, and return the network's outputs."""
        shapes = self._build.shapes
        tokens = {each.token for each in self._embedded}
        read = {value.name: name for name, value in self._frames.items() if value.name not in tokens}
        read |= {each.value.name: self._embedding(each) for each in self._embedded}
        layer = self._layer_names.new("program")
        given = {context.value.name: context.name for context in self._contexts}
        names = self._named(read | given | {state.value.name: state.name for state in self._kept})
        constants = {name: array for name, array in self._build.constants.items() if name in names}
        self.weights |= {f"{layer}.{names[name]}": array.astype(np.float32) for name, array in constants.items()}
        program = Program(
            name=layer,
            inputs=tuple(read.values()),
            input_shapes=tuple(shapes[name] for name in read),
            constants={names[name]: array.shape for name, array in constants.items()},
            states=tuple(self._state(state, names) for state in self._kept),
            operators=tuple(_renamed(operator, names) for operator in self._live),
            results=tuple(names[value.name] for value in self._shown.values()),
            contexts=tuple(self._context(context, names) for context in self._contexts),
        )
        self.layers.append(program)
        return self._outputs(program.name)

    def _state(self, state: Kept, names: Mapping[str, str]) -> ProgramState:
        begins = None if state.begins is None else names[state.begins]
        return ProgramState(state.name, state.value.shape, names[state.result.name], begins)

    def _context(self, context: Given, names: Mapping[str, str]) -> ProgramContext:
        mask = None if context.mask is None else names.get(context.mask.name)
        return ProgramContext(context.name, context.value.shape, context.open_axis, mask)

    def _named(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the names of all values of the program, beside those that it is given."""
        inside, names = UniqueNames(given.values()), dict(given)
        written = [name for operator in self._live for name in (*operator.inputs, *operator.outputs)]
        begins = [state.begins for state in self._kept if state.begins is not None]
        for name in (*written, *begins, *self._wanted()):
            if name and name not in names:
                names[name] = inside.new(self._build.source_names.get(name))
        return names

    def _embedding(self, embedded: Embedded) -> str:
        rows, size = embedded.table.shape
        token = next(name for name, value in self._frames.items() if value.name == embedded.token)
        name = self._layer_names.new(f"{token}.embedding", "embedding")
        self.layers.append(Embedding(name=name, inputs=(token,), vocabulary_size=rows, size=size))
        self.weights[f"{name}.weight"] = embedded.table
        return name

    def _outputs(self, program: str) -> list[Output]:
        if len(self._shown) == 1:
            return [Output(name, program) for name in self._shown]
        outputs, start = [], 0
        for name, value in self._shown.items():
            stop = start + math.prod(value.shape)
            part = self._layer_names.new(name, "output")
            self.layers.append(Slice(name=part, inputs=(program,), start=start, stop=stop))
            outputs.append(Output(name, part))
            start = stop
        return outputs


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    def renamed(given: Iterable[str]) -> tuple[str, ...]:
        return tuple(names[name] if name else "" for name in given)

    return msgspec.structs.replace(operator, inputs=renamed(operator.inputs), outputs=renamed(operator.outputs))
