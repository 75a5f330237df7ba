"""Reads an ONNX file: from bytes to a `Graph`, with every size checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorShapeProto, ValueInfoProto

from grurt.array_types import Array
from grurt.converters.foreign_formats import HEAD_BYTES, by_content
from grurt.converters.graph.elements import MAX_RANK, dtype_of
from grurt.converters.graph.nodes import Attribute, Body, Declaration, Graph, Node
from grurt.converters.onnx.contributed import in_standard_operators
from grurt.converters.onnx.functions import STANDARD_DOMAINS, Functions, Reader, Reference
from grurt.converters.onnx.messages import check_parts
from grurt.converters.onnx.names import Names
from grurt.converters.onnx.opsets import OLDEST
from grurt.converters.onnx.sparse import read_sparse_tensor
from grurt.converters.onnx.tensors import ExternalData, read_tensor, text
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_NODES = 200_000
MAX_PORTS = 1 << 12

_OPERATOR = re.compile(r"(MatMul|Gemm|Add|GRU|Conv)(_\d+)?")
_FIXED_SIZE = re.compile(r"[1-9][0-9]{0,8}")
_PARAMETER = re.compile(r"([\w.]{1,100})\.(weight|bias)")


def parse_model(data: bytes) -> ModelProto:
    """Return the protobuf message in the bytes of a file; ConversionError if there is none, or another format's."""
    if (foreign := by_content(data[:HEAD_BYTES])) is not None:
        what, advice = foreign
        raise UnsupportedError(f"expected an ONNX model, got {what}; {advice}", reason=DesignReason.OTHER_FORMAT)
    check_parts(data, ModelProto)
    try:
        return onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ConversionError("expected an ONNX model, got bytes that are none: the file is damaged") from error


def read_graph(proto: ModelProto, external: ExternalData, size: int) -> Graph:
    """Return the graph of a model, with all its weights.

    Parameters
    ----------
    proto
        The parsed file.
    external
        The files beside it.
    size
        Its bytes in the file.
    """
    if not proto.graph.node:
        raise ConversionError("expected an ONNX model, got one without any node: the file is damaged")
    if (n_nodes := sum(len(graph.node) for graph in _graphs(proto.graph))) > MAX_NODES:
        raise _too_many(n_nodes, "nodes")
    for parts, what in (
        (proto.graph.initializer, "weights"),
        (proto.graph.sparse_initializer, "sparse weights"),
        (proto.graph.input, "inputs"),
        (proto.graph.output, "outputs"),
    ):
        if len(parts) > (most := MAX_NODES if what.endswith("weights") else MAX_PORTS):
            raise _too_many(len(parts), what, most)
    constants = _constants(proto.graph, external)
    return Graph(
        nodes=_nodes(proto, external, size),
        constants=constants,
        inputs=tuple(declaration(port) for port in proto.graph.input if port.name not in constants),
        outputs=tuple(declaration(port) for port in proto.graph.output),
        producer=_printable(proto.producer_name),
        producer_version=_printable(proto.producer_version),
        size=size + external.size,
    )


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph, and those inside of its nodes."""
    todo = [graph]
    while todo:
        yield (one := todo.pop())
        attributes = (entry for node in one.node for entry in node.attribute)
        todo += [entry.g for entry in attributes if entry.type == AttributeProto.GRAPH]


def _constants(graph: GraphProto, external: ExternalData) -> dict[str, Array]:
    """Return the weights of a graph, by name; ConversionError if a name stands twice."""
    dense = ((text(tensor.name), partial(read_tensor, tensor)) for tensor in graph.initializer)
    sparse = ((text(each.values.name), partial(read_sparse_tensor, each)) for each in graph.sparse_initializer)
    constants: dict[str, Array] = {}
    for name, read in (*dense, *sparse):
        if name in constants:
            raise ConversionError(f"tensor {name[:100]!r}: the file holds two weights of this name: it is damaged")
        constants[name] = read(external)
    return constants


def _nodes(proto: ModelProto, external: ExternalData, size: int) -> tuple[Node, ...]:
    """Return the nodes of a model's graph, those that its functions consist of among them."""
    version = _opset(proto)

    def body(graph: GraphProto) -> Body:
        return Body(
            nodes=written_out(graph.node),
            constants=_constants(graph, external),
            inputs=tuple(text(port.name) for port in graph.input),
            outputs=tuple(text(port.name) for port in graph.output),
        )

    def written_out(protos: Iterable[NodeProto]) -> tuple[Node, ...]:
        nodes: list[Node] = []
        for node in functions.inlined(protos, version):
            nodes += in_standard_operators(node, names)
            if len(nodes) > MAX_NODES:
                raise _too_many(len(nodes), "nodes")
        return tuple(nodes)

    reader = Reader(
        node=partial(_node, external=external, body=body),
        attribute=partial(_attribute, external=external, body=body),
        modules=_modules_of_parameters,
        version=lambda function: _opset(function, version),
    )
    names = Names(name for graph in _graphs(proto.graph) for name in _names(graph))
    functions = Functions(proto.functions, reader, names, size)
    return written_out(proto.graph.node)


