"""A graph of operators as plain data: nodes, constants, and the declared inputs and outputs.

The operators are ONNX's, with the meaning that they have today; `grurt.` begins the names of those that rewriting adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError, DesignReason, UnsupportedError

_LONGEST_TEXT = 600
"""Of what an error says was found: lists in a file may be long."""


@dataclass(frozen=True)
class Body:
    """A graph inside of a node, as a Loop repeats it: beside its inputs it may read the tensors of the graph around it.

    ``constants`` are its own weights.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Array | Body | None


class MisfitError(UnsupportedError):
    """Sizes that do not fit together: the file has fixed one that it elsewhere leaves open, or it is damaged."""


ALL_AXES = "all_axes_from_axis"
"""An attribute that the readers of files give to a Softmax which works on several axes at once."""

OF_ANY_LENGTH = "of_any_length"
"""An attribute that they give to a pool whose windows do not follow from the length of an example."""


@dataclass
class Node:
    """One operator of a graph.

    Attributes are read through the methods below, which remember what was read: an attribute that nobody reads is one
    that the converter does not understand.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    module: str = ""
    """Path of the PyTorch module that the node comes from, e.g. ``"encoder.gru"``, where the exporter tells it."""
    _read: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        name = self.name or (self.outputs[0] if self.outputs else "")
        return f"node {name[:100]!r} ({self.op[:50]})"

    def has(self, name: str) -> bool:
        """Say whether the attribute is given."""
        return name in self.attributes

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self._value(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, "an integer")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a floating-point attribute."""
        value = self._value(name, default)
        if not isinstance(value, float):
            raise self._wrong(name, "a number")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a string attribute."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a list of integers; empty if it is not given."""
        return tuple(value for value in self._list(name) if isinstance(value, int))

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of floating-point numbers; empty if it is not given."""
        return tuple(value for value in self._list(name) if isinstance(value, float))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings; empty if it is not given."""
        return tuple(value for value in self._list(name) if isinstance(value, str))

    def tensor(self, name: str) -> Array | None:
        """Return a tensor attribute; None if it is not given."""
        value = self._value(name, None)
        if value is not None and not isinstance(value, np.ndarray):
            raise self._wrong(name, "a tensor")
        return value

    def ignore(self, *names: str) -> None:
        """Take note of attributes that do not change what the node computes in inference."""
        self._read.update(names)

    def unread(self) -> list[str]:
        """Return the names of the attributes that were given and not read."""
        return sorted(self.attributes.keys() - self._read)

    def unsupported(self, found: str, advice: str = "", reason: DesignReason | None = None) -> UnsupportedError:
        """Return the error that says what was found at this node, what to do, and why it stays so."""
        return UnsupportedError(f"{self}: {_short(found)}" + (f"; {advice}" if advice else ""), reason=reason)

    def invalid(self, found: str) -> ConversionError:
        """Return the error that says how this node contradicts the specification of ONNX."""
        return ConversionError(f"{self}: {_short(found)}: the file is damaged or was not written by an ONNX exporter")

    def misfit(self, found: str) -> MisfitError:
        """Return the error that says which sizes at this node do not fit together."""
        return MisfitError(
            f"{self}: {_short(found)}: the file is damaged, or was exported with a size that it elsewhere leaves open"
        )

    def _value(self, name: str, default: Attribute) -> Attribute:
        self._read.add(name)
        return self.attributes.get(name, default)

    def _list(self, name: str) -> tuple[int | float | str, ...]:
        value = self._value(name, ())
        if not isinstance(value, tuple):
            raise self._wrong(name, "a list")
        return value

    def _wrong(self, name: str, expected: str) -> ConversionError:
        return self.invalid(f"expected {expected} as its attribute {name!r}")


@dataclass(frozen=True)
class Declaration:
    """An input or output as the graph declares it: sizes are numbers, names of sizes left open, or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """A graph, as the readers of files return it; ``constants`` are its weights, among others."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[Declaration, ...]
    outputs: tuple[Declaration, ...]
    producer: str
    producer_version: str
    size: int
    """Bytes of the file, and of what it names beside it."""
    written_out: bool = False
    """Whether its timesteps are taken to be written out one by one."""
    features_last: bool = False
    """Whether the last axis of each input of three axes is taken to hold features."""

    def producers(self) -> dict[str, Node]:
        """Return the node that writes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."


def is_weight(array: Array) -> bool:
    """Say whether a constant holds weights, rather than shapes and positions."""
    return array.dtype.kind == "f" and array.size > 1


def live_order(nodes: Iterable[Node], given: Iterable[str], wanted: Iterable[str]) -> list[Node]:
    """Return the nodes that the wanted tensors need, each after those that it reads.

    Raises
    ------
    ConversionError
        If a tensor is written twice or by nobody, or nodes read each other in a circle.
    """
    known = set(given)
    producers: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in producers or name in known:
                raise node.invalid(f"the tensor {name[:100]!r} is written twice")
            producers[name] = node
    order: list[Node] = []
    open_nodes: set[int] = set()
    done: set[int] = set()
    todo = [(name, False) for name in reversed(list(wanted))]
    while todo:
        name, finished = todo.pop()
        if name in known or not name:
            continue
        if name not in producers:
            raise ConversionError(f"tensor {name[:100]!r}: nothing writes it: the file is damaged")
        node = producers[name]
        if id(node) in done:
            continue
        if finished:
            open_nodes.discard(id(node))
            done.add(id(node))
            order.append(node)
        elif id(node) in open_nodes:
            raise node.invalid("it reads, through other nodes, what it writes itself")
        else:
            open_nodes.add(id(node))
            todo.append((name, True))
            todo.extend((source, False) for source in reversed(node.inputs))
    return order
