"""A step program as it is built: operators one after the other, on values that have no names of their own yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.folding import Folder
from grurt.converters.literal.values import Traced, Value, is_constant
from grurt.errors import DesignReason, ModelError
from grurt.network import operators
from grurt.network.layers.program import MAX_OPERATORS
from grurt.network.operators.base import MAX_CONSTANT, Operator, check_shape

Shape = tuple[int, ...]

_MOST_EMITTED = 2 * MAX_OPERATORS
"""Of which those that nothing reads are dropped at the end."""

_MOST_LOOKED_AT = 1 << 16
"""Nodes of graphs inside of others, those of loops once for each round."""

_MOST_PLACES = 1 << 20
"""The most places that operators list together."""

_SMALL = 1 << 12
"""Bytes of constants that are looked through for equal ones."""

FLOAT = np.dtype(np.float32)
BOOL = np.dtype(np.bool_)


@dataclass(frozen=True)
class Scan:
    """A recurrent operator: over how many places it runs, what it starts from, and the values that it writes."""

    node: Node
    length: int
    states: Sequence[Value]
    results: Sequence[Traced]


@dataclass(frozen=True)
class Embedded:
    """Rows of a table, picked by an input in front of the program."""

    value: Traced
    token: str
    table: Array


@dataclass(frozen=True)
class Memory:
    """What a graph of whole sequences, run timestep by timestep, keeps from one to the next."""

    node: Node
    value: Traced
    result: Traced
    begins: Array


class ProgramBuilder:
    """Collects the operators of a program, and its constants.

    Parameters
    ----------
    budget
        What may be created of constants.
    time_axes
        Of a graph of whole sequences that is to run timestep by timestep: along which axis of tensors time runs.
    """

    def __init__(self, budget: Budget, time_axes: Mapping[str, int] | None = None) -> None:
        self.time_axes = time_axes or {}
        self.memories: list[Memory] = []
        self.folder = Folder(budget)
        self.operators: list[Operator] = []
        self.shapes: dict[str, Shape] = {}
        self.constants: dict[str, Array] = {}
        self.source_names: dict[str, str] = {}
        """The source's names of values and constants, where it has one."""
        self.node = Node("", "input", (), ())
        """The node that operators are added for."""
        self.mixed: list[tuple[Node, str, int]] = []
        """Tensors of the source, each with an axis along which a node mixes what they hold."""
        self.scans: list[Scan] = []
        self.embeddings: list[Embedded] = []
        self.token_inputs: dict[str, str] = {}
        """The values of inputs of one whole number, and the names of the inputs."""
        self.zero: Array = np.zeros((), np.float32)
        self._writers: dict[str, Operator] = {}
        self._origins: dict[str, str] = {}
        self._places_left = _MOST_PLACES
        self._nodes_left = _MOST_LOOKED_AT
        self._known: dict[object, str] = {}
        self._array_names: dict[int, tuple[str, Array]] = {}
        self._counter = count()

    def input(self, shape: Shape, dtype: np.dtype[Any]) -> Traced:
        """Return a value that the program is given."""
        return self._value(shape, dtype)

    def note_name(self, name: str, value: Value) -> None:
        """Take note that the source calls a value by a name."""
        if isinstance(value, Traced):
            self.source_names.setdefault(value.name, name)
        else:
            self._array_names.setdefault(id(value), (name, value))

    def look_at(self, n_nodes: int) -> None:
        """Take note of nodes inside of a branch or a round; UnsupportedError if these are more than there may be."""
        self._nodes_left -= n_nodes
        if self._nodes_left < 0:
            raise self.node.unsupported(
                f"its branches and loops, written out, have more than {_MOST_LOOKED_AT} nodes",
                "export one step of the network, without loops",
                DesignReason.SIZE,
            )

    def emit(self, kind: type[Operator], *inputs: Value, dtype: np.dtype[Any] | None = None, **fields: Any) -> Traced:
        """Add an operator, and return what it writes: of the dtype of its first input, unless another is given."""
        return self.emit_several(kind, *inputs, dtype=dtype, **fields)[0]

    def emit_several(
        self, kind: type[Operator], *inputs: Value, dtype: np.dtype[Any] | None = None, **fields: Any
    ) -> tuple[Traced, ...]:
        """Add an operator, and return all that it writes."""
        if len(self.operators) >= _MOST_EMITTED:
            raise self.node.unsupported(f"the graph has more than {MAX_OPERATORS} operators", reason=DesignReason.SIZE)
        names = tuple(map(self.name_of, inputs))
        outputs = tuple(f"%{next(self._counter)}" for _ in range(kind.n_outputs))
        operator = kind(inputs=names, outputs=outputs, **fields)
        try:
            operator.check()
            shapes = operator.shapes(*(self.shapes[name] for name in names))
            for shape in shapes:
                check_shape("it", shape)
        except ModelError as error:
            raise self.node.unsupported(f"{kind.__name__}: {str(error).partition(': ')[2]}") from error
        self.operators.append(operator)
        dtype = inputs[0].dtype if dtype is None else dtype
        results = tuple(self._value(shape, dtype, name) for shape, name in zip(shapes, outputs, strict=True))
        self._writers.update(dict.fromkeys(outputs, operator))
        return results

    def writer(self, value: Traced) -> Operator | None:
        """Return the operator that writes a value; None if it is given."""
        return self._writers.get(value.name)

    def origin(self, value: Traced) -> str:
        """Return the name of the value of which this one holds the numbers, in other shapes or parts of it."""
        return self._origins.get(value.name, value.name)

    def written(self, value: Value) -> Traced:
        """Return a value that the program can hand out, be it a constant."""
        return value if isinstance(value, Traced) else self.emit(operators.Reshape, value, shape=value.shape)

    def name_of(self, value: Value) -> str:
        """Return the name of a value in the program; that of a constant is new, unless an equal one is there."""
        if isinstance(value, Traced):
            return value.name
        shape, n_bytes = value.shape, math.prod(value.shape) * value.itemsize
        key = (value.dtype, shape, value.tobytes()) if n_bytes <= _SMALL else (id(value), shape)
        if key not in self._known:
            try:
                check_shape("it", shape, MAX_CONSTANT)
            except ModelError as error:
                raise self.node.unsupported(f"its constant: {str(error).partition(': ')[2]}") from error
            name = self._value(shape, value.dtype).name
            self.constants[name] = value
            self._known[key] = name
            if id(value) in self._array_names:
                self.source_names[name] = self._array_names[id(value)][0]
        return self._known[key]

    def mixes(self, node: Node, index: int, *axes: int) -> None:
        """Take note that a node mixes what lies along axes of one of its inputs: that axis is no batch."""
        self.mixed += [(node, node.inputs[index], axis) for axis in axes]

    def token_rows(self, table: Array, indices: Traced) -> Traced | None:
        """Return the row of a table for an input of one whole number; None if the number is not an input as it is."""
        while isinstance(before := self.writer(indices), operators.Reshape):
            indices = Traced(before.inputs[0], self.shapes[before.inputs[0]], indices.dtype)
        if indices.name not in self.token_inputs or table.ndim != 2 or table.dtype.kind != "f":
            return None
        for known in self.embeddings:
            if known.token == indices.name and known.table is table:
                return known.value
        value = self.input((1, table.shape[1]), table.dtype)
        self.embeddings.append(Embedded(value, indices.name, table))
        return value

    def time_axis(self, node: Node) -> int | None:
        """Return the axis of a node's first input along which time runs, if that is to be taken apart."""
        return self.time_axes.get(node.inputs[0])

    def keep(self, node: Node, value: Traced, result: Value, begins: Array) -> None:
        """Keep a result for the next timestep, where it is a value; that begins as a constant."""
        self.memories.append(Memory(node, value, self.written(result), begins))

    def with_history(self, node: Node, value: Value, axis: int, steps: int) -> Value:
        """Return a value behind those of timesteps before, zeros at first, which it is kept among."""
        shape = (*value.shape[:axis], steps, *value.shape[axis + 1 :])
        before = self.input(shape, value.dtype)
        joined = self.concat([before, value], axis)
        size = joined.shape[axis]
        self.keep(node, before, self.slice(joined, {axis: range(size - steps, size)}), np.zeros(shape, np.float32))
        return joined

    def _value(self, shape: Shape, dtype: np.dtype[Any], name: str | None = None) -> Traced:
        name = f"%{next(self._counter)}" if name is None else name
        self.shapes[name] = shape
        return Traced(name, shape, dtype)

    # Movement, of values and constants alike; what moves nothing adds nothing.

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """Return a value in another shape."""
        if value.shape == tuple(shape):
            return value
        if not isinstance(value, Traced):
            return value.reshape(tuple(shape))
        before = self.writer(value)
        if isinstance(before, operators.Reshape):  # which the second one takes the place of
            value = Traced(before.inputs[0], self.shapes[before.inputs[0]], value.dtype)
            return self.reshape(value, shape)
        return self.emit(operators.Reshape, value, shape=tuple(shape))

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        """Return a value with its axes in another order."""
        if tuple(perm) == tuple(range(value.ndim)):
            return value
        if is_constant(value):
            return value.transpose(tuple(perm))
        return self.emit(operators.Transpose, value, perm=tuple(perm))

    def expand(self, value: Value, shape: Sequence[int]) -> Value:
        """Return a value broadcast to a shape."""
        if value.shape == tuple(shape):
            return value
        if is_constant(value):
            return np.broadcast_to(value, tuple(shape))
        return self.emit(operators.Expand, value, shape=tuple(shape))

    def slice(self, value: Value, ranges: Mapping[int, range]) -> Value:
        """Return some places along axes of a value, each in steps."""
        whole = [ranges.get(axis, range(size)) for axis, size in enumerate(value.shape)]
        sizes = tuple(map(len, whole))
        if 0 in sizes:
            return np.zeros(sizes, value.dtype)
        if is_constant(value):
            return value[np.ix_(*whole)] if whole else value
        if all(kept == range(size) for kept, size in zip(whole, value.shape, strict=True)):
            return value
        steps = tuple(kept.step if len(kept) > 1 else 1 for kept in whole)
        starts = tuple(kept.start for kept in whole)
        return self.emit(operators.Slice, value, starts=starts, sizes=sizes, steps=steps)

    def gather(self, value: Value, axis: int, places: Sequence[int]) -> Value:
        """Return places along an axis, which may stand in any order and more than once."""
        if is_constant(value):
            return value.take(places, axis)
        if not len(places):
            return np.zeros((*value.shape[:axis], 0, *value.shape[axis + 1 :]), value.dtype)
        step = places[1] - places[0] if len(places) > 1 else 1
        kept = range(places[0], places[0] + step * len(places), step) if step else range(0)
        if list(kept) == list(places):
            return self.slice(value, {axis: kept})
        self._places_left -= len(places)
        if self._places_left < 0:
            raise self.node.unsupported(
                f"the graph picks more than {_MOST_PLACES} numbers one by one", reason=DesignReason.SIZE
            )
        if value.shape[axis] == 1:
            return self.expand(value, (*value.shape[:axis], len(places), *value.shape[axis + 1 :]))
        return self.emit(operators.Gather, value, axis=axis, places=tuple(places))

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Return values one after the other along an axis."""
        filled = [value for value in values if value.shape[axis]]
        if len(filled) < 2:
            return filled[0] if filled else values[0]
        return self.emit(operators.Concat, *filled, axis=axis, dtype=filled[0].dtype)
