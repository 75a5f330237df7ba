"""A step graph to a network: a program of its operators, and layers that take its results apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph
from grurt.converters.literal.builder import Embedded, ProgramBuilder
from grurt.converters.literal.interpret import interpret
from grurt.converters.literal.naming import UniqueNames
from grurt.converters.literal.pairs import Port, paired
from grurt.converters.literal.refusals import refuse_mixed, refuse_offline
from grurt.converters.literal.simplify import live_operators, with_scales_in_weights
from grurt.converters.literal.sizes import bound, has_open_sizes, with_open_sizes
from grurt.converters.literal.values import Traced, Value, is_constant
from grurt.errors import ConversionError, ModelError, UnsupportedError
from grurt.network import operators
from grurt.network.inputs import AnyInput, Input, Output, TokenInput
from grurt.network.layers import Embedding, Program, Slice
from grurt.network.layers.base import Layer
from grurt.network.layers.program import ProgramState
from grurt.network.network import Network, Source
from grurt.network.operators.base import Operator

LAYER = "program"


@dataclass(frozen=True)
class StepOptions:
    """What the caller says of a step graph.

    Parameters
    ----------
    bind
        Values of inputs that are fixed before anything is computed.
    states
        Outputs that go back, by the inputs that they go back into; None for an input that is no state.
    initial
        What states begin as, by input; zeros else.
    """

    bind: Mapping[str, object] = field(default_factory=dict)
    states: Mapping[str, str | None] = field(default_factory=dict)
    initial: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class StepGraph:
    """A network that was imported literally, and the graph that it was."""

    network: Network
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    pairs: Mapping[str, str]
    """The outputs that go back, by the inputs that they go back into."""
    bound: Mapping[str, Array]
    """Values of inputs that were fixed."""


@dataclass(frozen=True)
class Traces:
    """A graph that was interpreted: the program so far, and what its inputs, outputs and tensors are."""

    build: ProgramBuilder
    inputs: Mapping[str, Traced]
    outputs: Mapping[str, Value]
    tensors: Mapping[str, Value]


def network_of_step_graph(graph: Graph, source: Source, options: StepOptions) -> StepGraph:
    """Return the network that computes what a graph of one timestep says, literally.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or the caller says something of it that is not so.
    UnsupportedError
        If it is none of one timestep, or holds something that no step program computes.
    """
    graph, fixed = bound(graph, options.bind)
    with np.errstate(all="ignore"):
        found = traced(with_open_sizes(graph, 1), fixed)
        if has_open_sizes(graph):
            _check_open_sizes(graph, fixed, found)
        inputs = [Port(name, value.shape, value.dtype) for name, value in found.inputs.items()]
        outputs = _output_ports(graph, found)
        pairs = paired(inputs, outputs, options.states, _certain_states(found))
        network = _network(graph, found, pairs, options.initial, source)
    return StepGraph(network, tuple(inputs), tuple(outputs), pairs, fixed)


def traced(graph: Graph, fixed: Mapping[str, Array]) -> Traces:
    """Return a graph of known sizes, interpreted."""
    build = ProgramBuilder(Budget(graph.size))
    tensors: dict[str, Value] = {**graph.constants, **fixed}
    for name, array in graph.constants.items():
        build.note_name(name, array)
    inputs = {}
    for port in graph.inputs:
        shape = tuple(size for size in port.shape or () if isinstance(size, int))
        value = inputs[port.name] = tensors[port.name] = build.input(shape, np.dtype(port.dtype))
        if value.is_integer and math.prod(shape) == 1:
            build.token_inputs[value.name] = port.name
    names = [port.name for port in graph.outputs]
    results = interpret(graph.nodes, tensors, names, build)
    return Traces(build, inputs, dict(zip(names, results, strict=True)), tensors)


def _check_open_sizes(graph: Graph, fixed: Mapping[str, Array], found: Traces) -> None:
    """Refuse a graph that works along an axis that it leaves open, and that is of size 1 in one timestep.

    One that runs with no other size than 1 leaves it open in name only.
    """
    other = None
    with suppress(ConversionError, ModelError):
        other = traced(with_open_sizes(graph, 2), fixed)
    if other is not None:
        refuse_mixed(found.build.mixed, found.tensors, other.tensors)


def _output_ports(graph: Graph, found: Traces) -> list[Port]:
    return [Port(port.name, found.outputs[port.name].shape, np.dtype(port.dtype)) for port in graph.outputs]


def _certain_states(found: Traces) -> set[str]:
    """Return the inputs that recurrent operators of one timestep begin with, as they are but for their shape."""
    names = {value.name: name for name, value in found.inputs.items()}
    states = set()
    for scan in found.build.scans:
        for state in scan.states if scan.length == 1 else ():
            if not is_constant(state) and (origin := found.build.origin(state)) in names:
                states.add(names[origin])
    return states


def _network(
    graph: Graph, found: Traces, pairs: Mapping[str, str], initial: Mapping[str, Array], source: Source
) -> Network:
    build = found.build
    shown = [port.name for port in graph.outputs if port.name not in pairs.values()]
    shown = shown or list(dict.fromkeys(pairs.values()))
    results = {name: build.written(found.outputs[name]) for name in (*shown, *pairs.values())}
    begins = {
        name: build.name_of(_initial(name, array, found)) for name, array in initial.items()
    }
    wanted = [value.name for value in results.values()]
    live = live_operators(build.operators, wanted)
    live = with_scales_in_weights(build, live, wanted)
    if not live:
        first = shown[0]
        results[first] = build.emit(operators.Reshape, results[first], shape=results[first].shape)
        live = [build.operators[-1]]
    refuse_offline(build.scans, {name for operator in live for name in operator.outputs})
    return _Assembly(found, pairs, shown, results, begins, live).network(source)


def _initial(name: str, array: Array, found: Traces) -> Array:
    if name not in found.inputs:
        raise ConversionError(f"initial: the graph has no input {name!r}")
    return array


class _Assembly:
    def __init__(
        self,
        found: Traces,
        pairs: Mapping[str, str],
        shown: Sequence[str],
        results: Mapping[str, Traced],
        begins: Mapping[str, str],
        live: Sequence[Operator],
    ) -> None:
        self.found = found
        self.pairs = pairs
        self.shown = shown
        self.results = results
        self.begins = begins
        self.live = live
        self.frames = [name for name in found.inputs if name not in pairs]
        self.layers: list[Layer] = []
        self.weights: dict[str, Array] = {}
        self.values = UniqueNames(found.inputs)
        read = {name for operator in live for name in operator.inputs} | {value.name for value in results.values()}
        self.embedded = [each for each in found.build.embeddings if each.value.name in read]
        self.read = read

    def network(self, source: Source) -> Network:
        inputs = [self._input(name) for name in self.frames]
        if not inputs:
            raise UnsupportedError("every input of the graph is a state: a network needs one that is not")
        program = self._program()
        self.layers.append(program)
        outputs, start = [], 0
        for name in self.shown:
            size = math.prod(self.results[name].shape)
            value = program.name
            if len(self.shown) > 1:
                value = self.values.new(name, "output")
                self.layers.append(Slice(name=value, inputs=(program.name,), start=start, stop=start + size))
            outputs.append(Output(name, value))
            start += size
        return Network(layers=self.layers, weights=self.weights, inputs=inputs, outputs=outputs, source=source)

    def _input(self, name: str) -> AnyInput:
        value = self.found.inputs[name]
        tables = [each for each in self.embedded if each.token == value.name]
        if not tables:
            return Input(name, math.prod(value.shape))
        if value.name in self.read:
            raise UnsupportedError(f"input {name!r}: it is a token, which picks from a table, and a number too")
        rows = {each.table.shape[0] for each in tables}
        if len(rows) > 1:
            raise UnsupportedError(f"input {name!r}: it picks from tables of {sorted(rows)} rows")
        return TokenInput(name, rows.pop())

    def _embedding(self, embedded: Embedded) -> str:
        rows, size = embedded.table.shape
        token = next(name for name, value in self.found.inputs.items() if value.name == embedded.token)
        name = self.values.new(f"{token}.embedding")
        self.layers.append(Embedding(name=name, inputs=(token,), vocabulary_size=rows, size=size))
        self.weights[f"{name}.weight"] = embedded.table
        return name

    def _program(self) -> Program:
        build = self.found.build
        tokens = {each.token for each in self.embedded}
        given = {
            self.found.inputs[name].name: name for name in self.frames if self.found.inputs[name].name not in tokens
        }
        given |= {each.value.name: self._embedding(each) for each in self.embedded}
        layer = self.values.new(LAYER)
        states = {self.found.inputs[name].name: name for name in self.pairs}
        inside = UniqueNames((*given.values(), *states.values()))
        names = given | states
        for operator in self.live:
            for name in (*operator.inputs, *operator.outputs):
                if name and name not in names:
                    names[name] = inside.new(build.source_names.get(name))
        for name in (*self.begins.values(), *(value.name for value in self.results.values())):
            if name not in names:
                names[name] = inside.new(build.source_names.get(name))
        constants = {name: array for name, array in build.constants.items() if name in names}
        for name, array in constants.items():
            self.weights[f"{layer}.{names[name]}"] = array.astype(np.float32)
        return Program(
            name=layer,
            inputs=tuple(given.values()),
            input_shapes=tuple(build.shapes[name] for name in given),
            constants={names[name]: array.shape for name, array in constants.items()},
            states=tuple(self._state(name, names) for name in self.pairs),
            operators=tuple(_renamed(operator, names) for operator in self.live),
            results=tuple(names[self.results[name].name] for name in self.shown),
        )

    def _state(self, name: str, names: Mapping[str, str]) -> ProgramState:
        value, begins = self.found.inputs[name], self.begins.get(name)
        return ProgramState(
            name=name,
            shape=value.shape,
            result=names[self.results[self.pairs[name]].name],
            initial=None if begins is None else names[begins],
        )


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    def renamed(given: Iterable[str]) -> tuple[str, ...]:
        return tuple(names[name] if name else "" for name in given)

    return msgspec.structs.replace(operator, inputs=renamed(operator.inputs), outputs=renamed(operator.outputs))
