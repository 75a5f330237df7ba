"""Which of a model's inputs reads the tokens that it gives, and which of its outputs has their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from grurt.errors import ModelError
from grurt.escaping import described
from grurt.network.functions import Softmax
from grurt.network.layers import Activation, Program
from grurt.network.operators import Softmax as SoftmaxOperator

if TYPE_CHECKING:
    from grurt.network.inputs import AnyInput, Output
    from grurt.network.network import Network


class GeneratorPorts(msgspec.Struct, frozen=True):
    """What a generator reads and gives.

    ``input`` and ``output`` are places among the model's; ``vocabulary_size`` is how many scores there are;
    ``of_probabilities`` says that these are no logits.
    """

    input: int
    output: int
    vocabulary_size: int
    of_probabilities: bool


def generator_ports(where: str, network: Network, output: str | None = None) -> GeneratorPorts:
    """Return what a model generates with: its input of tokens, or else of one-hot vectors, and as many scores.

    Parameters
    ----------
    where
        What messages begin with.
    network
        The model.
    output
        The output that has the scores, where several could be it.

    Raises
    ------
    ModelError
        If the model has no such input and output, or several.
    """
    names = [port.name for port in network.outputs]
    if output is not None and output not in names:
        raise ModelError(f"{where}: expected output to be one of {names}, got {described(output)}")
    pairs = [
        (place, number)
        for place, port in enumerate(network.inputs)
        for number, shown in enumerate(network.outputs)
        if network.values[shown.value].size == port.size and output in (None, shown.name)
    ]
    of_tokens = [pair for pair in pairs if network.inputs[pair[0]].tokens]
    chosen = of_tokens or pairs
    if len(chosen) != 1:
        raise ModelError(
            f"{where}: expected a model with one input of tokens, or of one-hot vectors, and one output with a score "
            f"for each token, got {'none' if not chosen else 'several'} of {_sizes(network)}"
            + (": name the output" if chosen else "")
        )
    ((place, number),) = chosen
    size = network.inputs[place].size
    return GeneratorPorts(place, number, size, _gives_probabilities(network, network.outputs[number].value))


def _sizes(network: Network) -> str:
    def named(port: AnyInput | Output, size: int, what: str) -> str:
        return f"{what} {port.name!r} of {size}"

    inputs = [named(port, port.size, "tokens" if port.tokens else "input") for port in network.inputs]
    return ", ".join([*inputs, *(named(port, network.values[port.value].size, "output") for port in network.outputs)])


def _gives_probabilities(network: Network, value: str) -> bool:
    """Whether a value is what a softmax gives."""
    layers = {layer.name: layer for layer in network.layers}
    while (layer := layers.get(value)) is not None and layer.passes_on:
        value = layer.inputs[0]
    if isinstance(layer, Program):
        writers = {name: operator for operator in layer.operators for name in operator.outputs}
        result = layer.results[0] if layer.results else ""
        return isinstance(writers.get(result), SoftmaxOperator)
    return isinstance(layer, Activation) and isinstance(layer.function, Softmax)
