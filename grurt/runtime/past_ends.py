"""Padded sequences whose source runs over their ends: what it masks there, and what it picks before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.network.costs import NO_LIMITS
from grurt.network.inputs import Input
from grurt.network.layers import AnyLayer, Constant, LastStep, Linear, PastEnd, Where
from grurt.network.network import once_per_network
from grurt.network.splitting import new_name
from grurt.runtime.batch import Batch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite


def run_past_ends(
    network: Network,
    nonfinite: Nonfinite,
    lengths: ArrayLike,
    sequences: Sequence[Array],
    states: Mapping[str, Array],
    wanted_states: Iterable[str],
) -> Batch:
    """Run a batch of sequences of one number of timesteps, masked behind their lengths; see `Batch`.

    What is picked at the last timestep of each length is run once more, with sequences that end there.
    """
    batch, n_steps = sequences[0].shape[:2]
    picked = _picked(network)
    cut = Batch(network, nonfinite, batch, n_steps, lengths, least=1 if picked else 0)
    masked = _masked(network)
    whole = Batch(masked, nonfinite, batch, n_steps, None, wanted_states)
    mask = (np.arange(n_steps) < cut.lengths[:, np.newaxis]).astype(np.float32)[..., np.newaxis]
    whole.run([*sequences, mask][: len(masked.inputs)], states)
    if picked:
        cut.run(sequences, states)
        for place in picked:
            whole.outputs[place] = cut.outputs[place]
    return whole


@once_per_network
def _picked(network: Network) -> tuple[int, ...]:
    """Return the places of the outputs that are made of what is picked by length."""
    found: set[str] = set()
    for layer in network.layers:
        if (isinstance(layer, LastStep) and layer.by_length) or not found.isdisjoint(layer.inputs):
            found.add(layer.name)
    return tuple(place for place, output in enumerate(network.outputs) if output.value in found)


@once_per_network
def _masked(network: Network) -> Network:
    """Return a network with a further input, a mask of 1 before the end of a sequence and 0 behind it."""
    mask = new_name("mask", network.values)
    layers: list[AnyLayer] = []
    weights: dict[str, Array] = {}
    for layer in network.layers:
        if not isinstance(layer, PastEnd):
            layers.append(layer)
            continue
        size = network.values[layer.name].size
        repeated, value = (new_name(f"{layer.name}.{what}", network.values) for what in ("mask", "value"))
        layers += [
            Linear(name=repeated, inputs=(mask,), input_size=1, output_size=size, bias=False),
            Constant(name=value, inputs=(mask,), size=size),
            Where(name=layer.name, inputs=(repeated, *layer.inputs, value)),
        ]
        weights[f"{repeated}.weight"] = np.ones((size, 1), np.float32)
        weights[f"{value}.weight"] = np.full(size, layer.value, np.float32)
    inputs = (*network.inputs, Input(mask, 1)) if weights else network.inputs
    return network.replaced(
        layers=layers,
        weights={**network.weights, **weights},
        inputs=inputs,
        signature=None,
        reference_run=None,
        limits=NO_LIMITS,
    )
