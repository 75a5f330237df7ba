"""An ONNX graph in the making."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array

ELEMENTS = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}


class GraphWriter:
    """Nodes, weights, inputs and outputs, as they are added.

    Parameters
    ----------
    taken
        Names that nodes and weights must not have, because inputs and outputs have them.
    """

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._taken = set(taken)
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []

    def graph(self, name: str) -> GraphProto:
        """Return the graph."""
        return helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._initializers)

    def inner(self) -> GraphWriter:
        """Return a writer for a graph inside of a node of this one, whose names are others."""
        writer = GraphWriter()
        writer._taken = self._taken
        return writer

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, and return that; an input of no name is left out."""
        return self.ops(op_type, *inputs, outputs=1, **attributes)[0]

    def ops(self, op_type: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs, and return them."""
        found = [self.unused(op_type) for _ in range(outputs)]
        self._nodes.append(helper.make_node(op_type, inputs, found, **attributes))
        return found

    def rename(self, value: str, name: str) -> None:
        """Give a value the name of an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def unused(self, name: str) -> str:
        """Return a name that nothing has yet."""
        number = 0
        while (found := f"{name}_{number}" if number else name) in self._taken:
            number += 1
        self._taken.add(found)
        return found

    def constant(self, value: ArrayLike, dtype: str = "float32", name: str = "constant") -> str:
        """Return the name of an initializer of these numbers; equal ones are one."""
        array: Array = np.asarray(value, dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.unused(name)
            self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), self._constants[key]))
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """Return the name of an initializer of int64."""
        return self.constant(values, "int64")

    def sizes(self, value: str, first: int = 0, last: int | None = None) -> str:
        """Return the sizes of some axes of a value, int64."""
        end = {} if last is None else {"end": last}
        return self.op("Shape", value, start=first, **end)

    def reshape(self, value: str, *shape: int | str) -> str:
        """Reshape a value: each part of the shape is a number (0: as it was, -1: what is left), or sizes."""
        if all(isinstance(part, int) for part in shape):
            return self.op("Reshape", value, self.integers(*map(int, shape)))
        return self.op("Reshape", value, self.join(*shape))

    def join(self, *shape: int | str) -> str:
        """Return a shape of numbers and of sizes."""
        return self.op("Concat", *(self.integers(part) if isinstance(part, int) else part for part in shape), axis=0)

    def transpose(self, value: str, *order: int) -> str:
        """Return a value with its axes in another order."""
        return value if order == tuple(range(len(order))) else self.op("Transpose", value, perm=order)

    def squeeze(self, value: str, *axes: int) -> str:
        """Take away axes of size 1."""
        return self.op("Squeeze", value, self.integers(*axes)) if axes else value

    def unsqueeze(self, value: str, *axes: int) -> str:
        """Insert axes of size 1."""
        return self.op("Unsqueeze", value, self.integers(*axes)) if axes else value

    def slice(self, value: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Return a part of a value along an axis."""
        bounds = (self.integers(number) for number in (start, stop, axis, step))
        return self.op("Slice", value, *bounds)

    def cast(self, value: str, dtype: str) -> str:
        """Return a value as another dtype."""
        return self.op("Cast", value, to=ELEMENTS[dtype])

    def input(self, name: str, dtype: str, shape: Sequence[int | str | None]) -> str:
        """Add an input of the graph, and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENTS[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str | None]) -> None:
        """Add an output of the graph: the value of that name."""
        self._outputs.append(helper.make_tensor_value_info(name, ELEMENTS[dtype], shape))
