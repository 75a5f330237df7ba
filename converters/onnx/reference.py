"""Runs an ONNX model with onnxruntime, where it is installed, so that a conversion can be compared with its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from google.protobuf.message import EncodeError
from onnx import ModelProto, NodeProto, TensorProto

from grurt.array_types import Array
from grurt.converters.graph.assembly.converted import ConvertedGraph
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Declaration
from grurt.converters.installed import is_installed
from grurt.converters.literal.assembly import StepGraph
from grurt.converters.literal.feeding import last_timestep, sample_timesteps
from grurt.converters.onnx.inference import run, run_fed
from grurt.converters.onnx.precision import precisions
from grurt.converters.onnx.tensors import ExternalData
from grurt.converters.onnx.widening import in_float32
from grurt.converters.reference import expect_finite, precision_of
from grurt.converters.sampling import open_steps, random_inputs
from grurt.errors import ConversionError
from grurt.network.axes import port_shape, shared_sizes
from grurt.network.network import Network
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import AnyPort, Axis, LengthsPort, Signature

BATCH = 2
STEPS = 16
_MOST_COPIES = 4
"""How often a byte of a data file may be part of a weight, on average."""


def reference_run(converted: ConvertedGraph, proto: ModelProto, external: ExternalData) -> ReferenceRun:
    """Run the source of a converted model on random inputs and states, always the same.

    Batches are of 2 sequences of 16 timesteps, except where the file fixes these sizes; and of 1 sequence where it runs
    with nothing else, as with an initial state that was frozen into it.

    Parameters
    ----------
    converted
        The network, and the graph that it was found in.
    proto
        What it was converted from. onnxruntime sees a copy with all weights inside, and opens no file.
    external
        The files beside ``proto``.

    Raises
    ------
    ConversionError
        With the reason why there is none: onnxruntime is not installed, or cannot run the file, not even in float32; or
        a run would take too much memory or time.
    """
    if not is_installed("onnxruntime"):
        raise ConversionError("onnxruntime is not installed")
    network = converted.network
    tries = list(_random_inputs(converted))
    converted.check_run({name: array.shape for name, array in tries[0].items()})
    names = [port.name for port in network.signature.outputs]
    inside = _with_weights_inside(proto, external)
    model = _bytes(inside)
    try:
        declared = [_as_declared(inputs, proto) for inputs in tries]
        given, answers, version = run(model, declared, names)
        inputs: Mapping[str, Array] = next(own for own, each in zip(tries, declared, strict=True) if each is given)
        computed = precisions(proto.graph, _live_nodes(proto))
    except ConversionError as error:
        if not in_float32(inside):
            raise
        try:
            inputs, answers, version = _run_in_float32(inside, tries, network.signature)
        except ConversionError:
            raise error from None
        version, computed = f"{version}, of the file in float32", {"float32"}
    expect_finite("onnxruntime", answers)
    if len(_batches(network.signature, {**inputs, **answers})) > 1:
        raise ConversionError("onnxruntime runs the file with no other number of sequences than the exporter's example")
    return ReferenceRun(inputs, answers, f"onnxruntime {version}", precision_of(network, computed))


def fed_reference_run(converted: StepGraph, proto: ModelProto, external: ExternalData) -> ReferenceRun:
    """Run the source of a network that was imported literally, fed with its own states, and keep the last timestep.

    Parameters and errors are those of `reference_run`.
    """
    if not is_installed("onnxruntime"):
        raise ConversionError("onnxruntime is not installed")
    names = [port.name for port in converted.outputs]
    model = _bytes(_with_weights_inside(proto, external))
    timesteps = sample_timesteps(converted)
    declared = [_as_declared({**inputs, **converted.bound}, proto) for inputs in timesteps]
    states, answers, version = run_fed(model, declared, converted.pairs, names)
    expect_finite("onnxruntime", answers)
    return last_timestep(
        converted, timesteps[-1], states, answers, f"onnxruntime {version}", precisions(proto.graph, _live_nodes(proto))
    )


def _batches(signature: Signature, arrays: Mapping[str, Array]) -> set[int]:
    """Return how many sequences the tensors of a run have."""
    ports = (*signature.inputs, *signature.outputs)
    sizes = (shared_sizes(port, arrays[port.name].shape) for port in ports)
    return {size["batch"] for size in sizes if "batch" in size}


def _bytes(model: ModelProto) -> bytes:
    try:
        data: bytes = model.SerializeToString()
    except (EncodeError, ValueError) as error:  # protobuf's, of more than two gigabytes
        raise ConversionError(f"onnxruntime cannot be given the file: {str(error)[:200]}") from error
    return data


def _run_in_float32(
    model: ModelProto, tries: Sequence[Mapping[str, Array]], signature: Signature
) -> tuple[Mapping[str, Array], dict[str, Array], str]:
    """Return inputs, answers and the version, as `run` does, in the dtypes of the source, whose own it cannot run."""
    narrow = [
        {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in inputs.items()}
        for inputs in tries
    ]
    inputs, answers, version = run(_bytes(model), narrow, [port.name for port in signature.outputs])
    ports = {port.name: port for port in signature.outputs}
    given = next(wide for wide, each in zip(tries, narrow, strict=True) if each is inputs)
    return given, {name: answer.astype(ports[name].dtype) for name, answer in answers.items()}, version


def _random_inputs(converted: ConvertedGraph) -> Iterator[dict[str, Array]]:
    signature = converted.network.signature
    declared = _declared(converted.inputs)
    fixed = _sizes(signature.outputs, _declared(converted.outputs)) | _sizes(signature.inputs, declared)
    sizes: dict[Axis, int] = {"batch": BATCH, "time": open_steps(converted.network, STEPS), **fixed}
    yield _inputs_of_sizes(converted.network, declared, sizes)
    if "batch" not in fixed:
        yield _inputs_of_sizes(converted.network, declared, {**sizes, "batch": 1})


def _inputs_of_sizes(
    network: Network, declared: Mapping[str, Sequence[int | None]], sizes: Mapping[Axis, int]
) -> dict[str, Array]:
    shapes: dict[str, tuple[int, ...]] = {}
    for port in network.signature.inputs:
        positions = 1 if isinstance(port, LengthsPort) else port.positions
        open_sizes: dict[Axis, int] = {**sizes, "batch_position": sizes["batch"] * positions}
        own = port_shape(port, network.values, network.initial_shapes)
        given = zip(own, declared[port.name], strict=True)
        shapes[port.name] = tuple(
            known if isinstance(known, int) else size or open_sizes[known] for known, size in given
        )
    return random_inputs(network, shapes, sizes["time"])


def _declared(ports: Iterable[Declaration]) -> dict[str, list[int | None]]:
    return {port.name: [size if isinstance(size, int) else None for size in port.shape or ()] for port in ports}


def _as_declared(inputs: Mapping[str, Array], proto: ModelProto) -> dict[str, Array]:
    """Return inputs of the types that the file declares: Keras declares tokens as floating-point numbers."""
    types = {port.name: dtype_of(port.type.tensor_type.elem_type, port.name) for port in proto.graph.input}
    return {name: array.astype(types[name], copy=False) for name, array in inputs.items()}


def _sizes(ports: Iterable[AnyPort], declared: Mapping[str, Sequence[int | None]]) -> dict[Axis, int]:
    """Return the sizes of batch and time that the file fixes, for some of its outputs only, if it has frozen them."""
    sizes: dict[Axis, int] = {}
    for port in ports:
        for axis, size in zip(port.axes, declared[port.name], strict=False):
            if size and axis in ("batch", "time"):
                sizes[axis] = size
            elif size and axis == "batch_position" and not isinstance(port, LengthsPort):
                sizes["batch"] = size // port.positions
    return sizes


def _with_weights_inside(proto: ModelProto, external: ExternalData) -> ModelProto:
    """Return a model of the nodes that the outputs need, with their weights inside."""
    graph = proto.graph
    nodes = _live_nodes(proto)
    read = {name for node in nodes for name in _reads(node)}
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    unread = {tensor.name for tensor in graph.initializer} - read
    inside = ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    inside.functions.extend(proto.functions)
    inside.graph.name = graph.name
    inside.graph.node.extend(nodes)
    inside.graph.initializer.extend(weights)
    inside.graph.sparse_initializer.extend(each for each in graph.sparse_initializer if each.values.name in read)
    inside.graph.input.extend(port for port in graph.input if port.name not in unread)
    inside.graph.output.extend(graph.output)
    inside.graph.value_info.extend(graph.value_info)
    copied = 0
    for tensor in inside.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            data = external.read(tensor)
            copied += len(data)
            if copied > _MOST_COPIES * external.size:
                raise ConversionError("its tensors share the bytes of their data file, and take more by themselves")
            tensor.raw_data = data
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
    return inside


def _live_nodes(proto: ModelProto) -> list[NodeProto]:
    """Return the nodes that the outputs need, in the order of the file."""
    nodes = list(proto.graph.node)
    writers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    live: set[int] = set()
    todo = [port.name for port in proto.graph.output]
    while todo:
        place = writers.get(todo.pop())
        if place is not None and place not in live:
            live.add(place)
            todo.extend(_reads(nodes[place]))
    return [nodes[place] for place in sorted(live)]


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield the names of what a node reads, and of what the nodes of the graphs inside of it read."""
    todo = [node]
    while todo:
        reader = todo.pop()
        yield from reader.input
        for attribute in reader.attribute:
            todo += attribute.g.node
            yield from (port.name for port in attribute.g.output)
