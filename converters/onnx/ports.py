"""Turns an interpreted graph into a Model: its inputs and outputs, and the states paired by data flow."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.errors import UnsupportedError
from grurt.layers import AnyInput, Input, Output, TokenInput
from grurt.model import Model, Source
from grurt.signature import Axis as AxisName
from grurt.signature import DType, Port, Signature, StatePort, ValuePort

from .axes import Axis, Role
from .builder import StateSource
from .combining import settled
from .graph import Declaration, Graph, Node
from .interpret import Interpretation
from .values import Tensor

_DTYPES: Mapping[str, DType] = {
    "float32": "float32",
    "float64": "float64",
    "float16": "float16",
    "int64": "int64",
    "int32": "int32",
}


def assemble(graph: Graph, found: Interpretation, source: Source) -> Model:
    """Return the model of an interpreted graph.

    Raises
    ------
    UnsupportedError
        If an input or output has axes that no stream has, or states do not belong to GRUs one to one.
    """
    outputs = _output_ports(graph, found)
    build = found.build
    renamed = build.fuse_biases(value for _, value in outputs if value)
    shown = [Output(port.name, renamed.get(value, value)) for port, value in outputs if value]
    inputs = [_input_port(port, found) for port in graph.inputs]
    ports = (*inputs, *(port for port, _ in outputs))
    with_state = [name for port in ports if isinstance(port, StatePort) for name in port.states]
    build.prune([*(output.value for output in shown), *with_state])
    return Model(
        layers=build.layers.values(),
        weights=build.weights,
        inputs=[_model_input(port, found) for port in inputs if isinstance(port, ValuePort)],
        outputs=shown,
        signature=Signature(tuple(inputs), tuple(port for port, _ in outputs)),
        source=source,
    )


def _output_ports(graph: Graph, found: Interpretation) -> list[tuple[Port, str]]:
    """Return the ports of the outputs, each with the value that it shows, empty for a state.

    The state of a GRU after its scan is a state, also where no input feeds it back; but as the only thing that a model
    gives, a single vector, it is the model's answer.
    """
    states = {port.name for port in graph.outputs if _is_state(found.outputs[port.name])}
    if len(states) == len(graph.outputs) and not found.build.state_sources:
        states -= {name for name in states if len(found.outputs[name].dims) <= 2 and not _stacks(found.outputs[name])}
    return [
        (_state_output(port, found.outputs[port.name]), "")
        if port.name in states
        else _value_output(port, found.outputs[port.name], found)
        for port in graph.outputs
    ]


def _is_state(tensor: Tensor) -> bool:
    separate = all(len(dim) <= 1 for dim in tensor.dims)
    return separate and all(row.final and not row.picked for row in tensor.rows)


def _stacks(tensor: Tensor) -> bool:
    """Say whether a tensor of states has an axis for them."""
    return any(not dim or dim[0] is tensor.stack for dim in tensor.dims)


def _state_output(port: Declaration, tensor: Tensor) -> StatePort:
    axes: list[AxisName] = [_role_name(dim[0], port) if dim else "state" for dim in tensor.dims]
    states = tuple(row.value for row in tensor.rows)
    _check_repeats(port, axes)
    return StatePort(name=port.name, states=states, dtype=_dtype(port), axes=tuple(axes))


def _value_output(port: Declaration, tensor: Tensor, found: Interpretation) -> tuple[ValuePort, str]:
    node = Node("", "output", (), (port.name,))
    tensor = settled(found.build.single(tensor, node), node, found.build)
    value = tensor.rows[0].value
    axes: list[AxisName] = []
    for dim in tensor.dims:
        if len(dim) > 1:
            raise UnsupportedError(
                f"output {port.name[:100]!r}: one of its axes merges {len(dim)} axes; "
                "export the model with an output of (batch, time, features)"
            )
        axes.append(_role_name(dim[0], port) if dim else "one")
    _check_repeats(port, axes)
    return ValuePort(name=port.name, value=port.name, dtype=_dtype(port), axes=tuple(axes)), value


def _input_port(port: Declaration, found: Interpretation) -> Port:
    build = found.build
    sources = {gru: source for gru, source in build.state_sources.items() if source.input == port.name}
    read = port.name in build.value_inputs
    if read and sources:
        reader = next(iter(sources))
        raise UnsupportedError(
            f"input {port.name[:100]!r}: it is the state of {reader!r}, and other layers read it too"
        )
    axes = [dim[0] for dim in found.inputs[port.name].dims]
    if sources:
        return _state_input(port, axes, sources)
    if not read:
        raise UnsupportedError(f"input {port.name[:100]!r}: no layer reads it; export the model without it")
    return _value_input(port, axes)


def _state_input(port: Declaration, axes: list[Axis], sources: Mapping[str, StateSource]) -> StatePort:
    ordered = sorted(sources, key=lambda gru: sources[gru].position)
    count = max((source.axis.size for source in sources.values() if source.axis is not None), default=1)
    positions = [sources[gru].position for gru in ordered]
    if positions != list(range(len(positions))) or len(positions) != count:
        raise UnsupportedError(
            f"input {port.name[:100]!r}: it holds {count} states, and the GRUs read those at {positions}; "
            "each must be the state of one GRU"
        )
    names: list[AxisName] = []
    for axis in axes:
        squeezed = axis.role is None and axis.size == 1 and "state" not in names
        names.append("state" if squeezed else _role_name(axis, port))
    _check_repeats(port, names)
    return StatePort(name=port.name, states=tuple(ordered), dtype=_dtype(port), axes=tuple(names))


def _value_input(port: Declaration, axes: list[Axis]) -> ValuePort:
    unknown = [axis for axis in axes if axis.role is None]
    if len(unknown) == 1 and all(axis.role is not Role.BATCH for axis in axes):
        unknown[0].root.require(Role.BATCH, Node("", "input", (), (port.name,)))
    names: list[AxisName] = ["one" if axis.role is None and axis.size == 1 else _role_name(axis, port) for axis in axes]
    _check_repeats(port, names)
    return ValuePort(name=port.name, value=port.name, dtype=_dtype(port), axes=tuple(names))


def _model_input(port: ValuePort, found: Interpretation) -> AnyInput:
    if (vocabulary_size := found.build.vocabulary_sizes.get(port.name)) is not None:
        return TokenInput(port.name, vocabulary_size)
    sizes = [dim[0].size for dim in found.inputs[port.name].dims if dim[0].role is Role.FEATURE]
    return Input(port.name, sizes[0] if sizes else 1)


def _role_name(axis: Axis, port: Declaration) -> AxisName:
    if axis.role is None:
        raise UnsupportedError(f"{port.name[:100]!r}: nothing in the graph tells what {axis.where} means")
    return axis.role.value


def _check_repeats(port: Declaration, axes: list[AxisName]) -> None:
    for name in set(axes) - {"one"}:
        if axes.count(name) > 1:
            raise UnsupportedError(
                f"{port.name[:100]!r}: {axes.count(name)} of its axes serve as the {name} axis, as where GRUs scan "
                "different axes of a tensor; each GRU must scan the same time axis"
            )


def _dtype(port: Declaration) -> DType:
    if port.dtype not in _DTYPES:
        raise UnsupportedError(f"{port.name[:100]!r}: the type {port.dtype} is not supported")
    return _DTYPES[port.dtype]
