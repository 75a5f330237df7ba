"""Writes a step program: what is computed at each timestep, and what is computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.escaping import listed
from grurt.kernels import codes
from grurt.lowering.programs.arena import place_storages
from grurt.lowering.programs.constants import Constant
from grurt.lowering.programs.lower import ProgramLowering
from grurt.lowering.programs.steps import Contract, Depthwise, Map, Product, Quantize, Reduce, RowWise, Scan, Step
from grurt.lowering.programs.views import Storage, View, certain
from grurt.native.c99 import text
from grurt.native.c99.layers.programs.maps import write_map
from grurt.native.c99.layers.programs.products import gathers, write_contract, write_depthwise, write_product
from grurt.native.c99.layers.programs.reductions import write_reduce, write_row_wise
from grurt.native.c99.layers.programs.routine import Constants, Routine
from grurt.native.c99.layers.programs.scans import cell_of, work_of, write_scan
from grurt.native.c99.names import Names
from grurt.network import layers as ly

if TYPE_CHECKING:
    from grurt.native.c99.layers.cells import Cell
    from grurt.native.c99.states import State
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import Layer, Program
    from grurt.network.layers.program import ProgramState
    from grurt.network.operators import Operator

_WRITERS: dict[type[Step], Callable[[Routine, Any], None]] = {
    Map: write_map,
    Contract: write_contract,
    Depthwise: write_depthwise,
    Reduce: write_reduce,
    RowWise: write_row_wise,
    Product: write_product,
}


def program(unit: Unit, layer: Program) -> None:
    """Write what a program computes at each timestep."""
    inputs = [unit.place(name) for name in layer.inputs]
    given = f"state->context->{unit.context_member(layer)}" if layer.contexts else ""
    out = unit.new_value(layer)
    written = _Written(unit, layer.timestep(), layer.name)
    for state in layer.states:
        view = written.lowering.states[state.name]
        written.members[view.storage] = _member(unit, layer, state, view)
    with unit.work(written.work_size) as work:
        unit.add(written.call(inputs, out, work, given))


def _member(unit: Unit, layer: Program, state: ProgramState, view: View) -> State:
    """Return a state as a member of C's, whose numbers lie as the steps want them."""
    initial = None
    if state.initial is not None:
        initial = np.empty(view.size, np.float32)
        initial[view.places()] = unit.weight(layer, state.initial).ravel()
    strides = certain(view.strides())
    digits = tuple((size, stride) for size, stride in zip(state.shape, strides, strict=True) if size > 1)
    is_dense = np.array_equal(view.places(), np.arange(view.size))
    return unit.state(layer, view.size, initial, name=state.name, digits=() if is_dense else digits)


def preparation(unit: Unit, layer: Layer, inputs: Sequence[str], out: str) -> str:
    """Write what a program's contexts are made into, and return the call."""
    assert isinstance(layer, ly.Program), "only programs have contexts"  # noqa: S101 - no file can cause it
    written = _Written(unit, layer, f"{layer.name}_prepared")
    with unit.work(written.work_size) as work:
        return written.call(inputs, out, work, "")


