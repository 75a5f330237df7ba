"""The whole way from a network to the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, checker, helper

from grurt.converters.onnx.writing import ports
from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.converters.onnx.writing.layers import LayerWriter
from grurt.errors import ConversionError, StreamingError
from grurt.network.frames import Frame, frames_of
from grurt.network.layers import AnyLayer
from grurt.network.network import Network
from grurt.network.signature import LengthsPort, StatePort, ValuePort
from grurt.version import VERSION

OPSET, IR_VERSION = 20, 10
MAX_WEIGHTS = (1 << 31) - (1 << 20)
"""Bytes: a protobuf holds 2 GiB at most."""


def onnx_of_network(network: Network, *, step: bool) -> bytes:
    """Return the ONNX file of a network. See `grurt.converters.to_onnx`."""
    if step and (reason := network.unstreamable_reason):
        raise StreamingError(f"the model cannot be written as a single timestep: {reason}")
    size = 4 * network.parameter_count
    if size > MAX_WEIGHTS:
        raise ConversionError(f"ONNX: expected weights of at most {MAX_WEIGHTS:,} bytes, got {size:,}")
    graph = _step_graph(network) if step else _sequence_graph(network)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="grurt",
        producer_version=VERSION,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _sequence_graph(network: Network) -> GraphProto:
    signature = network.signature
    graph = _graph([port.name for port in (*signature.inputs, *signature.outputs)])
    values: dict[str, str] = {}
    states: dict[str, str] = {}
    if any("index" in port.axes for port in (*signature.inputs, *signature.outputs)):
        raise ConversionError("ONNX: expected a source of sequences, got one of timesteps: write it with step=True")
    lengths = graph.constant(signature.lengths, "int32") if signature.lengths else None
    for port in signature.inputs:
        graph.input(port.name, port.dtype, ports.declared_shape(port, network.values, network.state_shapes))
        if isinstance(port, ValuePort):
            values[port.value] = ports.read_value(graph, port, tokens=network.values[port.value].tokens)
        elif isinstance(port, LengthsPort):
            lengths = ports.read_lengths(graph, port)
        else:
            states |= ports.read_states(graph, port, network.state_shapes[port.states[0]][-1])
    writer = LayerWriter(graph, network, values, states, lengths, is_step=False)
    writer.write()
    shown = {output.name: network.values[output.value] for output in network.outputs}
    written = {output.name: values[output.value] for output in network.outputs}
    for port in signature.outputs:
        if isinstance(port, StatePort):
            size = network.state_shapes[port.states[0]][-1]
            ports.write_states(graph, port, [writer.final_states[name] for name in port.states], size)
        else:
            ports.write_value(graph, port, written[port.value])
        graph.output(port.name, port.dtype, ports.declared_shape(port, shown, network.state_shapes))
    return graph.graph("grurt")


def _graph(names: Sequence[str]) -> GraphWriter:
    """Return a writer for a graph whose inputs and outputs have some names."""
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConversionError(f"ONNX: expected inputs and outputs of different names, got {sorted(twice)[0]!r} twice")
    return GraphWriter(names)


def _step_graph(network: Network) -> GraphProto:
    frames = frames_of(network)
    graph = _graph([*frames.inputs, *frames.outputs])
    values = {}
    for port in network.inputs:
        frame = frames.inputs[port.name]
        name = graph.input(port.name, "int64" if port.tokens else "float32", [1, 1, *frame.shape])
        values[port.name] = _vector(graph, frame, name)
    states = {
        name: _state_shape(layer, shape) for layer in network.layers for name, shape in network.states_of(layer).items()
    }
    given = {name: graph.input(graph.unused(f"{name}_state"), "float32", shape) for name, shape in states.items()}
    given |= {name: graph.input(graph.unused(name), "float32", shape) for name, shape in network.context_shapes.items()}
    writer = LayerWriter(graph, network, values, given, None, is_step=True)
    writer.write()
    for output in network.outputs:
        frame = frames.outputs[output.name]
        graph.rename(_frame(graph, frame, values[output.value]), output.name)
        graph.output(output.name, "float32", [1, 1, *frame.shape])
    for state, shape in states.items():
        name = graph.unused(f"{state}_next_state")
        graph.rename(writer.final_states[state], name)
        graph.output(name, "float32", shape)
    return graph.graph("grurt")


def _state_shape(layer: AnyLayer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a state in a graph of one timestep: see `LayerWriter.states`."""
    if layer.program():
        return shape
    if layer.keeps_input:
        return shape[0], 1, shape[1]
    return (1, *shape) if len(shape) > 1 else (1, 1, *shape)


def _vector(graph: GraphWriter, frame: Frame, name: str) -> str:
    """Return a frame ``(1, 1, *shape)`` as the model's vector ``(1, 1, size)``."""
    if frame.transposed:
        name = graph.transpose(name, 0, 1, 3, 2)
    return graph.reshape(name, 1, 1, -1) if frame.is_grid else name


def _frame(graph: GraphWriter, frame: Frame, vector: str) -> str:
    """Return the reverse of `_vector`."""
    if not frame.is_grid:
        return vector
    if not frame.transposed:
        return graph.reshape(vector, 1, 1, *frame.shape)
    return graph.transpose(graph.reshape(vector, 1, 1, *frame.shape[::-1]), 0, 1, 3, 2)
