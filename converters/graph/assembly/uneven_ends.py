"""What a run of sequences of several lengths cannot do at once: see `grurt.runtime.past_ends`."""

from __future__ import annotations

from grurt.converters.graph.building.endings import ignores_ends
from grurt.errors import UnsupportedError
from grurt.network.layers import GRU, LastStep, PastEnd, TimePooling
from grurt.network.network import Network


def refuse_uneven_ends(network: Network) -> None:
    """Raise UnsupportedError where lengths are read that no run of the sequences can take into account."""
    for layer in network.layers:
        knows = isinstance(layer, PastEnd) or (isinstance(layer, LastStep) and layer.by_length)
        if knows and network.values[layer.inputs[0]].stage:
            raise UnsupportedError(
                f"layer {layer.name!r}: it reads the lengths of sequences behind the end of others; "
                "mask and pick in the first sequence of the model"
            )
    if network.signature.packs:
        return
    layers = {layer.name: layer for layer in network.layers}
    by_length: set[str] = set()
    at_the_end: set[str] = set()
    backwards: set[str] = set()
    for layer in network.layers:
        for found in (by_length, at_the_end, backwards):
            if not found.isdisjoint(layer.inputs):
                found.add(layer.name)
        if isinstance(layer, GRU) and layer.scans_time and layer.direction == "reverse":
            backwards.add(layer.name)
        if isinstance(layer, TimePooling) and not ignores_ends(layer, layers):
            at_the_end.add(layer.name)
        if isinstance(layer, LastStep):
            (by_length if layer.by_length else at_the_end).add(layer.name)
        if layer.name in by_length & (at_the_end | backwards):
            raise UnsupportedError(
                f"layer {layer.name!r}: it reads the timestep before the end of each sequence, and what the padding "
                "behind it has changed, as a GRU in reverse direction; pack the sequences with pack_padded_sequence"
            )
