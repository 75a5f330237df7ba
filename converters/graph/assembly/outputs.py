"""The outputs of a graph: values, and states of GRUs, paired with those that it reads by data flow."""

from __future__ import annotations

import math
from dataclasses import replace

from grurt.converters.graph.assembly.axis_names import check_repeats, dim_name, dtype_name, is_batch_of_positions
from grurt.converters.graph.assembly.interpret import Interpretation
from grurt.converters.graph.building.alignment import settled
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Declaration, Graph, Node
from grurt.converters.graph.operators.cells import final_state
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.converters.graph.tracing.values import Row, Tensor
from grurt.errors import UnsupportedError
from grurt.network.signature import Axis as AxisName
from grurt.network.signature import Port, StatePort, ValuePort


def output_ports(graph: Graph, found: Interpretation) -> list[tuple[Port, str]]:
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
    separate = all(len(dim) <= 1 or is_batch_of_positions(dim) for dim in tensor.dims) or _is_grouped(tensor)
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
    axes: list[AxisName] = [dim_name(dim, port) for dim in dims]
    if "state" not in axes and () in dims:  # a single state, or an only timestep without a batch
        axes[dims.index(())] = "state"
    if any(axis.role is Role.BATCH for axis in tensor.dropped):
        axes = ["batch_position" if axis == "position" else axis for axis in axes]
    states = tuple(row.value for row in tensor.rows)
    check_repeats(port, axes)
    return StatePort(
        name=port.name,
        states=states,
        dtype=dtype_name(port),
        axes=tuple(axes),
        positions=build.positions.get(states[0], 1),
        groups=len(states) if grouped else 1,
    )


def _value_output(port: Declaration, tensor: Tensor, found: Interpretation) -> tuple[ValuePort, str]:
    node = Node("", "output", (), (port.name,))
    tensor = settled(_side_by_side(tensor, node, found.build), node, found.build)
    backwards = any(axis.is_reversed for dim in tensor.dims for axis in dim)
    tensor = replace(tensor, dims=tuple(map(_in_order, tensor.dims)))
    axes: list[AxisName] = [dim_name(dim, port) for dim in tensor.dims]
    if "time" in axes and found.build.is_single(tensor.rows[0].value):
        raise UnsupportedError(
            f"output {port.name[:100]!r}: it repeats one vector at every timestep; export the model with the vector "
            "itself as its output"
        )
    if found.build.grid:
        vector = found.build.with_positions(tensor.rows[0].value, 1)
        tensor = tensor.with_row(Row(vector))
    value = tensor.rows[0].value
    check_repeats(port, axes)
    positions = _count_positions(tensor)
    return (
        ValuePort(
            name=port.name,
            value=port.name,
            dtype=dtype_name(port),
            axes=tuple(axes),
            positions=positions,
            backwards=backwards,
        ),
        value,
    )


def _in_order(dim: Dim) -> Dim:
    """Return a dimension with its timesteps in their own order."""
    return tuple(axis.reversed() if axis.is_reversed else axis for axis in dim)


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
