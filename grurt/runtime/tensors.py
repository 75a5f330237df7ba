"""The source's own tensors, as the kernels take them: see `grurt.kernels.tensors`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.axes import filled, port_shape
from grurt.network.signature import MERGED_TIME, AnyPort, Axis, LengthsPort, StatePort, ValuePort
from grurt.runtime import arrays
from grurt.runtime.constants import Constants, sequence_constants

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.lowering.plan import Plan, PlanPort, PlanState
    from grurt.network.network import Network
    from grurt.network.value import Value

_ORDER: tuple[Axis, ...] = ("state", "batch", "time", "position", "feature", "index")
"""The order in which the kernels have axes, unless time comes first:"""
_TIME_FIRST: tuple[Axis, ...] = ("state", "time", "batch", *_ORDER[3:])


@dataclass(frozen=True)
class Tensor:
    """A tensor that lies in memory as the kernels read it, if its axes that are longer than 1 are in their order."""

    axes: tuple[Axis, ...]
    sizes: tuple[int | Axis, ...]
    """Of its axes; of those of batch and time, the axis."""
    positions: int
    is_per_step: bool
    turn: tuple[int, ...] = ()
    """The source's axes in this order, where it has them in one in which the kernels never read them."""

    def turned(self, array: Array) -> Array:
        """Return an array of the source's as the kernels read it."""
        return np.ascontiguousarray(array.transpose(self.turn))

    def turned_back(self, array: Array) -> Array:
        """Return what the kernels have written as the source has it."""
        return np.ascontiguousarray(array.transpose(np.argsort(self.turn)))

    def source_shape(self, n_sequences: int, n_steps: int) -> tuple[int, ...]:
        """Return the shape that the source has for so many sequences of so many timesteps."""
        shape = self.shape(n_sequences, n_steps)
        return tuple(shape[self.turn.index(axis)] for axis in range(len(shape))) if self.turn else shape

    def shape(self, n_sequences: int, n_steps: int) -> tuple[int, ...]:
        """Return its shape for so many sequences of so many timesteps."""
        return self._filled(n_sequences, n_steps, n_sequences * self.positions)

    @property
    def pattern(self) -> tuple[int, ...]:
        """Its shape as `codes` has it, for any call."""
        return self._filled(codes.SEQUENCES, codes.TIMESTEPS, codes.SEQUENCES + 1 - self.positions)

    def _filled(self, batch: int, time: int, merged: int) -> tuple[int, ...]:
        return filled(self.sizes, {"batch": batch, "time": time, "batch_position": merged})

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
        has_batch = not {"batch", "batch_position"}.isdisjoint(self.axes)
        if (n_sequences > 1 and not has_batch) or (n_steps > 1 and self.is_per_step and "time" not in self.axes):
            return False
        order = _TIME_FIRST if time_first else _ORDER
        places = [order.index(axis) for axis, size in self._parts(n_sequences, n_steps) if size > 1]
        return places == sorted(places)

    def _parts(self, n_sequences: int, n_steps: int) -> Iterator[tuple[Axis, int]]:
        """Yield its axes with their sizes, those that merge the batch with positions taken apart."""
        for axis, size in zip(self.axes, self.shape(n_sequences, n_steps), strict=True):
            if axis == "batch_position":
                yield from (("batch", n_sequences), ("position", self.positions))
            else:
                yield axis, size


def tensors_of(network: Network, ports: Sequence[AnyPort], values: Mapping[str, Value]) -> tuple[Tensor, ...] | None:
    """Return the tensors of ports; None if one is nothing that the kernels read or write.

    Tokens of int32 are read once they are int64.

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
    if isinstance(port, StatePort):
        tokens, is_per_step = False, False
        fits = port.groups == 1 and not any(plan_of(network).states[name].is_ring for name in port.states)
    else:
        tokens, is_per_step = values[port.value].tokens, values[port.value].per_step
        fits = not port.backwards and MERGED_TIME.keys().isdisjoint(port.axes)
    if not fits or port.dtype not in (("int64", "int32") if tokens else ("float32",)):
        return None
    axes, sizes, turn = port.axes, port_shape(port, values, network.initial_shapes), _turn(port.axes)
    if turn:
        axes, sizes = tuple(axes[place] for place in turn), tuple(sizes[place] for place in turn)
    return Tensor(axes, sizes, port.positions, is_per_step, turn)


def _turn(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Return the axes of a tensor in the order of the kernels; none where they are in it, or merge some."""
    places = [_ORDER.index(axis) if axis in _ORDER else -1 for axis in axes]
    if any(place < 0 and axis != "one" for place, axis in zip(places, axes, strict=True)):
        return ()
    own = [axis for axis in axes if axis != "one"]
    if any(own == sorted(own, key=order.index) for order in (_ORDER, _TIME_FIRST)):
        return ()
    return tuple(sorted(range(len(axes)), key=lambda axis: places[axis]))


