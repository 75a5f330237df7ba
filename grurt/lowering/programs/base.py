"""What the lowerings of all operators share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.lowering.programs.layouts import wished_orders
from grurt.lowering.programs.memory import Values
from grurt.lowering.programs.merging import merge_scans
from grurt.lowering.programs.rewriting import add_shapes, with_padding
from grurt.lowering.programs.steps import Map, Step
from grurt.lowering.programs.views import Storage, View, is_same, memory_order, whole
from grurt.network.vectors import padded

if TYPE_CHECKING:
    from grurt.lowering.programs.constants import Constant
    from grurt.lowering.programs.layouts import Order
    from grurt.network.layers import Program


class Lowering:
    """A program being lowered: where its values lie, and the steps so far.

    Parameters
    ----------
    layer
        The program.
    constants
        Its constants by name.
    """

    def __init__(self, layer: Program, constants: Mapping[str, Constant]) -> None:
        shapes = layer.shapes()
        merged, of_merged = merge_scans(layer.operators, shapes, constants)
        self.constants = {**constants, **of_merged}
        shapes |= {name: constant.values.shape for name, constant in of_merged.items()}
        add_shapes(shapes, merged)
        operators = list(with_padding(merged, shapes))
        add_shapes(shapes, operators)
        wishes = wished_orders(operators, shapes, layer.states)
        self.layer = layer
        self.operators = operators
        self.values = Values(operators, shapes, wishes)
        self.steps: list[Step] = []
        self.number = 0
        """Of the operator that is lowered now."""
        self.ends: list[int] = []
        """How many steps there were when each of the operators had been lowered."""
        self._readers = self._find_readers()
        self._bind_given(wishes)

    def _bind_given(self, wishes: Mapping[str, Order]) -> None:
        for number, (name, shape) in enumerate(zip(self.layer.inputs, self.layer.input_shapes, strict=True)):
            size = int(np.prod(shape))
            self.values.bind(name, whole(Storage(size, codes.BASE_INPUTS + number), shape))
        start = 0
        for name, shape in self.layer.given_shapes().items():
            size = int(np.prod(shape))
            self.values.bind(name, whole(Storage(size, codes.BASE_CONTEXT, start), shape))
            start += size
        start = 0
        for state in self.layer.states:
            size = int(np.prod(state.shape))
            storage = Storage(size, codes.BASE_STATE, start)
            self.values.bind(state.name, whole(storage, state.shape, wishes.get(state.name)))
            start += padded(size)
        for name, constant in self.constants.items():
            if constant.weight_format == "float32":
                self.values.constant(name, constant.floats)

    def _find_readers(self) -> defaultdict[str, list[int]]:
        """Return which operators read a value, by their numbers, and behind those the end, where results are read."""
        readers: defaultdict[str, list[int]] = defaultdict(lambda: [-1])
        for number, operator in enumerate(self.operators):
            for name in operator.inputs:
                readers[name].append(number)
        for name in (*self.layer.results, *(state.result for state in self.layer.states)):
            readers[name].append(len(self.operators))
        return readers

    @property
    def states(self) -> dict[str, View]:
        """Where the states lie."""
        return {state.name: self.values[state.name] for state in self.layer.states}

    def map(self, code: int, out: View, *inputs: View, parameters: tuple[float, float] = (0.0, 0.0)) -> None:
        """Add a function of every number."""
        self.steps.append(Map(code=code, outputs=(out,), inputs=inputs, parameters=parameters))

    def copy(self, out: View, x: View) -> None:
        """Copy a view, unless it is where it has to be."""
        if not is_same(out, x):
            self.map(codes.MAP_COPY, out, x)

    def copied(self, x: View, order: Sequence[int] | None = None) -> View:
        """Return a dense copy of a view, its axes in some order in memory."""
        out = self.values.arena(x.shape, None if order is None else tuple(order))
        self.copy(out, x)
        return out

    def filled(self, out: View, number: float) -> None:
        """Fill a view with a number."""
        storage = Storage(1, codes.BASE_WEIGHTS, numbers=np.array([number], np.float32))
        self.map(codes.MAP_COPY, out, whole(storage, ()))

    def hand_on(self) -> None:
        """Let the states become what they are to become, all at once."""
        moves = [(self.values[state.name], self.values[state.result]) for state in self.layer.states]
        moves = [(target, source) for target, source in moves if not is_same(target, source)]
        targets = {target.storage for target, _ in moves}
        for i, (target, source) in enumerate(moves):
            if source.storage in targets:  # it is read before it is written
                moves[i] = target, self.copied(source, memory_order(target))
        for target, source in moves:
            self.map(codes.MAP_FLUSH, target, source)
