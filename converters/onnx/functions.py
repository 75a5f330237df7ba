"""Functions that a file defines and calls as operators, replaced by what they consist of.

The inliner of the package onnx is not used: it follows whatever a file says, so that thirty functions that call each
other twice take all memory there is; and it copies the model, weights and all. Here, what calls may write out is
counted before it is.

Source: ``FunctionProto`` of the ONNX specification (onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from onnx import AttributeProto, FunctionProto, NodeProto

from grurt.converters.graph.nodes import Attribute, Node
from grurt.converters.onnx.names import Names
from grurt.converters.onnx.opsets import modernized
from grurt.converters.onnx.tensors import text
from grurt.errors import ConversionError, DesignReason, UnsupportedError

SPARE_PARTS = 1 << 17
"""How many nodes, names and attributes calls may write out, beside one for each byte of the file."""

_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)

STANDARD_DOMAINS = ("", "ai.onnx")

_Key = tuple[str, str, str]
"""What is called: a domain, a name and an overload."""


class Reference(str):
    """An attribute inside of a function: the name of the attribute of the call whose value it has."""

    __slots__ = ()


@dataclass(frozen=True)
class Reader:
    """Reads the parts of functions: nodes, attributes, and the version of the operators that a function uses.

    ``modules`` returns the paths of the modules that parameters belong to, by their names.
    """

    node: Callable[[NodeProto], Node]
    attribute: Callable[[AttributeProto, Node], Attribute]
    modules: Callable[[Iterable[str]], list[str]]
    version: Callable[[FunctionProto], int]


@dataclass(frozen=True)
class _Function:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: frozenset[str]
    defaults: Mapping[str, Attribute]
    nodes: tuple[tuple[_Key, Node], ...]
    version: int


@dataclass(frozen=True)
class _Call:
    """A function at work: its nodes that are still to come, and what the names in it stand for."""

    key: _Key | None
    nodes: Iterator[tuple[_Key, Node]]
    version: int
    tensors: dict[str, str]
    attributes: Mapping[str, Attribute]
    module: str = ""
    """That of its parameters, if they are all of one."""


class Functions:
    """The functions of a file.

    Parameters
    ----------
    protos
        As they stand in the file; those that nothing calls are not looked at.
    reader
        Reads their parts.
    names
        Gives names for the tensors inside of calls.
    size
        Bytes of the file.
    """

    def __init__(self, protos: Iterable[FunctionProto], reader: Reader, names: Names, size: int) -> None:
        self._protos: dict[_Key, FunctionProto] = {}
        for proto in protos:
            key = _key(proto.domain, proto.name, proto.overload)
            if key in self._protos:
                name = ".".join(filter(None, key))
                raise ConversionError(f"the file defines the function {name[:100]!r} twice: it is damaged")
            self._protos[key] = proto
        self._reader = reader
        self._names = names
        self._known: dict[_Key, _Function] = {}
        self._parts_left = SPARE_PARTS + size

    def inlined(self, protos: Iterable[NodeProto], version: int) -> Iterator[Node]:
        """Yield the nodes of a graph, and in place of a call those of its function, in the meaning of today.

        Raises
        ------
        ConversionError
            If a function calls itself, or is called with more than it takes.
        UnsupportedError
            If the calls write out much more than the file holds.
        """
        calls = [_Call(None, self._read(protos), version, {}, {})]
        is_open: set[_Key | None] = set()
        while calls:
            call = calls[-1]
            key, node = next(call.nodes, (None, None))
            if node is None:
                is_open.discard(calls.pop().key)
                continue
            if call.key is not None:
                node = self._bound(node, call)
            if key not in self._protos:
                node.attributes = modernized(node.op, node.attributes, call.version)
                yield node
                continue
            if key in is_open:
                raise node.invalid("the function that it calls calls itself")
            is_open.add(key)
            function = self._function(key, node)
            calls.append(self._called(node, key, function))
            yield from self._handed_through(node, function)

    def _read(self, protos: Iterable[NodeProto]) -> Iterator[tuple[_Key, Node]]:
        return ((_key(proto.domain, proto.op_type, proto.overload), self._reader.node(proto)) for proto in protos)

    def _function(self, key: _Key, node: Node) -> _Function:
        """Return the function that a node calls, read once."""
        if key not in self._known:
            proto = self._protos[key]
            if any(entry.type in _GRAPHS for inner in proto.node for entry in inner.attribute):
                raise node.unsupported(
                    "the function that it calls holds a loop or a branch",
                    "export the model without functions",
                    DesignReason.DATA_DEPENDENT,
                )
            defaults = {text(entry.name): self._reader.attribute(entry, node) for entry in proto.attribute_proto}
            self._known[key] = _Function(
                inputs=tuple(map(text, proto.input)),
                outputs=tuple(map(text, proto.output)),
                attributes=frozenset(map(text, proto.attribute)) | defaults.keys(),
                defaults=defaults,
                nodes=tuple(self._read(proto.node)),
                version=self._reader.version(proto),
            )
        return self._known[key]

    def _called(self, node: Node, key: _Key, function: _Function) -> _Call:
        if len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
            raise node.invalid("it has more inputs or outputs than the function that it calls")
        if unknown := sorted(node.attributes.keys() - function.attributes):
            raise node.unsupported(f"its attribute {unknown[0][:50]!r} is not understood")
        self._count(node, len(function.inputs) + len(function.outputs) + len(function.defaults))
        tensors = dict.fromkeys(function.inputs, "")
        tensors.update(zip(function.inputs, node.inputs, strict=False))
        for name, given in zip(function.outputs, node.outputs, strict=False):
            if given:
                tensors.setdefault(name, given)
        attributes = {**function.defaults, **node.attributes}
        modules = self._reader.modules(node.inputs)
        module = modules[0] if len(modules) == 1 else ""
        return _Call(key, iter(function.nodes), function.version, tensors, attributes, module)

    def _handed_through(self, node: Node, function: _Function) -> Iterator[Node]:
        """Yield copies of those inputs that a function returns as they are, and of outputs that stand twice in it."""
        inputs = dict(zip(function.inputs, node.inputs, strict=False))
        known: dict[str, str] = {}
        for name, given in zip(function.outputs, node.outputs, strict=False):
            source = inputs.get(name) or known.get(name)
            if given and source:
                yield Node(node.name, "Identity", (source,), (given,), {}, node.module)
            elif given:
                known[name] = given

    def _bound(self, template: Node, call: _Call) -> Node:
        """Return a node of a function with the names and attributes that it has in a call."""
        self._count(template, 1 + len(template.inputs) + len(template.outputs) + len(template.attributes))
        found = {
            name: call.attributes.get(value) if isinstance(value, Reference) else value
            for name, value in template.attributes.items()
            if not isinstance(value, Reference) or value in call.attributes
        }
        inputs, outputs = (
            tuple(self._tensor(name, call) for name in names) for names in (template.inputs, template.outputs)
        )
        module = template.module
        if module in ("", *self._reader.modules(template.inputs)):  # of parameters, which are those of the call
            module = next(iter(self._reader.modules(inputs)), call.module)
        return replace(template, inputs=inputs, outputs=outputs, attributes=found, module=module, _read=set())

    def _tensor(self, name: str, call: _Call) -> str:
        if name and name not in call.tensors:
            call.tensors[name] = self._names.new(name)
        return call.tensors[name] if name else ""

    def _count(self, node: Node, parts: int) -> None:
        self._parts_left -= parts
        if self._parts_left < 0:
            raise UnsupportedError(
                f"{node}: the functions in the file call each other so often that they write out more than "
                f"{SPARE_PARTS} nodes and names; export the model without functions",
                reason=DesignReason.SIZE,
            )


def _key(domain: str, name: str, overload: str) -> _Key:
    return "" if domain in STANDARD_DOMAINS else text(domain), text(name), text(overload)
