"""A network of several stages taken apart: one network for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from grurt.network.costs import NO_LIMITS
from grurt.network.inputs import AnyInput, Input, Output
from grurt.network.layers import AnyLayer
from grurt.network.network import N, once_per_network
from grurt.network.stages import handed_over


def stages_of(network: N) -> tuple[N, ...]:
    """Return a network for each stage: see `Model.stages`."""
    if not any(value.stage for value in network.values.values()):
        return (network,)
    return _stages(network)


@once_per_network
def _stages(network: N) -> tuple[N, ...]:
    n_stages = 1 + max(value.stage for value in network.values.values())
    return tuple(_stage(network, number) for number in range(n_stages))


def _stage(network: N, number: int) -> N:
    layers = [layer for layer in network.layers if network.values[layer.name].stage == number]
    outputs = [output for output in network.outputs if network.values[output.value].stage == number]
    shown, names = {output.value for output in outputs}, {output.name for output in outputs}
    for value in dict.fromkeys(name for name, _ in handed_over(network.layers, network.values)):
        if network.values[value].stage == number and value not in shown:
            outputs.append(Output(_new_name(value, names), value))
            names.add(outputs[-1].name)
    own = [layer.without_handed_state() for layer in layers]
    inputs: list[AnyInput] = [port for port in network.inputs if network.values[port.name].stage == number]
    read = dict.fromkeys(name for layer in own for name in layer.inputs)
    inputs += [Input(name, network.values[name].size) for name in read if network.values[name].stage < number]
    return part_of(network, own, inputs, outputs)


def part_of(network: N, layers: Sequence[AnyLayer], inputs: Sequence[AnyInput], outputs: Sequence[Output]) -> N:
    """Return a network of some of the layers, with their weights; it has the default signature."""
    names = (f"{layer.name}.{parameter}" for layer in layers for parameter in layer.weight_shapes())
    return network.replaced(
        layers=layers,
        weights={name: network.weights[name] for name in names},
        inputs=inputs,
        outputs=outputs,
        signature=None,
        reference_run=None,
        limits=NO_LIMITS,
    )


def _new_name(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "'"
    return name
