"""Turns a source's tensors, in their axis orders, into batch-first arrays and back (see `grurt.network.signature`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError
from grurt.network.signature import (
    MERGED_TIME,
    AnyPort,
    Axis,
    LengthsPort,
    Port,
    StatePort,
    ValuePort,
    parts_of_axes,
)

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.value import Value


_VALUE: tuple[Axis, ...] = ("batch", "time", "position", "feature")
_TOKENS: tuple[Axis, ...] = ("batch", "time")
_SHARED: frozenset[Axis] = frozenset({"batch", "time", "batch_position"})
_STATES: tuple[Axis, ...] = ("state", "batch", "position", "feature")


def fixed_sizes(port: AnyPort, size: int) -> dict[Axis, int]:
    """Return the sizes of a port's axes that no input can change: all but those of batch and time.

    ``size`` is the number of features of the port's value, or of its state at one position.
    """
    if isinstance(port, ValuePort):
        return {"feature": size // port.positions, "position": port.positions, "one": 1}
    if isinstance(port, LengthsPort):
        return {"one": 1}
    counts = {"feature": size * port.groups, "state": len(port.states) // port.groups}
    return {**counts, "position": port.positions, "one": 1}  # type: ignore[dict-item]


def feature_size(port: AnyPort, values: Mapping[str, Value], state_shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of features of a port's value, or of its state at one position; lengths have 1."""
    if isinstance(port, ValuePort):
        return values[port.value].size
    return 1 if isinstance(port, LengthsPort) else state_shapes[port.states[0]][-1]


def shared_sizes(port: AnyPort, shape: tuple[int, ...]) -> dict[Axis, int]:
    """Return the sizes of the batch and time axes of a port's tensor, as far as it has them: all ports share these.

    Raises
    ------
    InputShapeError
        If an axis that merges the batch with positions is no multiple of the latter.
    """
    sizes: dict[Axis, int] = {axis: size for axis, size in zip(port.axes, shape, strict=True) if axis in _SHARED}
    merged = sizes.pop("batch_position", None)
    if merged is None or isinstance(port, LengthsPort):
        return sizes
    if merged % port.positions or not merged:
        raise InputShapeError(
            f"Model.run: input {port.name!r}: expected a multiple of {port.positions} along the axis that merges "
            f"the batch with positions, got {merged}"
        )
    return {"batch": merged // port.positions, **sizes}


def batch_first(port: AnyPort, tensor: Array, *, tokens: bool = False, batch: int = 1) -> Array:
    """Return a port's tensor batch-first and contiguous, with an axis of size 1 for each that it lacks.

    A sequence is ``(batch, n_steps, size)`` then, tokens are ``(batch, n_steps)``, lengths ``(batch,)``, states
    ``(states, batch, size)``, or ``(states, batch, positions, size)`` on a grid.

    Parameters
    ----------
    port
        The port.
    tensor
        Its tensor.
    tokens
        Whether its value is of tokens.
    batch
        How many sequences there are, where an axis merges them with their timesteps.
    """
    if isinstance(port, LengthsPort):
        return np.ascontiguousarray(tensor.reshape(-1))
    if isinstance(port, StatePort):
        return _separate_states(port, _arranged(port, tensor, _STATES))
    if port.backwards:
        tensor = np.flip(tensor, port.axes.index("time"))
    if tokens:
        return np.ascontiguousarray(_arranged(port, tensor, _TOKENS, batch))
    values = _arranged(port, tensor, _VALUE, batch)
    n_sequences, n_steps, positions, size = values.shape
    return np.ascontiguousarray(values.reshape(n_sequences, n_steps, positions * size))


def source_order(port: Port, array: Array, axes: tuple[Axis, ...]) -> Array:
    """Return an array in a port's axis order and dtype.

    Parameters
    ----------
    port
        The port.
    array
        What `batch_first` gives: its axes are ``axes``, and of a grid's state also the positions before the features.
    axes
        ``("batch", "time", "feature")``, ``("batch", "feature")`` or ``("state", "batch", "feature")``.

    Raises
    ------
    InputShapeError
        If the port lacks an axis along which the array has more than one element.
    """
    if isinstance(port, StatePort):
        array = _joined_states(port, array)
    else:
        if port.backwards:
            array = np.flip(array, axes.index("time"))
        array = array.reshape(*array.shape[:-1], port.positions, array.shape[-1] // port.positions)
    axes = (*axes[:-1], "position", "feature")
    wanted: list[Axis] = []
    for axis in port.axes:
        wanted += ["batch", "position"] if axis == "batch_position" else parts_of_axes([axis])
    for axis, size in zip(axes, array.shape, strict=True):
        if axis not in wanted and size != 1:
            raise InputShapeError(
                f"Model.run: output {port.name!r} has no {axis} axis in the source, "
                f"but the inputs have a {axis} size of {size}"
            )
    kept = [axis for axis in axes if axis in wanted]
    sizes = dict(zip(axes, array.shape, strict=True))
    moved = array.reshape([sizes[axis] for axis in kept]).transpose([kept.index(axis) for axis in wanted])
    in_time = sizes.get("batch", 1) * sizes.get("time", 1)
    merged = {**sizes, "one": 1, "batch_position": sizes.get("batch", 1) * sizes["position"]}
    merged |= dict.fromkeys(MERGED_TIME, in_time)
    with np.errstate(invalid="ignore", over="ignore"):  # of what is NaN, or too large, in the source's dtype
        return np.ascontiguousarray(moved.reshape([merged[axis] for axis in port.axes]), dtype=port.dtype)


def _arranged(port: ValuePort | StatePort, tensor: Array, order: tuple[Axis, ...], batch: int = 1) -> Array:
    """Return the tensor with just the axes of ``order``."""
    names: list[Axis] = []
    shape: list[int] = []
    for axis, size in zip(port.axes, tensor.shape, strict=True):
        if axis == "batch_position":
            names += ["batch", "position"]
            shape += [size // port.positions, port.positions]
        elif axis in MERGED_TIME:
            names += MERGED_TIME[axis]
            shape += [batch, size // batch] if axis == "batch_time" else [size // batch, batch]
        elif axis != "one":
            names.append(axis)
            shape.append(size)
    moved = tensor.reshape(shape).transpose([names.index(axis) for axis in order if axis in names])
    return np.expand_dims(moved, [place for place, axis in enumerate(order) if axis not in names])


def _separate_states(port: StatePort, stacked: Array) -> Array:
    """Return the states of ``(states / groups, batch, positions, groups * size)``, one after the other."""
    places, batch, positions, features = stacked.shape
    grouped = stacked.reshape(places, batch, positions, port.groups, features // port.groups)
    states = grouped.transpose(0, 3, 1, 2, 4).reshape(places * port.groups, batch, positions, features // port.groups)
    return np.ascontiguousarray(states if port.positions > 1 else states[:, :, 0])


def _joined_states(port: StatePort, states: Array) -> Array:
    """Return the reverse of `_separate_states`."""
    n_states, batch, size = states.shape[0], states.shape[1], states.shape[-1]
    apart = states.reshape(n_states // port.groups, port.groups, batch, port.positions, size)
    return apart.transpose(0, 2, 3, 1, 4).reshape(n_states // port.groups, batch, port.positions, port.groups * size)
