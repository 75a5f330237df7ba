"""Turns an interpreted graph into a Model: its inputs and outputs, and the states paired by data flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from grurt.errors import UnsupportedError
from grurt.model import Model, Source
from grurt.network.inputs import AnyInput, Input, Output, TokenInput
from grurt.network.layers import GRU, Conv1d
from grurt.network.signature import AnyPort, DType, LengthsPort, Port, Signature, StatePort, ValuePort
from grurt.network.signature import Axis as AxisName

from .alignment import settled
from .axes import Axis, Dim, Role
from .builder import Builder
from .fusion import fuse_biases, fuse_projections
from .graph import Declaration, Graph, Node
from .interpret import Interpretation
from .states import StateSource
from .steps import final_state
from .values import Row, Tensor

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
    renamed = fuse_biases(build, (value for _, value in outputs if value))
    fuse_projections(build, (renamed.get(value, value) for _, value in outputs if value))
    shown = [Output(port.name, renamed.get(value, value)) for port, value in outputs if value]
    inputs = [_input_port(port, found) for port in graph.inputs]
    ports = (*inputs, *(port for port, _ in outputs))
    with_state = [name for port in ports if isinstance(port, StatePort) for name in port.states]
    build.prune([*(output.value for output in shown), *with_state])
    _refuse_history_of_padding(build)
    model = Model(
        layers=build.layers.values(),
        weights=build.weights,
        inputs=[_model_input(port, found) for port in inputs if isinstance(port, ValuePort)],
        outputs=shown,
        signature=Signature(
            tuple(inputs), tuple(port for port, _ in outputs), build.lengths if isinstance(build.lengths, tuple) else ()
        ),
        source=source,
    )
    _refuse_unequal_times(graph, model)
    return model


def _output_ports(graph: Graph, found: Interpretation) -> list[tuple[Port, str]]:
    """Return the ports of the outputs, each with the value that it shows, empty for a state.

    The state of a GRU after its scan is a state, also where no input feeds it back; but as the only thing that a model
    gives, a single vector, it is the model's answer.
    """
    tensors = {name: final_state(tensor, found.build) for name, tensor in found.outputs.items()}
    states = {name for name, tensor in tensors.items() if _is_state(tensor)}
    if len(states) == len(graph.outputs) and not found.build.state_sources:
        states -= {name for name in states if len(tensors[name].dims) <= 2 and not _stacks(tensors[name])}
    return [
        (_state_output(port, tensors[port.name], found.build), "")
        if port.name in states
        else _value_output(port, tensors[port.name], found)
        for port in graph.outputs
    ]


def _is_state(tensor: Tensor) -> bool:
    separate = all(len(dim) <= 1 or _is_batch_of_positions(dim) for dim in tensor.dims) or _is_grouped(tensor)
    repeated = any(axis.role is Role.TIME for dim in tensor.dims for axis in dim)
    return separate and not repeated and all(row.final and not row.picked and row.part is None for row in tensor.rows)


def _is_grouped(tensor: Tensor) -> bool:
    """Say whether a tensor holds the states of groups side by side along its features, its last dimension."""
    *others, last = tensor.dims
    merged = len(last) == 2 and last[:1] == tensor.stacks and last[1].role is Role.FEATURE
    return merged and all(len(dim) <= 1 for dim in others)


def _stacks(tensor: Tensor) -> bool:
    """Say whether a tensor of states has an axis for them."""
    return any(not dim or dim[0] in tensor.stacks for dim in tensor.dims)


def _state_output(port: Declaration, tensor: Tensor, build: Builder) -> StatePort:
    grouped = _is_grouped(tensor)
    dims = [dim[-1:] if grouped and dim is tensor.dims[-1] else dim for dim in tensor.dims]
    axes: list[AxisName] = [_dim_name(dim, port) if dim else "state" for dim in dims]
    if any(axis.role is Role.BATCH for axis in tensor.dropped):
        axes = ["batch_position" if axis == "position" else axis for axis in axes]
    states = tuple(row.value for row in tensor.rows)
    _check_repeats(port, axes)
    return StatePort(
        name=port.name,
        states=states,
        dtype=_dtype(port),
        axes=tuple(axes),
        positions=build.positions.get(states[0], 1),
        groups=len(states) if grouped else 1,
    )


def _value_output(port: Declaration, tensor: Tensor, found: Interpretation) -> tuple[ValuePort, str]:
    node = Node("", "output", (), (port.name,))
    tensor = settled(_side_by_side(tensor, node, found.build), node, found.build)
    axes: list[AxisName] = [_dim_name(dim, port) for dim in tensor.dims]
    if "time" in axes and found.build.is_single(tensor.rows[0].value):
        raise UnsupportedError(
            f"output {port.name[:100]!r}: it repeats one vector at every timestep; export the model with the vector "
            "itself as its output"
        )
    if found.build.grid:
        vector = found.build.with_positions(tensor.rows[0].value, 1)
        tensor = tensor.with_row(Row(vector))
    value = tensor.rows[0].value
    _check_repeats(port, axes)
    return (
        ValuePort(
            name=port.name, value=port.name, dtype=_dtype(port), axes=tuple(axes), positions=_count_positions(tensor)
        ),
        value,
    )


def _side_by_side(tensor: Tensor, node: Node, build: Builder) -> Tensor:
    """Return a tensor of one value: rows stacked along an axis of their own are positions, or features if single."""
    for index, dim in enumerate(tensor.dims):
        if tensor.stacks and dim == tensor.stacks and not tensor.integer:
            value = build.joined(tensor.rows, node)
            are_single = all(axis.role is not Role.FEATURE for dim in tensor.dims for axis in dim)
            role = Role.FEATURE if are_single else Role.POSITION
            axis = Axis(len(tensor.rows), f"the axis along which {value!r} holds its parts", role)
            return replace(tensor, rows=(Row(value),), stacks=()).with_dim(index, (axis,))
    return build.single(tensor, node)


def _count_positions(tensor: Tensor) -> int:
    return math.prod(axis.size for dim in tensor.dims for axis in dim if axis.role is Role.POSITION)


def _refuse_unequal_times(graph: Graph, model: Model) -> None:
    """Refuse sequences that belong together though the file fixes them to different numbers of timesteps."""
    known: dict[int, tuple[str, int]] = {}
    for port, declared in zip(model.signature.inputs, graph.inputs, strict=True):
        for name, size in zip(port.axes, declared.shape or (), strict=True):
            if name == "time" and isinstance(size, int) and isinstance(port, ValuePort):
                other, expected = known.setdefault(model.values[port.value].stage, (port.name, size))
                if size != expected:
                    raise UnsupportedError(
                        f"input {port.name[:100]!r}: it has {size} timesteps and {other[:100]!r} has {expected}; "
                        "layers that read both need as many of each: export with sequences of one length"
                    )


def _refuse_history_of_padding(build: Builder) -> None:
    """Refuse convolutions behind a GRU of padded sequences: past the ends they would read what the source does not."""
    silent: set[str] = set()
    for layer in build.layers.values() if build.lengths else ():
        follows = any(source in silent for source in layer.inputs)
        if follows and isinstance(layer, Conv1d):
            raise UnsupportedError(
                f"layer {layer.name!r}: a convolution behind a GRU with sequence_lens is not supported; "
                "convolve before the GRU, or export the model without lengths"
            )
        if follows or isinstance(layer, GRU):
            silent.add(layer.name)


def _input_port(port: Declaration, found: Interpretation) -> AnyPort:
    build = found.build
    if port.name == build.lengths:
        if port.name in build.value_inputs:
            raise UnsupportedError(
                f"input {port.name[:100]!r}: it gives the lengths of sequences, and layers read it too"
            )
        return LengthsPort(name=port.name, dtype=_dtype(port), axes=("batch",))
    sources = {gru: source for gru, source in build.state_sources.items() if source.input == port.name}
    read = port.name in build.value_inputs
    if read and sources:
        reader = next(iter(sources))
        raise UnsupportedError(
            f"input {port.name[:100]!r}: it is the state of {reader!r}, and other layers read it too"
        )
    axes = [dim[0] for dim in found.inputs[port.name].dims]
    if sources:
        return _state_input(port, axes, sources, build)
    if not read:
        raise UnsupportedError(f"input {port.name[:100]!r}: no layer reads it; export the model without it")
    return _value_input(port, axes)


def _state_input(port: Declaration, axes: list[Axis], sources: Mapping[str, StateSource], build: Builder) -> StatePort:
    ordered = sorted(sources, key=lambda gru: (sources[gru].position, sources[gru].start))
    count = max((source.axis.size for source in sources.values() if source.axis is not None), default=1)
    groups = len({source.start for source in sources.values()})
    places = [(sources[gru].position, sources[gru].start) for gru in ordered]
    size = next((axis.size for axis in reversed(axes) if axis.role is Role.FEATURE), 1)
    if places != [(position, start) for position in range(count) for start in range(0, size, -(-size // groups))]:
        raise UnsupportedError(
            f"input {port.name[:100]!r}: it holds {count} states of {size} features, and GRUs read those from "
            f"{places[:20]} (state, feature); each must be the state of one GRU, or of groups of one size"
        )
    names: list[AxisName] = []
    for axis in axes:
        if axis.role is None and axis.root in build.merged_batches:
            names.append("batch_position")
        else:
            squeezed = axis.role is None and axis.size == 1 and "state" not in names
            names.append("state" if squeezed else _role_name(axis, port))
    _check_repeats(port, names)
    return StatePort(
        name=port.name,
        states=tuple(ordered),
        dtype=_dtype(port),
        axes=tuple(names),
        positions=build.positions.get(ordered[0], 1),
        groups=groups,
    )


def _value_input(port: Declaration, axes: list[Axis]) -> ValuePort:
    unknown = [axis for axis in axes if axis.role is None]
    if len(unknown) == 1 and all(axis.role is not Role.BATCH for axis in axes):
        unknown[0].root.require(Role.BATCH, Node("", "input", (), (port.name,)))
    names: list[AxisName] = ["one" if axis.role is None and axis.size == 1 else _role_name(axis, port) for axis in axes]
    _check_repeats(port, names)
    positions = math.prod(axis.size for axis in axes if axis.role is Role.POSITION)
    return ValuePort(name=port.name, value=port.name, dtype=_dtype(port), axes=tuple(names), positions=positions)


def _model_input(port: ValuePort, found: Interpretation) -> AnyInput:
    if (vocabulary_size := found.build.vocabulary_sizes.get(port.name)) is not None:
        return TokenInput(port.name, vocabulary_size)
    sizes = [dim[0].size for dim in found.inputs[port.name].dims if dim[0].role is Role.FEATURE]
    return Input(port.name, port.positions * (sizes[0] if sizes else 1))


def _dim_name(dim: Dim, port: Declaration) -> AxisName:
    if _is_batch_of_positions(dim):
        return "batch_position"
    if len(dim) > 1:
        raise UnsupportedError(
            f"output {port.name[:100]!r}: one of its axes merges {len(dim)} axes; "
            "export the model with an output of (batch, time, features)"
        )
    if not dim or (dim[0].role is None and dim[0].size == 1 and not dim[0].dynamic):
        return "one"
    return _role_name(dim[0], port)


def _is_batch_of_positions(dim: Dim) -> bool:
    return [axis.role for axis in dim] == [Role.BATCH, Role.POSITION]


def _role_name(axis: Axis, port: Declaration) -> AxisName:
    if axis.role is None:
        raise UnsupportedError(f"{port.name[:100]!r}: nothing in the graph tells what {axis.where} means")
    if axis.root.order is not None:
        raise UnsupportedError(
            f"output {port.name[:100]!r}: {axis.where} is in another order than in the inputs; "
            "export the model with the order restored"
        )
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
