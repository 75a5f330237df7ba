"""What the source of a model gives behind the ends of padded sequences, where its GRUs give zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.network.inputs import AnyInput, Input, Output
from grurt.network.layers import AnyLayer
from grurt.network.network import once_per_network
from grurt.network.splitting import part_of
from grurt.runtime.batch import Batch

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite


def fill_tails(
    network: Network, inputs: Mapping[str, Array], lengths: Array, outputs: Mapping[str, Array], nonfinite: Nonfinite
) -> None:
    """Write the answers behind the ends of sequences: what the layers after the GRUs make of zeros.

    Parameters
    ----------
    network
        A model whose source takes the lengths of padded sequences.
    inputs
        The model's inputs by name, ``(batch, n_steps, size)``, and tokens ``(batch, n_steps)``.
    lengths
        Valid timesteps of each sequence, ``(batch,)``.
    outputs
        The model's outputs by name. Those of ``(batch, n_steps, size)`` are written to, behind the ends only.
    nonfinite
        As in `Model.run`.
    """
    n_steps = max((array.shape[1] for array in inputs.values()), default=0)
    if np.all(lengths == n_steps):
        return
    silent = _silent(network)
    if silent is None:
        return
    feed: dict[str, Array] = {
        port.name: np.zeros((len(lengths), n_steps, *port.vector_shape), np.float32)
        for port in silent.inputs
        if port.name not in inputs
    }
    feed |= inputs
    batch = Batch(silent, nonfinite, len(lengths), n_steps, None)
    batch.run([feed[port.name] for port in silent.inputs], {})
    for output, answer in zip(silent.outputs, batch.outputs, strict=True):
        for row, length in enumerate(lengths):
            outputs[output.name][row, length:] = answer[row, length:]


@once_per_network
def _silent(network: Network) -> Network | None:
    """Return the layers after the GRUs, whose values are inputs; None if no layer gives an output for each timestep."""
    layers = {layer.name: layer for layer in network.layers}
    silent = {layer.name for layer in network.layers if layer.silent_past_end}
    shown = [
        output
        for output in network.outputs
        if network.values[output.value].per_step and output.value in layers.keys() - silent
    ]
    if not shown:
        return None
    needed = _needed(layers, shown)
    kept = [layer for layer in network.layers if layer.name in needed and layer.name not in silent]
    inputs: list[AnyInput] = [port for port in network.inputs if port.name in needed]
    inputs += [Input(name, network.values[name].size) for name in needed if name in silent]
    return part_of(network, kept, inputs, shown)


def _needed(layers: Mapping[str, AnyLayer], outputs: list[Output]) -> list[str]:
    """Return the names of the values that the outputs need, but for those that only GRUs read."""
    needed: dict[str, None] = {}
    open_values = [output.value for output in outputs]
    while open_values:
        value = open_values.pop()
        if value not in needed:
            needed[value] = None
            layer = layers.get(value)
            if layer is not None and not layer.silent_past_end:
                open_values.extend(layer.inputs)
    return list(needed)
