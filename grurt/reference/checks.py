"""What a caller gives, checked and in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.network.inputs import AnyInput
from grurt.network.network import Network

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array, Doubles


def checked_inputs(network: Network, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return the inputs by name: features float64 ``(n_steps, size)``, tokens int64 ``(n_steps,)``."""
    names = [port.name for port in network.inputs]
    if sorted(inputs) != sorted(names):
        raise InputShapeError(f"reference: expected the inputs {names}, got {list(inputs)}")
    return {port.name: _input(port, inputs[port.name]) for port in network.inputs}


def checked_states(network: Network, states: Mapping[str, ArrayLike]) -> dict[str, Doubles]:
    """Return the states by name, float64, and the contexts, which have to be there."""
    checked = {}
    for name, state in states.items():
        if name not in network.initial_shapes:
            raise InputShapeError(f"reference: expected states of {list(network.initial_shapes)}, got {name!r}")
        checked[name] = np.asarray(state, np.float64)
        if not _fits(checked[name].shape, network.initial_shapes[name], network.open_contexts.get(name)):
            raise InputShapeError(
                f"reference: state {name!r}: expected shape {network.initial_shapes[name]}, got {checked[name].shape}"
            )
    if missing := network.context_shapes.keys() - checked.keys():
        raise InputShapeError(f"reference: expected the contexts {[*network.context_shapes]}, got no {min(missing)!r}")
    return checked


def _fits(shape: tuple[int, ...], largest: tuple[int, ...], opened: tuple[int, str | None] | None) -> bool:
    """Whether a state or context is of its shape, or shorter along an axis that is open."""
    if opened is None or len(shape) != len(largest) or not 1 <= shape[opened[0]] <= largest[opened[0]]:
        return shape == largest
    return np.delete(shape, opened[0]).tolist() == np.delete(largest, opened[0]).tolist()


def _input(port: AnyInput, values: ArrayLike) -> Array:
    where = f"reference: input {port.name!r}"
    array = np.asarray(values)
    if array.ndim == 0 or len(array) == 0 or array.shape[1:] != port.vector_shape:
        expected = ", ".join(map(str, ("n_steps", *port.vector_shape)))
        raise InputShapeError(f"{where}: expected shape ({expected}) with one timestep at least, got {array.shape}")
    if not port.tokens:
        return array.astype(np.float64)
    if array.dtype.kind not in "iu":
        raise InputTypeError(f"{where}: expected token ids as integers, got {array.dtype}")
    if array.min() < 0 or array.max() >= port.size:
        raise InputValueError(f"{where}: expected token ids in [0, {port.size}), got {array.min()} to {array.max()}")
    return array.astype(np.int64)
