"""The source's own tensors of one sequence, where they lie in memory as the kernels read them.

Of a batch of 1, that is a tensor with its axes in the order (time, position, feature), wherever its axes of size 1 are:
see `grurt.kernels.tensors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.axes import feature_size, fixed_sizes
from grurt.network.signature import MERGED_TIME, AnyPort, Axis, LengthsPort, StatePort, ValuePort
from grurt.runtime import arrays
from grurt.runtime.context import Constants, sequence_constants

if TYPE_CHECKING:
    from grurt.lowering.plan import Plan, PlanPort
    from grurt.network.network import Network
    from grurt.network.value import Value

Shape = tuple[int, ...]
"""Of a tensor of one sequence: `codes.TIMESTEPS` stands for the number of timesteps."""


def shapes_of(
    network: Network, ports: Sequence[AnyPort], values: Mapping[str, Value], n_steps: int
) -> tuple[Shape, ...] | None:
    """Return the shapes of ports' tensors; None unless all lie in memory as the kernels read them.

    Parameters
    ----------
    network
        The network.
    ports
        Inputs or outputs of its signature.
    values
        What they show, by their names for it.
    n_steps
        How many timesteps there are; `codes.TIMESTEPS` where any number is possible.
    """
    shapes = tuple(_shape(network, port, values, n_steps) for port in ports)
    return None if None in shapes else shapes  # type: ignore[return-value]


def _shape(network: Network, port: AnyPort, values: Mapping[str, Value], n_steps: int) -> Shape | None:
    if isinstance(port, LengthsPort):
        return None
    if isinstance(port, StatePort):
        size, tokens = feature_size(port, values, network.state_shapes), False
        fits = port.groups == 1
    else:
        size, tokens = values[port.value].size, values[port.value].tokens
        fits = not port.backwards and MERGED_TIME.keys().isdisjoint(port.axes)
    if not fits or port.dtype != ("int64" if tokens else "float32"):
        return None
    sizes = {**fixed_sizes(port, size), "time": n_steps, "batch": 1, "batch_position": port.positions}
    return tuple(sizes[axis] for axis in port.axes) if _in_order(port.axes, sizes) else None


def _in_order(axes: tuple[Axis, ...], sizes: Mapping[Axis, int]) -> bool:
    """Whether the axes that have more than one element are in the order in which the engine has them."""
    order: tuple[Axis, ...] = ("state", "time", "position", "batch_position", "feature")
    places = [order.index(axis) for axis in axes if axis == "time" or sizes[axis] > 1]
    return places == sorted(places)


def tensor_constants(network: Network, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> Constants:
    """Return what all contexts have in common that run a network on tensors of these shapes: see `codes`."""
    plan, constants = plan_of(network), sequence_constants(network)
    read, initial = _slots(plan, network.signature.inputs, plan.inputs)
    written, final = _slots(plan, network.signature.outputs, plan.outputs)
    table = np.array([number for shape in (*inputs, *outputs) for number in (len(shape), *shape)], np.int64)
    array = np.zeros(constants.array.size + codes.PORT_SLOTS * (len(initial) + len(final)), np.int64)
    array[: constants.array.size] = constants.array
    array[codes.CONTEXT_TENSORS_IN], array[codes.CONTEXT_TENSORS_OUT] = len(inputs), len(outputs)
    array[codes.CONTEXT_N_INITIAL], array[codes.CONTEXT_N_FINAL] = len(initial), len(final)
    ports = array[codes.CONTEXT_PORTS :].reshape(-1, codes.PORT_SLOTS)
    for of_port, slots in zip(ports, (*read, *written, *initial, *final), strict=True):
        of_port[list(slots)] = list(slots.values())
    ends = np.cumsum([1 + len(shape) for shape in (*inputs, *outputs)])
    addresses = data_address(table) + I64_BYTES * np.array([0, *ends[:-1]])
    is_read = [True] * len(read) + [False] * len(written) + [True] * len(initial) + [False] * len(final)
    first = np.where(is_read, 0, len(inputs))
    ports[:, codes.PORT_SHAPE] = addresses[first + ports[:, codes.PORT_TENSOR]]
    return Constants(array, (*constants.held, table, arrays.hold(table)))


def _slots(
    plan: Plan, ports: Sequence[AnyPort], values: Iterable[PlanPort]
) -> tuple[list[dict[int, int]], list[dict[int, int]]]:
    """Return what the context's ports have beside their numbers: those of values in the plan's order, and of states."""
    places = {port.value: i for i, port in enumerate(ports) if isinstance(port, ValuePort)}
    states = []
    for i, port in enumerate(ports):
        for k, name in enumerate(port.states if isinstance(port, StatePort) else ()):
            state = plan.states[name]
            states.append(
                {
                    codes.PORT_TENSOR: i,
                    codes.PORT_WITHIN: F32_BYTES * k * state.rows * state.size,
                    codes.PORT_SIZE: state.size,
                    codes.PORT_FRAME_ROWS: state.rows,
                    codes.PORT_VALUE: F32_BYTES * state.offset,
                    codes.PORT_STRIDE: F32_BYTES * state.stride,
                }
            )
    return [{codes.PORT_TENSOR: places[value.name]} for value in values], states
