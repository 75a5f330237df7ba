"""Runs an ONNX model with onnxruntime, where it is installed, so that a conversion can be compared with its source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from grurt.array_types import Array
from grurt.converters.graph.assembly.network import ConvertedGraph
from grurt.converters.installed import is_installed
from grurt.converters.onnx.tensors import ExternalData
from grurt.converters.sampling import random_inputs
from grurt.errors import ConversionError
from grurt.network.axes import feature_size, fixed_sizes
from grurt.network.network import Network
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import Axis, LengthsPort

BATCH = 2
STEPS = 16
_MOST_COPIES = 4
"""How often a byte of a data file may be part of a weight, on average."""


def reference_run(converted: ConvertedGraph, proto: ModelProto, external: ExternalData) -> ReferenceRun:
    """Run the source of a converted model on random inputs and states, always the same.

    Batches are of 2 sequences of 16 timesteps, except where the file fixes these sizes.

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
        With the reason why there is none: onnxruntime is not installed, or cannot run the file; or a run would take
        too much memory or time.
    """
    if not is_installed("onnxruntime"):
        raise ConversionError("onnxruntime is not installed")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Else it multiplies weights that the graph dequantizes as integers, and rounds what they are multiplied with.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if _computes_in_float16(proto):
        # From 1.24 on, onnxruntime's last level of optimization crashes on GRUs of float16, and the process with it.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    network = converted.network
    inputs = _random_inputs(network, proto)
    converted.check_run({name: array.shape for name, array in inputs.items()})
    names = [port.name for port in network.signature.outputs]
    try:
        data = _with_weights_inside(proto, external).SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        answers: list[Array] = session.run(names, inputs)
    except Exception as error:  # onnxruntime's and protobuf's exceptions have no base class of their own
        reason = re.sub(r"\S*/\S*", "", str(error))[:200]  # without the paths of the machine that built onnxruntime
        raise ConversionError(f"onnxruntime cannot run the file: {reason}") from error
    if not all(np.isfinite(answer).all() for answer in answers):
        raise ConversionError("onnxruntime gave answers that are not finite")
    return ReferenceRun(inputs, dict(zip(names, answers, strict=True)), f"onnxruntime {onnxruntime.__version__}")


def _computes_in_float16(proto: ModelProto) -> bool:
    ports = (port.type.tensor_type.elem_type for port in (*proto.graph.input, *proto.graph.output))
    weights = (tensor.data_type for tensor in proto.graph.initializer)
    bodies = (proto.graph, *proto.functions)
    attributes = [attribute for body in bodies for node in body.node for attribute in node.attribute]
    casts, constants = (each.i for each in attributes if each.name == "to"), (each.t.data_type for each in attributes)
    return TensorProto.FLOAT16 in {*ports, *weights, *casts, *constants}


def _random_inputs(network: Network, proto: ModelProto) -> dict[str, Array]:
    declared = {
        port.name: [dim.dim_value if dim.HasField("dim_value") else None for dim in port.type.tensor_type.shape.dim]
        for port in proto.graph.input
    }
    sizes = _sizes(network, declared)
    shapes: dict[str, tuple[int, ...]] = {}
    for port in network.signature.inputs:
        own = fixed_sizes(port, feature_size(port, network.values, network.state_shapes))
        own["batch_position"] = sizes["batch"] * own.get("position", 1)
        given = zip(port.axes, declared[port.name], strict=True)
        shapes[port.name] = tuple(own.get(axis) or size or sizes[axis] for axis, size in given)
    return random_inputs(network, shapes, sizes["time"])


def _sizes(network: Network, declared: Mapping[str, Sequence[int | None]]) -> dict[Axis, int]:
    """Return the sizes of batch and time: those that the file fixes, or `BATCH` and `STEPS`."""
    sizes: dict[Axis, int] = {"batch": BATCH, "time": STEPS}
    for port in network.signature.inputs:
        for axis, size in zip(port.axes, declared[port.name], strict=True):
            if size and axis in ("batch", "time"):
                sizes[axis] = size
            elif size and axis == "batch_position" and not isinstance(port, LengthsPort):
                sizes["batch"] = size // port.positions
    return sizes


def _with_weights_inside(proto: ModelProto, external: ExternalData) -> ModelProto:
    """Return a model of the nodes that the outputs need, with their weights inside."""
    graph = proto.graph
    nodes = _live_nodes(proto)
    read = {name for node in nodes for name in node.input}
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
            todo.extend(nodes[place].input)
    return [nodes[place] for place in sorted(live)]
