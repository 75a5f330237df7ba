"""Computes a network with torch's own operators: a reference run for what is only a state dict and a description."""

from __future__ import annotations

import torch
from torch import Tensor

from grurt.converters.kinds import EVALUATED
from grurt.converters.sampling import open_steps, sample_input
from grurt.network.network import Network
from grurt.network.reference_run import ReferenceRun


def reference_run(network: Network) -> ReferenceRun:
    """Return what torch computes for the network's layers, on a seeded batch of sequences."""
    inputs = {port.name: sample_input(port, index, open_steps(network)) for index, port in enumerate(network.inputs)}
    values: dict[str, Tensor] = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        for layer in network.layers:
            weights = {
                name: torch.from_numpy(network.weights[f"{layer.name}.{name}"].copy()) for name in layer.weight_shapes()
            }
            values[layer.name] = EVALUATED[layer.kind](layer, weights, *(values[name] for name in layer.inputs))
    outputs = {output.name: values[output.value].numpy() for output in network.outputs}
    produced_by = f"torch {torch.__version__}, from the description of the layers, whose own faults do not show"
    return ReferenceRun(inputs, outputs, produced_by)
