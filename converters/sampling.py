"""Seeded inputs for reference runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from grurt.array_types import Array
from grurt.errors import ConversionError
from grurt.network.inputs import AnyInput
from grurt.network.lengths import find_lengths
from grurt.network.network import Network
from grurt.network.signature import AnyPort, LengthsPort, StatePort, ValuePort, is_float

SEED = 20240229
BATCH = 2
STEPS = 24
FEWEST_STEPS = 4
"""Behind layers that make a sequence shorter."""

MAX_ELEMENTS = 1 << 20
"""Of all test inputs together, for files exported with frozen sizes: they are kept in the model's file."""

MAX_PRODUCTS = 1 << 33
"""How many multiplications a run of the source may take: some seconds."""

_SEQUENCES = ("batch", "time", "batch_position")


def open_steps(network: Network, usual: int = STEPS) -> int:
    """Return of how many timesteps a test input is: more than usual where layers need many, or leave many out.

    Where they go in strides, nothing is left over. It is one where an input that the source has without a time axis is
    read at each timestep, beside others with one.
    """
    ports = [port for port in network.signature.inputs if isinstance(port, ValuePort)]
    timed = {network.values[port.value].stage for port in ports if "time" in port.axes}
    if any("time" not in port.axes and network.values[port.value].stage in timed for port in ports):
        return 1
    lengths = find_lengths(network.layers, network.values).values()
    needed = max(usual, *(length.inputs_for(FEWEST_STEPS) for length in lengths))
    return needed + -needed % max(length.stride for length in lengths)


def sample_input(port: AnyInput, index: int = 0, n_steps: int = STEPS) -> NDArray[np.generic]:
    """Return a batch of sequences for a model input: ``(2, 24, size)`` float32, or ``(2, 24)`` int64 tokens.

    Features are standard normal numbers, tokens uniform; ``index`` tells the inputs of one model apart.
    """
    random = np.random.default_rng([SEED, index])
    if port.tokens:
        return random.integers(port.size, size=(BATCH, n_steps))
    return random.standard_normal((BATCH, n_steps, port.size), np.float32)


def random_inputs(network: Network, shapes: Mapping[str, tuple[int, ...]], n_steps: int) -> dict[str, Array]:
    """Return a tensor for each input of the source, always the same ones; see `random_input`.

    Raises
    ------
    ConversionError
        If inputs of these shapes are too large for a test, or a run on them takes too long.
    """
    check_inputs(network, shapes)
    random = np.random.default_rng(SEED)
    return {
        port.name: random_input(network, port, shapes[port.name], n_steps, random) for port in network.signature.inputs
    }


def random_input(
    network: Network, port: AnyPort, shape: tuple[int, ...], n_steps: int, random: np.random.Generator
) -> NDArray[np.generic]:
    """Return a tensor for an input of the source.

    Features are standard normal numbers, those of whole numbers and conditions 0 or 1; tokens are uniform, and so are
    states, in (-0.9, 0.9). Lengths fall from
    ``n_steps``.
    """
    if isinstance(port, LengthsPort):
        lengths = np.sort(random.integers(1, n_steps, size=shape, endpoint=True))[::-1].copy()
        lengths[lengths == lengths.max()] = n_steps
        return lengths.astype(port.dtype)
    if isinstance(port, StatePort) and is_float(port.dtype):
        return random.uniform(-0.9, 0.9, shape).astype(port.dtype)
    if isinstance(port, ValuePort) and (value := network.values[port.value]).tokens:
        return random.integers(value.size, size=shape).astype(port.dtype)
    if not is_float(port.dtype):
        return random.integers(2, size=shape).astype(port.dtype)
    return random.standard_normal(shape).astype(port.dtype)


def check_inputs(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ConversionError if inputs of these shapes are too large for a test, or a run on them takes too long."""
    steps = [
        math.prod(size for axis, size in zip(port.axes, shapes[port.name], strict=True) if axis in _SEQUENCES)
        for port in network.signature.inputs
    ]
    check_products(network, max(steps))
    elements = {name: math.prod(shape) for name, shape in shapes.items()}
    if sum(elements.values()) > MAX_ELEMENTS:
        name = max(elements, key=lambda each: elements[each])
        raise ConversionError(
            f"the file fixes the input {name[:100]!r} to the shape {shapes[name]}, too large for a test"
        )


def check_products(network: Network, n_steps: int) -> None:
    """Raise ConversionError if a run of ``n_steps`` timesteps, of all sequences together, would take too long."""
    products = max(network.parameter_count, network.costs.multiply_adds)
    if n_steps * products > MAX_PRODUCTS:
        raise ConversionError(f"the file fixes its inputs to {n_steps} timesteps, too many for a test")
