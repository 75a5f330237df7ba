"""What the engine answers to a few made-up timesteps: exported models compare themselves with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.runtime.stream import Stream

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.native.c99.ports import Given, Port
    from grurt.network.network import Network

N_STEPS = 4

TOLERANCE = 1e-6
"""How far an answer may be from the engine's, of 1 or of its size: rounding without a fused multiply-add is another."""

QUANTIZED_TOLERANCE = 5e-3
"""The same where features are rounded to integers: one that another rounding moves by a step moves an answer as far."""


def places(given: Given) -> int:
    """Return how many places a context of the test has along its open axis: fewer than it may have, if it may."""
    return max(1, given.shape[given.axis or 0] - 1)


def made_up_contexts(given: tuple[Given, ...]) -> dict[str, Array]:
    """Return what a stream of the test is given once, by the names in C: of one axis, as the caller has it."""
    return {each.name: _numbers(_made_up_shape(each)).ravel() for each in given}


def _made_up_shape(given: Given) -> tuple[int, ...]:
    return tuple(places(given) if axis == given.axis else size for axis, size in enumerate(given.shape))


def vectors(network: Network, ports: tuple[Port, ...], given: tuple[Given, ...]) -> dict[str, Array]:
    """Return inputs and outputs of a few timesteps by the names of ports in C: ``(N_STEPS, elements)``."""
    inputs = [port for port in ports if port.is_input]
    outputs = [port for port in ports if not port.is_input]
    found = {port.name: _made_up(port) for port in inputs}
    values = {each.source: _numbers(_made_up_shape(each)) for each in given}
    stream = Stream(network, context=values or None)
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
    if port.is_token:
        return np.random.default_rng(20).integers(0, port.size, (N_STEPS, 1))
    return _numbers((N_STEPS, port.size))


def _numbers(shape: tuple[int, ...]) -> Array:
    # Multiples of a 64th: short in the file, and exact.
    return (np.random.default_rng(20).integers(-96, 97, shape) / 64).astype(np.float32)
