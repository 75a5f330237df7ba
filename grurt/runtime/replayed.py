"""The inputs of a reference run, one sequence after the other, as streams and the float64 reference take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grurt.network.axes import batch_first
from grurt.network.signature import LengthsPort, StatePort

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.network.reference_run import Arrays


@dataclass(frozen=True)
class Replayed:
    """One sequence of a batch."""

    row: int
    inputs: Mapping[str, Array]
    """``(n_steps, ...)`` by the model's names, up to the sequence's length."""
    states: Mapping[str, Array]
    is_whole: bool
    """Whether the source has run no further than these timesteps."""


def sequences(network: Network, given: Arrays) -> tuple[int, list[Replayed]]:
    """Return how many sequences a batch has, and those that have a timestep.

    ``given`` are tensors of the source, by the names of its inputs.
    """
    signature = network.signature
    inputs: dict[str, Array] = {}
    states: dict[str, Array] = {}
    lengths = np.asarray(signature.lengths or np.iinfo(np.int64).max)
    for port in signature.inputs:
        if port.name not in given:
            continue
        if isinstance(port, LengthsPort):
            lengths = batch_first(port, given[port.name])
        elif isinstance(port, StatePort):
            states |= states_of_port(network, port, given[port.name])
        else:
            inputs[port.value] = batch_first(port, given[port.name], tokens=network.values[port.value].tokens)
    batch, n_steps = next(iter(inputs.values())).shape[:2]
    return batch, [
        Replayed(
            row,
            {name: array[row, :length] for name, array in inputs.items()},
            {name: array[row] for name, array in states.items()},
            is_whole=bool(signature.packs or length >= n_steps),
        )
        for row, length in enumerate(np.broadcast_to(lengths, batch))
        if length
    ]


def states_of_port(network: Network, port: StatePort, tensor: Array) -> dict[str, Array]:
    """Return the states in a source's tensor by name, ``(batch, *state_shape)``."""
    if port.states[0] in network.open_contexts:
        return {port.states[0]: tensor if "batch" in port.axes else tensor[np.newaxis]}
    stacked = batch_first(port, tensor)
    shapes = [network.initial_shapes[name] for name in port.states]
    return {
        name: rows.reshape(len(rows), *shape) for name, rows, shape in zip(port.states, stacked, shapes, strict=True)
    }
