"""Contexts that come in a feed: what is computed of them alone is kept, for as long as the same numbers come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grurt.kernels.fields import data_address
from grurt.network.axes import port_shape
from grurt.network.network import once_per_network
from grurt.network.signature import StatePort, is_context
from grurt.runtime.replayed import states_of_port
from grurt.runtime.tensors import open_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.network.layers.base import Shape
    from grurt.network.network import Network

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray

_ANY = -1
_MAX_KEPT = 4
"""Contexts of a network that are kept, the latest: as many conversations as usually go on at the same time."""

Numbers = tuple[object, ...]
"""The bytes of all contexts, in the network's order, behind whether they had to be finite."""


class Kept(NamedTuple):
    """What a context is for the kernels."""

    memory: Floats
    place: NDArray[np.int64]
    """The address of the memory, where the kernels find it,"""
    address: int
    """and the address of that."""


class KeptContexts:
    """The contexts that a network was fed last, by the numbers that they were made of.

    Any number of threads may use it at the same time.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[Numbers, Kept], ...] = ()

    def find(self, numbers: Numbers) -> Kept | None:
        """Return the context that was made of some numbers, if it is kept."""
        for known, kept in self._kept:
            if known == numbers:
                return kept
        return None

    def keep(self, numbers: Numbers, memory: Floats) -> None:
        """Keep the memory of a context, in place of that of the oldest."""
        place = np.array([data_address(memory)], np.int64)
        kept = Kept(memory, place, data_address(place))
        self._kept = ((numbers, kept), *self._kept[: _MAX_KEPT - 1])


@once_per_network
def kept_contexts(network: Network) -> KeptContexts:
    """Return the contexts that a network was fed last."""
    return KeptContexts()


class FedContexts:
    """The inputs of a feed that are contexts.

    Parameters
    ----------
    names
        Their names, in the network's order.
    shapes
        Of their tensors; -1 where a context may have fewer places.
    kept
        The contexts that the network was fed last.
    refuses_nonfinite
        Whether a NaN or an infinity is refused.
    """

    def __init__(
        self, names: Sequence[str], shapes: Sequence[Shape], kept: KeptContexts, *, refuses_nonfinite: bool
    ) -> None:
        self.n_inputs = len(names)
        self._tensors = tuple(zip(names, shapes, strict=True))
        self._kept = kept
        self._refuses_nonfinite = refuses_nonfinite

    def find(self, feed: Mapping[str, Any]) -> Kept | None:
        """Return the context in a feed; None where the general way is to look, as when its numbers come first."""
        numbers: list[object] = [self._refuses_nonfinite]
        for name, shape in self._tensors:
            tensor = feed.get(name)
            if type(tensor) is not _ndarray or tensor.dtype != _FLOAT32 or not _fits(tensor.shape, shape):
                return None
            numbers.append(tensor.tobytes())
        return self._kept.find(tuple(numbers))


def _fits(shape: Shape, expected: Shape) -> bool:
    return shape == expected or (
        len(shape) == len(expected) and all(own in (size, _ANY) for size, own in zip(shape, expected, strict=True))
    )


def fed_contexts(network: Network, *, refuses_nonfinite: bool) -> FedContexts | None:
    """Return the contexts among a source's inputs; None if not all are, or if their numbers lie otherwise there."""
    shapes = {}
    for port in network.signature.inputs:
        if isinstance(port, StatePort) and is_context(port, network.context_shapes):
            shape = _shape(network, port)
            if shape is None:
                return None
            shapes[port.states[0]] = (port.name, shape)
    if shapes.keys() != network.context_shapes.keys():
        return None
    names, own = zip(*(shapes[name] for name in network.context_shapes), strict=True)
    return FedContexts(names, own, kept_contexts(network), refuses_nonfinite=refuses_nonfinite)


def _shape(network: Network, port: StatePort) -> Shape | None:
    """Return the shape of a source's tensor for one sequence; None if its numbers are not in the network's order."""
    sizes = port_shape(port, network.values, network.initial_shapes)
    shape = [1 if size == "batch" else size for size in sizes if isinstance(size, int) or size == "batch"]
    if len(shape) < len(sizes) or len(port.states) > 1 or port.dtype != _FLOAT32:
        return None
    numbers = np.arange(math.prod(shape))
    (own,) = states_of_port(network, port, numbers.reshape(shape)).values()
    if (own.ravel() != numbers).any():
        return None
    axis = open_axis(network, port)
    return tuple(_ANY if place == axis else size for place, size in enumerate(shape))