class _Written:
    """A program whose steps are arranged, and whose functions are about to be written.

    Parameters
    ----------
    unit
        The file.
    layer
        The program, of one timestep.
    name
        What it is called.
    """

    def __init__(self, unit: Unit, layer: Program, name: str) -> None:
        self._unit = unit
        self._layer = layer
        self._name = name
        formats = layer.matrix_formats()
        self.lowering = ProgramLowering(
            layer,
            {
                each: Constant(
                    unit.weight(layer, each),
                    formats.get(each, "float32"),
                    unit.network.weights.get(f"{layer.name}.{each}_scale"),
                )
                for each in layer.constants
            },
        )
        self.lowering.run()
        self.members: dict[Storage, State] = {}
        self._names = _names(self.lowering)
        self._constants = Constants(unit, name, self._names)
        self._cells: dict[Step, Cell] = {}
        self._parts = [(title, head, list(self._arranged(steps))) for title, head, steps in self._by_operator()]
        every = [step for _, _, steps in self._parts for step in steps]
        self.work_size = place_storages(every, 0, lambda size: size)

    def _by_operator(self) -> Iterator[tuple[str, list[str], list[Step]]]:
        """Yield the steps of each operator, with what its value is called, and words about it."""
        begin = 0
        for operator, end in zip(self.lowering.operators, self.lowering.ends, strict=True):
            if end > begin:
                name = _plain(next(filter(None, operator.outputs)))
                yield name, self._words(operator), self.lowering.steps[begin:end]
            begin = end
        starts = accumulate(self.lowering.values[name].size for name in self._layer.results)
        results = dict(zip([0, *starts], self._layer.results, strict=False))
        for step in self.lowering.steps[begin:]:
            yield *self._end(step.outputs[0].storage, results), [step]

    def _end(self, storage: Storage, results: Mapping[int, str]) -> tuple[str, list[str]]:
        """Return what a step behind the last operator is called, and words about it: results and states are left."""
        if storage.base == codes.BASE_OUT:
            name = results[storage.offset]
            self._names.setdefault(storage, "result")
            return f"{_plain(name)}_result", [f"{_plain(name)} is a result."]
        if storage.base == codes.BASE_STATE:
            name = self._names[storage]
            return f"{name}_next", [f"what {name} becomes."]
        return "kept", ["a copy of a state that another one becomes."]

    def _words(self, operator: Operator) -> list[str]:
        shapes = self.lowering.values.shapes
        own = next(filter(None, operator.outputs))
        read = ", ".join(f"{_plain(name)} {_shape(shapes[name])}" for name in operator.inputs)
        return [f"{operator.kind}, {_shape(shapes[own])} of {read}."]

    def _arranged(self, steps: Sequence[Step]) -> Iterator[Step]:
        """Yield steps with the memory that they need here: integers are made of a row where it is multiplied."""
        records: dict[Storage, Quantize] = {}
        for step in steps:
            if isinstance(step, Quantize):
                records[step.outputs[0].storage] = step
            elif isinstance(step, Contract) and (made := records.get(step.inputs[0].storage)) is not None:
                whole = dataclasses.replace(step, inputs=made.inputs, rows=made.rows, places=made.places)
                gathered = (Storage(len(made.places), codes.BASE_ARENA),) if gathers(whole) else ()
                yield dataclasses.replace(whole, work=gathered)
            elif isinstance(step, Scan):
                cell = cell_of(self._unit, step, f"{_plain(next(filter(None, step.operator.outputs)))}_cell")
                arranged = dataclasses.replace(step, work=work_of(cell))
                self._cells[arranged] = cell
                yield arranged
            else:
                yield step

    def call(self, inputs: Sequence[str], out: str, work: str, given: str) -> str:
        """Write the functions, and return the call of all of them.

        Parameters
        ----------
        inputs, out, work
            Pointers to what the program reads and writes, and to its working memory.
        given
            What stays the same, as the function sees it.
        """
        names = Names(["state", "work", "features", "results", "given"])
        own = [names.new(name) for name in self._layer.inputs]
        calls, features_size = [], 0
        for title, head, steps in self._parts:
            routine = self._routine(title, steps)
            function = self._unit.function(title, head, ", ".join(routine.parameters), "\n".join(routine.statements))
            arguments = [self._pointer(storage, own) for storage in routine.storages]
            calls.append(f"{function}({', '.join([*arguments, *(['features'] if routine.features_size else [])])});")
            features_size = max(features_size, routine.features_size)
        body = "\n".join(calls)
        passed = {
            "grurt_state *state": "state",
            "float *work": work,
            "int8_t *features": self._unit.features(features_size) if features_size else "",
            "const float *given": given,
            **{f"const float *{name}": place for name, place in zip(own, inputs, strict=True)},
            "float *results": out,
        }
        passed = {each: argument for each, argument in passed.items() if text.mentions(each.split("*")[1], body)}
        head = [f"a timestep of {listed(self._layer.results)}." if self.members else "operator by operator."]
        function = self._unit.function(self._name, head, ", ".join(passed), body)
        return f"{function}({', '.join(passed.values())});"

    def _routine(self, title: str, steps: Sequence[Step]) -> Routine:
        routine = Routine(self._constants, title, self._names)
        for step in steps:
            routine.begin_step()
            if isinstance(step, Scan):
                cell = self._cells[step]
                write_scan(routine, step, cell, cell.write())
            else:
                _WRITERS[type(step)](routine, step)
        return routine

    def _pointer(self, storage: Storage, inputs: Sequence[str]) -> str:
        """Return the pointer to a storage in the function of the program."""
        if storage.base >= codes.BASE_INPUTS:
            return inputs[storage.base - codes.BASE_INPUTS]
        if storage.base == codes.BASE_STATE:
            return f"state->{self.members[storage].name}"
        base = {codes.BASE_ARENA: "work", codes.BASE_OUT: "results", codes.BASE_CONTEXT: "given"}[storage.base]
        return f"{base} + {storage.offset}" if storage.offset else base


def _names(lowering: ProgramLowering) -> dict[Storage, str]:
    """Return what storages are called: as the first value in them that has a name of the model's."""
    found: dict[Storage, str] = {}
    for name, view in lowering.values.views.items():
        if not name.startswith("\0"):
            found.setdefault(view.storage, name)
    return found


def _plain(name: str) -> str:
    """Return the name of a value without what marks those that have been added."""
    return name.removeprefix("\0").replace(" ", "_")


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"
