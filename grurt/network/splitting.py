"""A network of several stages taken apart: one network for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from grurt.network.costs import NO_LIMITS
from grurt.network.inputs import AnyInput, Input, Output
from grurt.network.layers import AnyLayer, LastStep
from grurt.network.network import N, once_per_network
from grurt.network.stages import handed_over


def numbered_stages(network: N) -> Mapping[int, N]:
    """Return a network for each stage in which there is something to compute, by the stages' numbers, in order."""
    if network.costs.n_stages == 1:
        return {0: network}
    return _stages(network)


@once_per_network
def _stages(network: N) -> Mapping[int, N]:
    numbers = sorted({network.values[layer.name].stage for layer in network.layers if not layer.resamples})
    return {number: _stage(network, number) for number in numbers}


def _stage(network: N, number: int) -> N:
    values = network.values
    layers = [layer for layer in network.layers if values[layer.name].stage == number]
    outputs = [output for output in network.outputs if values[output.value].stage == number]
    shown, names = {output.value for output in outputs}, {output.name for output in outputs}
    for value in dict.fromkeys(name for name, _ in handed_over(network.layers, values)):
        if values[value].stage == number and value not in shown:
            outputs.append(Output(new_name(value, names), value))
            names.add(outputs[-1].name)
    own = [layer.without_handed_state() for layer in layers if not layer.resamples]
    inputs: list[AnyInput] = [port for port in network.inputs if values[port.name].stage == number]
    inputs += [Input(layer.name, values[layer.name].size) for layer in layers if layer.resamples]
    read = dict.fromkeys(name for layer in own for name in layer.inputs)
    inputs += [Input(name, values[name].size) for name in read if values[name].stage < number]
    return part_of(network, _with_ends(network, own, number), inputs, outputs)


def _with_ends(network: N, layers: Sequence[AnyLayer], number: int) -> list[AnyLayer]:
    """Return a stage's layers, with one that makes a vector again of what they read as vectors from earlier stages.

    It is given at every timestep, as all inputs are.
    """
    values = network.values
    taken = set(values)
    ends: dict[str, str] = {}
    for layer in layers:
        for name in layer.inputs if not values[layer.name].per_step else ():
            if values[name].stage < number and not values[name].per_step and name not in ends:
                ends[name] = new_name(name, taken)
                taken.add(ends[name])
    return [
        *(LastStep(name=end, inputs=(name,)) for name, end in ends.items()),
        *(
            layer
            if values[layer.name].per_step
            else msgspec.structs.replace(layer, inputs=tuple(ends.get(name, name) for name in layer.inputs))
            for layer in layers
        ),
    ]


def part_of(network: N, layers: Sequence[AnyLayer], inputs: Sequence[AnyInput], outputs: Sequence[Output]) -> N:
    """Return a network of some of the layers, with their weights; it has the default signature."""
    names = (f"{layer.name}.{parameter}" for layer in layers for parameter in layer.weight_shapes())
    read = {port.name for port in inputs}
    return network.replaced(
        layers=layers,
        weights={name: network.weights[name] for name in names},
        inputs=inputs,
        outputs=outputs,
        signature=None,
        reference_run=None,
        limits=NO_LIMITS,
        vocabularies={name: known for name, known in network.vocabularies.items() if name in read},
    )


def new_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: the one that is given, or that with primes behind it."""
    while name in taken:
        name += "'"
    return name