def _names(graph: GraphProto) -> Iterator[str]:
    """Yield the names of the tensors of a graph, without those of the graphs inside of its nodes."""
    for node in graph.node:
        yield from (*node.input, *node.output)
    yield from (part.name for part in (*graph.input, *graph.initializer))
    yield from (each.values.name for each in graph.sparse_initializer)


def _too_many(count: int, what: str, most: int = MAX_NODES) -> UnsupportedError:
    return UnsupportedError(f"the graph has {count} {what}; at most {most} are supported", reason=DesignReason.SIZE)


def _opset(proto: ModelProto | FunctionProto, default: int | None = None) -> int:
    """Return the version of the ONNX operators that a model uses, or a function, which may leave that to the model."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in STANDARD_DOMAINS]
    if not versions and default is not None:
        return default
    if not versions:
        raise ConversionError("the file does not say which version of the ONNX operators it uses: it is damaged")
    newest = int(onnx.defs.onnx_opset_version())
    version = int(max(versions))
    if not OLDEST <= version <= newest:
        raise UnsupportedError(
            f"the file uses version {version} of the ONNX operators; versions {OLDEST} to {newest} are "
            "supported: export again with one of them, or update the package onnx"
        )
    return version


def _node(proto: NodeProto, external: ExternalData, body: Callable[[GraphProto], Body]) -> Node:
    inputs, outputs = tuple(map(text, proto.input)), tuple(map(text, proto.output))
    op = text(proto.op_type)
    if text(proto.domain) not in STANDARD_DOMAINS:
        op = f"{proto.domain}.{op}"
    node = Node(text(proto.name), op, inputs, outputs, {}, _module(proto))
    node.attributes = {text(entry.name): _attribute(entry, node, external, body) for entry in proto.attribute}
    return node


def _attribute(
    proto: AttributeProto, node: Node, external: ExternalData, body: Callable[[GraphProto], Body]
) -> Attribute:
    if proto.ref_attr_name:
        return Reference(text(proto.ref_attr_name))
    match proto.type:
        case AttributeProto.FLOAT:
            return float(proto.f)
        case AttributeProto.INT:
            return int(proto.i)
        case AttributeProto.STRING:
            return _decoded(proto.s)
        case AttributeProto.TENSOR:
            return read_tensor(proto.t, external)
        case AttributeProto.SPARSE_TENSOR:
            return read_sparse_tensor(proto.sparse_tensor, external)
        case AttributeProto.FLOATS:
            return tuple(float(value) for value in proto.floats)
        case AttributeProto.INTS:
            return tuple(int(value) for value in proto.ints)
        case AttributeProto.STRINGS:
            return tuple(_decoded(value) for value in proto.strings)
        case AttributeProto.GRAPH:
            return body(proto.g)
        case AttributeProto.GRAPHS:
            return None
        case _:
            raise node.unsupported(f"its attribute {proto.name[:50]!r} is of a kind that is not supported")


def declaration(proto: ValueInfoProto) -> Declaration:
    """Return how an input or output of a graph is declared; ConversionError if it is no tensor of a dtype."""
    where = f"{text(proto.name)[:100]!r} in the graph's inputs and outputs"
    if not proto.name:
        raise ConversionError("an input or output of the graph has no name: the file is damaged")
    tensor = proto.type.tensor_type
    if proto.type.WhichOneof("value") is None:
        raise UnsupportedError(f"{where}: the file does not say of what type it is; export the model with types")
    if not proto.type.HasField("tensor_type"):
        raise UnsupportedError(
            f"{where}: expected a tensor, got a sequence, map or optional value", reason=DesignReason.ELEMENT_TYPE
        )
    shape = None
    if tensor.HasField("shape"):
        if len(tensor.shape.dim) > MAX_RANK:
            raise ConversionError(f"{where}: expected at most {MAX_RANK} axes, got {len(tensor.shape.dim)}")
        shape = tuple(map(_size, tensor.shape.dim))
    return Declaration(proto.name, dtype_of(tensor.elem_type, where).name, shape)


def _size(dim: TensorShapeProto.Dimension) -> int | str | None:
    """Return the size of an axis, or its name; the dynamo exporter writes sizes that it found to be fixed as names."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    name = text(dim.dim_param)
    return int(name) if _FIXED_SIZE.fullmatch(name) else name or None


def _module(proto: NodeProto) -> str:
    """Return the module path that PyTorch's exporters leave in names or metadata; the rest of these is not kept."""
    if proto.name.startswith("/"):  # the TorchScript exporter: /encoder/gru/GRU_1
        return ".".join(part for part in proto.name.split("/")[1:-1] if not _OPERATOR.fullmatch(part))
    scopes = next(
        (text(entry.value) for entry in proto.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"), ""
    )
    names = re.findall(r"'([\w.]*)'", scopes[:1000])  # the dynamo exporter: ['', 'encoder', 'encoder.gru', 'gru']
    if len(names) > 1:
        return str(names[-2])
    return next(iter(_modules_of_parameters(proto.input)), "")


def _modules_of_parameters(names: Iterable[str]) -> list[str]:
    """Return the paths of the modules that the parameters among some tensors belong to."""
    return list(dict.fromkeys(match[1] for match in map(_PARAMETER.fullmatch, names) if match))


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _printable(value: str) -> str:
    return "".join(character for character in text(value)[:100] if character.isprintable()).strip()
