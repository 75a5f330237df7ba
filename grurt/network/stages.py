"""Sequences that begin where others ended, as a decoder's: the stages of a model, which run one after the other.

Values that a layer reads side by side belong to one sequence. A sequence that reads a vector from the end of another
one comes after it. Sequences with as many others before them run together; of these, what has one length (see
`lengths`) makes a stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from grurt.errors import ModelError
from grurt.network.lengths import find_lengths
from grurt.network.signature import StatePort

if TYPE_CHECKING:
    from grurt.network.layers import AnyLayer
    from grurt.network.signature import Signature
    from grurt.network.value import Value

MAX_SEQUENCES = 16
"""The most sequences that begin one after the other, each where another ended."""

MAX_STAGES = 64


class OwnEndError(ModelError):
    """A layer reads, at every timestep of a sequence, what is known only at its end."""


def find_stages(layers: Sequence[AnyLayer], values: Mapping[str, Value]) -> dict[str, int]:
    """Return the number of the stage of every value by name, counted from 0.

    Raises
    ------
    ModelError
        If a sequence begins with what is known at its end, a layer joins vectors of sequences that run one after the
        other, or reads sequences of different lengths side by side.
    """
    turns = _find_turns(layers, values)
    lengths = find_lengths(layers, values)
    places = {name: (turns[name], lengths[name]) for name in values}
    numbers = {place: number for number, place in enumerate(sorted(set(places.values())))}
    for layer in layers:
        if numbers[places[layer.name]] >= MAX_STAGES:
            raise ModelError(f"layer {layer.name!r}: expected at most {MAX_STAGES} stages")
    return {name: numbers[place] for name, place in places.items()}


def _find_turns(layers: Sequence[AnyLayer], values: Mapping[str, Value]) -> dict[str, int]:
    """Return for every value how many sequences, each begun where another ended, run before its own."""
    sequence_of = _sequences(layers, values)
    stages = dict.fromkeys(values, 0)
    rounds = 0
    while late := _move_late_sequences(layers, values, sequence_of, stages):
        rounds += 1
        if rounds >= len(set(sequence_of.values())):
            raise OwnEndError(f"layer {late!r}: it reads a vector that is known only at the end of its own sequence")
        if stages[late] >= MAX_SEQUENCES:
            raise ModelError(f"layer {late!r}: expected at most {MAX_SEQUENCES} sequences one after the other")
    for layer in layers:
        if not values[layer.name].per_step and len({stages[name] for name in layer.inputs}) > 1:
            raise ModelError(f"layer {layer.name!r}: it joins the ends of sequences that run one after the other")
    return stages


def _sequences(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> dict[str, str]:
    """Return for every value of a sequence the name of one of them, the same for all."""
    leader = {name: name for name, value in values.items() if value.per_step}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for layer in layers:
        read = () if layer.begins_sequence else layer.inputs
        joined = [find(name) for name in (*read, layer.name) if name in leader]
        leader.update(dict.fromkeys(joined, joined[0]) if joined else {})
    return {name: find(name) for name in leader}


def _move_late_sequences(
    layers: Iterable[AnyLayer], values: Mapping[str, Value], sequence_of: Mapping[str, str], stages: dict[str, int]
) -> str | None:
    """Move every sequence behind those whose ends it reads; return the name of a layer that asked for a move."""
    late = None
    for layer in layers:
        ends = [stages[name] for name in layer.inputs if layer.begins_sequence or not values[name].per_step]
        if values[layer.name].per_step:
            leader = sequence_of[layer.name]
            if ends and max(ends) >= stages[leader]:
                stages[leader] = max(ends) + 1
                late = layer.name
        else:
            stages[layer.name] = max(ends, default=stages[sequence_of.get(layer.inputs[0], layer.name)])
    for name, leader in sequence_of.items():
        stages[name] = stages[leader]
    return late


def handed_over(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> list[tuple[str, int]]:
    """Return the values that a later stage reads, and that stage's number: each once, in the order of reading."""
    return list(
        dict.fromkeys(
            (name, values[layer.name].stage)
            for layer in layers
            for name in (layer.inputs[:1] if layer.begins_sequence else layer.inputs)
            if values[name].stage < values[layer.name].stage
        )
    )


def check_lengths(signature: Signature, layers: Iterable[AnyLayer]) -> None:
    """Raise ModelError if the source takes the lengths of sequences that an Unfold reads."""
    unfolding = next((layer for layer in layers if layer.resamples and not layer.begins_sequence), None)
    if unfolding is not None and signature.takes_lengths:
        raise ModelError(f"layer {unfolding.name!r}: expected sequences of which the source does not take the lengths")


def check_memories(signature: Signature, layers: Iterable[AnyLayer]) -> None:
    """Raise ModelError if the source gives or is given what streams remember, which whole sequences do not use."""
    memories = {name: layer.name for layer in layers if layer.most_steps is not None for name in layer.state_shapes()}
    for port in signature.inputs + signature.outputs:
        for name in port.states if isinstance(port, StatePort) else ():
            if name in memories:
                raise ModelError(f"port {port.name!r}: what streams of {memories[name]!r} remember is in no tensor")


def check_handed_states(signature: Signature, layers: Iterable[AnyLayer]) -> None:
    """Raise ModelError if the source gives a state to a GRU that gets it from another sequence."""
    handed = handed_states(layers)
    for port in signature.inputs:
        for name in port.states if isinstance(port, StatePort) else ():
            if name in handed:
                raise ModelError(
                    f"port {port.name!r}: the GRU {name!r} takes its initial state from {handed[name]!r}, not an input"
                )


def handed_states(layers: Iterable[AnyLayer]) -> dict[str, str]:
    """Return the values that GRUs begin with, by the GRUs' names."""
    return {layer.name: value for layer in layers if (value := layer.handed_state) is not None}