def open_axis(network: Network, port: StatePort) -> int | None:
    """Return the axis of a source's tensor along which a context may be shorter; None if there is none."""
    opened = network.open_contexts.get(port.states[0])
    return None if opened is None else opened[0] + len(port.axes) - port.axes.count("index")


def tensor_constants(
    network: Network,
    read: Sequence[AnyPort],
    answered: Sequence[AnyPort],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> Constants:
    """Return what all contexts have in common that run a network on its source's tensors: see `codes`.

    Parameters
    ----------
    network
        The network.
    read
        Ports for all of its inputs, and for states.
    answered
        Ports for all of its outputs, and for states.
    inputs, outputs
        The tensors of ``read``, and of ``answered``.
    """
    plan, constants = plan_of(network), sequence_constants(network)
    tables = _Tables()
    shapes = [(len(tensor.axes), tables.add(tensor.pattern)) for tensor in (*inputs, *outputs)]
    taken, initial = _slots(plan, read, plan.inputs, tables)
    written, final = _slots(plan, answered, plan.outputs, tables)
    array = np.zeros(constants.array.size + codes.PORT_SLOTS * (len(initial) + len(final)), np.int64)
    array[: constants.array.size] = constants.array
    array[codes.CONTEXT_TENSORS_IN], array[codes.CONTEXT_TENSORS_OUT] = len(inputs), len(outputs)
    array[codes.CONTEXT_N_INITIAL], array[codes.CONTEXT_N_FINAL] = len(initial), len(final)
    ports = array[codes.CONTEXT_PORTS :].reshape(-1, codes.PORT_SLOTS)
    for of_port, slots in zip(ports, (*taken, *written, *initial, *final), strict=True):
        of_port[list(slots)] = list(slots.values())
    is_read = [True] * len(taken) + [False] * len(written) + [True] * len(initial) + [False] * len(final)
    first = np.where(is_read, 0, len(inputs))
    ports[:, [codes.PORT_AXES, codes.PORT_SHAPE]] = np.array(shapes)[first + ports[:, codes.PORT_TENSOR]]
    return Constants(array, (*constants.held, *tables.held))


class _Tables:
    """Numbers whose addresses stand in contexts."""

    def __init__(self) -> None:
        self.held: list[object] = []

    def add(self, numbers: Iterable[int]) -> int:
        """Return the address of numbers, int64, that stay there for as long as what is held does."""
        table = np.array([*numbers], np.int64)
        self.held += [table, arrays.hold(table)]
        return data_address(table)


def _slots(
    plan: Plan, ports: Sequence[AnyPort], values: Iterable[PlanPort], tables: _Tables
) -> tuple[list[dict[int, int]], list[dict[int, int]]]:
    """Return what the context's ports have beside their numbers: those of values in the plan's order, and of states."""
    places = {port.value: i for i, port in enumerate(ports) if isinstance(port, ValuePort)}
    states = []
    for i, port in enumerate(ports):
        for k, name in enumerate(port.states if isinstance(port, StatePort) else ()):
            states.append({codes.PORT_TENSOR: i, codes.PORT_LAYER: k, **_state_slots(plan.states[name], tables)})
    return [{codes.PORT_TENSOR: places[value.name]} for value in values], states


def _state_slots(state: PlanState, tables: _Tables) -> dict[int, int]:
    """Return what says where a state lies: as rows of adjacent numbers, if it does, or by the strides of all axes."""
    n_inner = [math.prod(size for size, _ in state.axes[place:]) for place in range(1, 1 + len(state.axes))]
    axes = [(size, stride, step) for (size, stride), step in zip(state.axes, n_inner, strict=True)]
    if len(axes) > 2 or axes[-1][1] != 1:
        axes.sort()  # so that the kernels go along the longest
        sizes, strides, steps = zip(*axes, strict=True)
        slots = {codes.PORT_STATE: tables.add(sizes + strides + steps), codes.PORT_STATE_AXES: len(axes)}
    else:
        slots = {codes.PORT_STRIDE: F32_BYTES * axes[0][1] if len(axes) > 1 else 0}
    size = axes[-1][0]
    return slots | {
        codes.PORT_SIZE: size,
        codes.PORT_ROWS: math.prod(state.shape) // size,
        codes.PORT_VALUE: F32_BYTES * state.offset,
    }
