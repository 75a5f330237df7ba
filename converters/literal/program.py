"""A program that was built, as a layer: with the source's names, beside the layers around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.literal.builder import Embedded, ProgramBuilder
from grurt.converters.literal.naming import UniqueNames
from grurt.converters.literal.values import Traced
from grurt.errors import UnsupportedError
from grurt.network.inputs import AnyInput, Input, Output, TokenInput
from grurt.network.layers import Embedding, Program, Slice
from grurt.network.layers.base import Layer
from grurt.network.layers.program import ProgramState
from grurt.network.operators.base import Operator


class Layers:
    """The layers of a step graph: tables of tokens, the program, and what takes its results apart.

    Parameters
    ----------
    build
        The program as it was built.
    inputs
        The values of the graph's inputs, by name.
    live
        Its operators.
    results
        What it hands out, by the names of the graph's outputs: those that are shown, and states.
    shown
        Names of the outputs that are the network's.
    """

    def __init__(
        self,
        build: ProgramBuilder,
        inputs: Mapping[str, Traced],
        live: Sequence[Operator],
        results: Mapping[str, Traced],
        shown: Sequence[str],
    ) -> None:
        self.layers: list[Layer] = []
        self.weights: dict[str, Array] = {}
        self._build = build
        self._inputs = inputs
        self._live = live
        self._results = results
        self._shown = shown
        self._layer_names = UniqueNames(inputs)
        self._read = {name for operator in live for name in operator.inputs}
        self._read |= {value.name for value in results.values()}
        self._embedded = [each for each in build.embeddings if each.value.name in self._read]

    def inputs(self, frames: Iterable[str]) -> list[AnyInput]:
        """Return the network's inputs, of the names of those inputs that are no states."""
        return [self._input(name) for name in frames]

    def _input(self, name: str) -> AnyInput:
        value = self._inputs[name]
        rows = {each.table.shape[0] for each in self._embedded if each.token == value.name}
        if not rows:
            return Input(name, math.prod(value.shape))
        if value.name in self._read:
            raise UnsupportedError(f"input {name[:100]!r}: it is a token, which picks from a table, and a number too")
        if len(rows) > 1:
            raise UnsupportedError(f"input {name[:100]!r}: it picks from tables of {sorted(rows)} rows")
        return TokenInput(name, rows.pop())

    def add_program(self, frames: Sequence[str], pairs: Mapping[str, str], begins: Mapping[str, str]) -> list[Output]:
        """Add the program and the layers around it, and return the network's outputs.

        Parameters
        ----------
        frames
            Inputs that are no states.
        pairs
            Outputs that go back, by the inputs that they go back into.
        begins
            Constants that states begin as, by input.
        """
        shapes = self._build.shapes
        tokens = {each.token for each in self._embedded}
        read = {value.name: name for name in frames if (value := self._inputs[name]).name not in tokens}
        read |= {each.value.name: self._embedding(each) for each in self._embedded}
        states = {self._inputs[name].name: name for name in pairs}
        layer = self._layer_names.new("program")
        names = self._named(read | states, begins.values())
        constants = {name: array for name, array in self._build.constants.items() if name in names}
        self.weights |= {f"{layer}.{names[name]}": array.astype(np.float32) for name, array in constants.items()}
        program = Program(
            name=layer,
            inputs=tuple(read.values()),
            input_shapes=tuple(shapes[name] for name in read),
            constants={names[name]: array.shape for name, array in constants.items()},
            states=tuple(
                ProgramState(
                    name,
                    self._inputs[name].shape,
                    names[self._results[result].name],
                    names[begins[name]] if name in begins else None,
                )
                for name, result in pairs.items()
            ),
            operators=tuple(_renamed(operator, names) for operator in self._live),
            results=tuple(names[self._results[name].name] for name in self._shown),
        )
        self.layers.append(program)
        return self._outputs(program.name)

    def _named(self, given: Mapping[str, str], constants: Iterable[str]) -> dict[str, str]:
        """Return the names of all values of the program, beside those that it is given."""
        inside, names = UniqueNames(given.values()), dict(given)
        written = [name for operator in self._live for name in (*operator.inputs, *operator.outputs)]
        for name in (*written, *constants, *(value.name for value in self._results.values())):
            if name and name not in names:
                names[name] = inside.new(self._build.source_names.get(name))
        return names

    def _embedding(self, embedded: Embedded) -> str:
        rows, size = embedded.table.shape
        token = next(name for name, value in self._inputs.items() if value.name == embedded.token)
        name = self._layer_names.new(f"{token}.embedding", "embedding")
        self.layers.append(Embedding(name=name, inputs=(token,), vocabulary_size=rows, size=size))
        self.weights[f"{name}.weight"] = embedded.table
        return name

    def _outputs(self, program: str) -> list[Output]:
        if len(self._shown) == 1:
            return [Output(self._shown[0], program)]
        outputs, start = [], 0
        for name in self._shown:
            stop = start + math.prod(self._results[name].shape)
            value = self._layer_names.new(name, "output")
            self.layers.append(Slice(name=value, inputs=(program,), start=start, stop=stop))
            outputs.append(Output(name, value))
            start = stop
        return outputs


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    def renamed(given: Iterable[str]) -> tuple[str, ...]:
        return tuple(names[name] if name else "" for name in given)

    return msgspec.structs.replace(operator, inputs=renamed(operator.inputs), outputs=renamed(operator.outputs))
