"""Makes nodes and constants while a program is translated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.elements import Element
from grurt.converters.graph.nodes import Attribute, Node
from grurt.converters.pt2.program import Call, Program, Ref
from grurt.errors import DesignReason

MAX_NODES = 1 << 18

Size = int | Ref


class Emitter:
    """The nodes and constants so far.

    Parameters
    ----------
    program
        What is translated.
    constants
        Its weights, buffers and constants by the names of the tensors that stand for them.
    budget
        What may be created.
    """

    def __init__(self, program: Program, constants: Mapping[str, Array], budget: Budget) -> None:
        self.nodes: list[Node] = []
        self.constants = dict(constants)
        self._budget = budget
        self._made: dict[object, str] = {}
        self._shapes = program.shapes
        self._dtypes = program.dtypes
        self._count = 0
        self._call = Call("", "", {}, ())

    def begin(self, call: Call) -> None:
        """Say which call the nodes that follow come from."""
        self._call = call

    def emit(self, op: str, *inputs: str, into: str | Sequence[str] | None = None, **attributes: Attribute) -> str:
        """Add a node, and return the name of its first output: new ones, unless ``into`` gives names."""
        if len(self.nodes) >= MAX_NODES:
            raise self._call.unsupported(
                f"the program comes to more than {MAX_NODES} nodes", "export a part of it", DesignReason.SIZE
            )
        outputs = (self.fresh(),) if into is None else (into,) if isinstance(into, str) else tuple(into)
        self.nodes.append(Node(self._call.name, op, inputs, outputs, attributes, self._call.module))
        return outputs[0]

    def fresh(self) -> str:
        """Return a name that no tensor of a program has."""
        self._count += 1
        return f"{self._call.name}/{self._count}"

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Return the name of a new constant."""
        name = self.fresh()
        self.constants[name] = np.asarray(value, dtype)
        return name

    def filled(self, value: float, shape: Sequence[int]) -> str:
        """Return the name of a new constant that repeats a number, and takes no memory."""
        name = self.fresh()
        self.constants[name] = np.broadcast_to(np.float32(value), tuple(shape))
        return name

    def made(self, key: object, arrays: Iterable[Array], make: Callable[[], Array]) -> str:
        """Return the name of the constant that is made of arrays, and is as large; made once for each key."""
        if key not in self._made:
            node = Node(self._call.name, self._call.op, (), ())
            self._budget.create(sum(array.nbytes for array in arrays), node)
            self._made[key] = name = self.fresh()
            self.constants[name] = make()
        return self._made[key]

    def tensor(self, name: str) -> str:
        """Return the name of a tensor argument; empty for None."""
        value = self._call.get(name)
        return value.name if isinstance(value, Ref) else ""

    def required(self, name: str) -> str:
        """Return the name of a tensor argument that has to be there."""
        tensor = self.tensor(name)
        if not tensor:
            raise self._call.unsupported(f"its argument {name!r} is no tensor", "export the model with torch 2.13")
        return tensor

    def operand(self, name: str) -> str:
        """Return the name of an argument that is a tensor or a number."""
        value = self._call.get(name)
        if isinstance(value, bool | int | float):
            return self.constant(value)
        return self.required(name)

    def operands(self, *names: str, divided: bool = False) -> list[str]:
        """Return the names of arguments that are computed with together: in floating point, if one of them is.

        ``divided`` says that the result is of floating point, whatever they are.
        """
        given = [self.operand(name) for name in names]
        tensors = [isinstance(self._call.get(name), Ref) for name in names]
        are_float = [self.is_float(name) if is_tensor else True for name, is_tensor in zip(given, tensors, strict=True)]
        numbers = any(isinstance(self._call.get(name), float) for name in names)
        found = divided or numbers or any(a and b for a, b in zip(tensors, are_float, strict=True))
        if all(are_float) or not found:
            return given
        to = int(Element.FLOAT)
        return [name if known else self.emit("Cast", name, to=to) for name, known in zip(given, are_float, strict=True)]

    def dtype(self, name: str) -> str:
        """Return the declared dtype of a tensor."""
        return self._dtypes[name]

    def is_float(self, name: str) -> bool:
        """Say whether a tensor or constant is of floating point."""
        known = self.constants.get(name)
        dtype = self._dtypes.get(name, "float32")
        return dtype.startswith(("float", "bfloat")) if known is None else known.dtype.kind == "f"

    def is_condition(self, name: str) -> bool:
        """Say whether a tensor holds truth values."""
        known = self.constants.get(name)
        return self._dtypes[name] == "bool" if known is None else known.dtype.kind == "b"

    def array(self, name: str) -> Array:
        """Return a constant by its name."""
        if name not in self.constants:
            raise self._call.unsupported(
                f"its weights {name[:80]!r} are computed", "save the weights themselves, without a parametrization"
            )
        return self.constants[name]

    def shape(self, name: str) -> tuple[int | str | None, ...]:
        """Return the declared shape of a tensor: numbers, and names or None for sizes left open."""
        return self._shapes[name]

    def rank(self, name: str) -> int:
        return len(self._shapes[name])

    def axis(self, name: str, axis: int) -> int:
        """Return an axis of a tensor as a number that is not negative."""
        rank = self.rank(name)
        if not -rank <= axis < max(rank, 1):
            raise self._call.unsupported(f"the axis {axis} is none of the {rank} of its input", "the file is damaged")
        return axis % max(rank, 1)

    def size(self, name: str, axis: int) -> Size:
        """Return the size of an axis: a number, or where that is open, the tensor that holds it."""
        size = self._shapes[name][axis]
        if isinstance(size, int):
            return size
        return Ref(self.emit("Gather", self.emit("Shape", name), self.constant(axis, np.int64), axis=0))

    def sizes(self, sizes: Sequence[Size]) -> str:
        """Return the name of a list of sizes, as the operators take shapes."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(sizes, np.int64)
        parts = [
            self.emit("Unsqueeze", size.name, axes=(0,)) if isinstance(size, Ref) else self.constant([size], np.int64)
            for size in sizes
        ]
        return self.emit("Concat", *parts, axis=0)
