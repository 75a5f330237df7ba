"""What the engine answers to a few made-up timesteps: exported models compare themselves with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.runtime.stream import Stream

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.native.c99.ports import Port
    from grurt.network.network import Network

N_STEPS = 4

TOLERANCE = 1e-6
"""How far an answer may be from the engine's, of 1 or of its size: rounding without a fused multiply-add is another."""

QUANTIZED_TOLERANCE = 5e-3
"""The same where features are rounded to integers: one that another rounding moves by a step moves an answer as far."""


def vectors(network: Network, ports: tuple[Port, ...]) -> dict[str, Array]:
    """Return inputs and outputs of a few timesteps by the names of ports in C: ``(N_STEPS, elements)``."""
    inputs = [port for port in ports if port.is_input]
    outputs = [port for port in ports if not port.is_input]
    found = {port.name: _made_up(port) for port in inputs}
    stream = Stream(network)
    answers = []
    for t in range(N_STEPS):
        frames = {port.source: found[port.name][t, 0 if port.is_token else ...] for port in inputs}
        answer = stream.step(frames)
        answers.append(answer if isinstance(answer, dict) else {outputs[0].source: answer})
    return found | {port.name: np.stack([np.ravel(answer[port.source]) for answer in answers]) for port in outputs}


def tolerance(network: Network) -> float:
    """Return how far the answers of a model may be from the engine's."""
    return QUANTIZED_TOLERANCE if any(layer.scales() for layer in network.layers) else TOLERANCE


def _made_up(port: Port) -> Array:
    rng = np.random.default_rng(20)
    if port.is_token:
        return rng.integers(0, port.size, (N_STEPS, 1))
    # Multiples of a 64th: short in the file, and exact.
    return (rng.integers(-96, 97, (N_STEPS, port.size)) / 64).astype(np.float32)
