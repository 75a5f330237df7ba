"""What a stream reads and writes at a timestep: the source's own tensor, without its axes of batch and time.

A model knows vectors. Where the source has a grid there, such as the channels and frequencies of a spectrum, the vector
holds one position after the other, and the source may have the channels first. A frame is in the source's order. So is
it where the source's axes have no meaning: the vector holds the numbers in row-major order then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.network.axes import tensor_shape
from grurt.network.network import once_per_network
from grurt.network.signature import ValuePort

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network
    from grurt.network.signature import AnyPort


class Frame(msgspec.Struct, frozen=True):
    """What an input or output is at one timestep of one stream.

    Parameters
    ----------
    shape
        ``(size,)``, or of a grid its axes in the source's order, each longer than 1; ``()`` of a token.
    source_shape
        The shape of the source's tensor of one timestep of one sequence: ``shape``, and the axes of size 1.
    transposed
        Whether the model's vector holds the grid with its two axes the other way round.
    """

    shape: tuple[int, ...]
    source_shape: tuple[int, ...]
    transposed: bool = False

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def is_grid(self) -> bool:
        """Whether it has several axes."""
        return len(self.shape) > 1

    def to_vectors(self, frames: Array) -> Array:
        """Return frames ``(..., *shape)``, or flat ``(..., size)``, as the model's vectors ``(..., size)``."""
        if not self.is_grid:
            return frames
        lead = frames.shape[: -1 if self.is_flat(frames) else -len(self.shape)]
        grids = frames.reshape(*lead, *self.shape)
        return np.ascontiguousarray(grids.swapaxes(-1, -2) if self.transposed else grids).reshape(*lead, self.size)

    def from_vectors(self, vectors: Floats) -> Floats:
        """Return the model's vectors ``(..., size)`` as frames ``(..., *shape)``."""
        if not self.is_grid:
            return vectors
        shape = self.shape[::-1] if self.transposed else self.shape
        grids = vectors.reshape(*vectors.shape[:-1], *shape)
        return np.ascontiguousarray(grids.swapaxes(-1, -2)) if self.transposed else grids

    def shape_in(self, frames: Array) -> tuple[int, ...]:
        """Return the shape that an array of frames has behind its leading axes: ``shape``, or flat ``(size,)``."""
        return (self.size,) if self.is_flat(frames) else self.shape

    def is_flat(self, frames: Array) -> bool:
        """Whether an array has grids in one axis, which is longer than any that they have."""
        return self.is_grid and frames.shape[-1:] == (self.size,)


class Form(msgspec.Struct, frozen=True):
    """How an input may be given at a call.

    Parameters
    ----------
    shape
        As the kernels take it, with -1 for a number of timesteps; None of a token.
    others
        Shapes of a timestep that stand for the same numbers in the same order.
    """

    shape: tuple[int, ...] | None
    others: tuple[tuple[int, ...], ...] = ()


class Frames(msgspec.Struct, frozen=True):
    """The frames of a model's inputs and outputs, by name, in the model's order."""

    inputs: Mapping[str, Frame]
    outputs: Mapping[str, Frame]
    steps: tuple[Form, ...]
    """How inputs may be given at a timestep,"""
    blocks: tuple[Form, ...]
    """and as a block of them."""

    @property
    def are_vectors(self) -> bool:
        """Whether all of them are just the model's vectors and tokens."""
        return not any(frame.is_grid for frame in (*self.inputs.values(), *self.outputs.values()))


@once_per_network
def frames_of(network: Network) -> Frames:
    """Return the frames of a network; an output that the source shows twice has the first one's."""
    signature = network.signature
    inputs = {port.name: _frame(network, signature.inputs, port.name, port.name) for port in network.inputs}
    outputs = {output.name: _frame(network, signature.outputs, output.name, output.value) for output in network.outputs}
    steps = tuple(_step(frame) for frame in inputs.values())
    blocks = tuple(Form((-1, *frame.shape), ((frame.size,),) if frame.is_grid else ()) for frame in inputs.values())
    return Frames(inputs, outputs, steps, blocks)


def _step(frame: Frame) -> Form:
    """Return how an input may be given at a timestep: flat, and with the source's axes of size 1."""
    if not frame.shape:
        return Form(None)
    others = dict.fromkeys([(frame.size,), frame.source_shape])
    return Form(frame.shape, tuple(shape for shape in others if shape != frame.shape))


def _frame(network: Network, ports: Iterable[AnyPort], name: str, value_name: str) -> Frame:
    value = network.values[value_name]
    port = next((port for port in ports if isinstance(port, ValuePort) and port.value == name), None)
    vector = () if value.tokens else (value.size,)
    if port is None:
        return Frame(vector, vector)
    source_shape = tensor_shape(port, {port.value: value}, network.initial_shapes, batch=1, time=1)
    inner = [(axis, size) for axis, size in zip(port.axes, source_shape, strict=True) if size > 1]
    if len(inner) < 2:
        return Frame(vector, source_shape)
    return Frame(tuple(size for _, size in inner), source_shape, transposed=inner[0][0] == "feature")
