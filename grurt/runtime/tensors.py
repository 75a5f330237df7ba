"""The source's own tensors, as the kernels take them: see `grurt.kernels.tensors`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

_ORDER: tuple[Axis, ...] = ("state", "batch", "time", "position", "feature")
"""The order in which the kernels have axes, unless time comes first."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that lies in memory as the kernels read it, if its axes that are longer than 1 are in their order."""

    axes: tuple[Axis, ...]
    fixed: Mapping[Axis, int]
    """The sizes of its axes but those of batch and time."""
    positions: int
    is_per_step: bool

    def shape(self, n_sequences: int, n_steps: int) -> tuple[int, ...]:
        """Return its shape for so many sequences of so many timesteps."""
        sizes = {"batch": n_sequences, "time": n_steps, "batch_position": n_sequences * self.positions}
        return tuple([sizes.get(axis) or self.fixed[axis] for axis in self.axes])

    @property
    def pattern(self) -> tuple[int, ...]:
        """Its shape as `codes` has it, for any call."""
        sequences = codes.SEQUENCES + 1 - self.positions
        sizes = {"batch": codes.SEQUENCES, "time": codes.TIMESTEPS, "batch_position": sequences}
        return tuple([sizes.get(axis) or self.fixed[axis] for axis in self.axes])

    def sizes_in(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return how many sequences of how many timesteps a tensor of some shape has; None if it is none of these."""
        if len(shape) != len(self.axes):
            return None
        found = dict(zip(self.axes, shape, strict=True))
        n_sequences = found.get("batch", found.get("batch_position", self.positions) // self.positions)
        n_steps = found.get("time", 1)
        fits = n_sequences > 0 < n_steps and self.shape(n_sequences, n_steps) == shape
        return (n_sequences, n_steps) if fits else None

    def is_time_first(self, n_sequences: int, n_steps: int) -> bool:
        """Return whether timesteps of several sequences lie before sequences."""
        several = n_sequences > 1 and n_steps > 1 and {"batch", "time"} <= set(self.axes)
        return several and self.axes.index("time") < self.axes.index("batch")

    def has(self, n_sequences: int, n_steps: int, *, time_first: bool) -> bool:
        """Return whether it can be of so many sequences of so many timesteps, and lie as the kernels read it."""
        axes = [part for axis in self.axes for part in (("batch", "position") if axis == "batch_position" else (axis,))]
        if (n_sequences > 1 and "batch" not in axes) or (n_steps > 1 and self.is_per_step and "time" not in axes):
            return False
        sizes = {**self.fixed, "batch": n_sequences, "time": n_steps}
        order = ("state", "time", "batch", *_ORDER[3:]) if time_first else _ORDER
        places = [order.index(axis) for axis in axes if sizes[axis] > 1]  # type: ignore[index]
        return places == sorted(places)


def tensors_of(network: Network, ports: Sequence[AnyPort], values: Mapping[str, Value]) -> tuple[Tensor, ...] | None:
    """Return the tensors of ports; None if one is nothing that the kernels read or write.

    Parameters
    ----------
    network
        The network.
    ports
        The inputs or outputs of its signature.
    values
        What they show, by the names that they have for it.
    """
    tensors = [_tensor(network, port, values) for port in ports]
    return None if None in tensors else tuple(filter(None, tensors))


def _tensor(network: Network, port: AnyPort, values: Mapping[str, Value]) -> Tensor | None:
    if isinstance(port, LengthsPort):
        return None
    size = feature_size(port, values, network.state_shapes)
    if isinstance(port, StatePort):
        tokens, is_per_step = False, False
        fits = port.groups == 1
    else:
        tokens, is_per_step = values[port.value].tokens, values[port.value].per_step
        fits = not port.backwards and MERGED_TIME.keys().isdisjoint(port.axes)
    if not fits or port.dtype != ("int64" if tokens else "float32"):
        return None
    return Tensor(port.axes, fixed_sizes(port, size), port.positions, is_per_step)


def tensor_constants(
    network: Network, answered: Sequence[AnyPort], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Constants:
    """Return what all contexts have in common that run a network on its source's tensors: see `codes`.

    Parameters
    ----------
    network
        The network.
    answered
        Ports for all of its outputs, and for states.
    inputs, outputs
        The tensors of its signature's inputs, and of ``answered``.
    """
    plan, constants = plan_of(network), sequence_constants(network)
    read, initial = _slots(plan, network.signature.inputs, plan.inputs)
    written, final = _slots(plan, answered, plan.outputs)
    patterns = [tensor.pattern for tensor in (*inputs, *outputs)]
    table = np.array([number for pattern in patterns for number in (len(pattern), *pattern)], np.int64)
    array = np.zeros(constants.array.size + codes.PORT_SLOTS * (len(initial) + len(final)), np.int64)
    array[: constants.array.size] = constants.array
    array[codes.CONTEXT_TENSORS_IN], array[codes.CONTEXT_TENSORS_OUT] = len(inputs), len(outputs)
    array[codes.CONTEXT_N_INITIAL], array[codes.CONTEXT_N_FINAL] = len(initial), len(final)
    ports = array[codes.CONTEXT_PORTS :].reshape(-1, codes.PORT_SLOTS)
    for of_port, slots in zip(ports, (*read, *written, *initial, *final), strict=True):
        of_port[list(slots)] = list(slots.values())
    ends = np.cumsum([1 + len(pattern) for pattern in patterns])
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
            (n_rows, stride), (size, _) = ((1, 0), *state.axes)[-2:]
            states.append(
                {
                    codes.PORT_TENSOR: i,
                    codes.PORT_LAYER: k,
                    codes.PORT_SIZE: size,
                    codes.PORT_FRAME_ROWS: n_rows,
                    codes.PORT_VALUE: F32_BYTES * state.offset,
                    codes.PORT_STRIDE: F32_BYTES * stride,
                }
            )
    return [{codes.PORT_TENSOR: places[value.name]} for value in values], states
