"""The inputs of a graph: values, states and lengths of sequences, told apart by who reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from grurt.converters.graph.assembly.axis_names import check_repeats, dtype_name, role_name
from grurt.converters.graph.assembly.interpret import Interpretation
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Declaration, Node
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.states import StateSource
from grurt.errors import UnsupportedError
from grurt.network.inputs import AnyInput, Input, TokenInput
from grurt.network.signature import AnyPort, DType, LengthsPort, StatePort, ValuePort
from grurt.network.signature import Axis as AxisName


def input_port(port: Declaration, found: Interpretation) -> AnyPort:
    """Return what an input is; UnsupportedError if nothing reads it, or several that do not go together."""
    build = found.build
    if port.name in (build.lengths, build.masked_by):
        if port.name in build.value_inputs:
            raise UnsupportedError(
                f"input {port.name[:100]!r}: it gives the lengths of sequences, and layers read it too"
            )
        return _lengths_input(port, found)
    sources = found.state_sources.get(port.name, {})
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
    dtype = dtype_name(port)
    if port.name in build.vocabulary_sizes and dtype.startswith("float"):  # which the source casts to integers
        dtype = "int64"
    return _value_input(port, axes, dtype)


def _lengths_input(port: Declaration, found: Interpretation) -> LengthsPort:
    axes = [dim[0] for dim in found.inputs[port.name].dims]
    if len(axes) == 1:
        axes[0].require(Role.BATCH, Node("", "input", (), (port.name,)))
    names: list[AxisName] = ["one" if axis.role is None and axis.size == 1 else role_name(axis, port) for axis in axes]
    return LengthsPort(
        name=port.name, dtype=dtype_name(port), axes=tuple(names), packed=port.name == found.build.lengths
    )


def network_input(port: ValuePort, found: Interpretation) -> AnyInput:
    """Return the network's input that a port gives: tokens or features."""
    if (vocabulary_size := found.build.vocabulary_sizes.get(port.name)) is not None:
        return TokenInput(port.name, vocabulary_size)
    sizes = [dim[0].size for dim in found.inputs[port.name].dims if dim[0].role is Role.FEATURE]
    return Input(port.name, port.positions * (sizes[0] if sizes else 1))


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
            names.append("state" if squeezed else role_name(axis, port))
    if groups == 1 < count and "feature" not in names:  # states of one number each lie side by side
        names[names.index("state")], groups = "feature", count
    check_repeats(port, names)
    return StatePort(
        name=port.name,
        states=tuple(ordered),
        dtype=dtype_name(port),
        axes=tuple(names),
        positions=build.positions.get(ordered[0], 1),
        groups=groups,
    )


def _value_input(port: Declaration, axes: list[Axis], dtype: DType) -> ValuePort:
    unknown = [axis for axis in axes if axis.role is None]
    if len(unknown) == 1 and all(axis.role is not Role.BATCH for axis in axes):
        unknown[0].root.require(Role.BATCH, Node("", "input", (), (port.name,)))
    fillers = (None, Role.STATE)  # of a factor, beside the axis of the states that it multiplies
    names: list[AxisName] = [
        "one" if axis.role in fillers and axis.size == 1 else role_name(axis, port) for axis in axes
    ]
    check_repeats(port, names)
    positions = math.prod(axis.size for axis in axes if axis.role is Role.POSITION)
    return ValuePort(name=port.name, value=port.name, dtype=dtype, axes=tuple(names), positions=positions)
