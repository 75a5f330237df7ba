"""Turns a source's tensors, in their axis orders, into batch-first arrays and back (see `grurt.network.signature`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

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


Label: TypeAlias = "Axis | tuple[Axis, int]"
"""An axis, or one of several of a kind: which of them."""

_VALUE: tuple[Axis, ...] = ("batch", "time", "position")
_TOKENS: tuple[Axis, ...] = ("batch", "time")
_SHARED: frozenset[Axis] = frozenset({"batch", "time", "batch_position"})
_STATES: tuple[Axis, ...] = ("state", "batch", "position")


def port_shape(
    port: AnyPort, values: Mapping[str, Value], state_shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int | Axis, ...]:
    """Return the size of each axis of a port's tensor; of those of batch and time, which a call chooses, the axis.

    Parameters
    ----------
    port
        The port.
    values
        What ports of values show, by the names that they have for it.
    state_shapes
        The shapes of a network's states by name.
    """
    fixed: dict[Axis, int] = {"one": 1}
    if isinstance(port, ValuePort):
        fixed |= {"feature": values[port.value].size // port.positions, "position": port.positions}
    elif isinstance(port, StatePort):
        size = math.prod(state_shapes[port.states[0]]) // port.positions
        fixed |= {"feature": size * port.groups, "position": port.positions, "state": len(port.states) // port.groups}
    index = iter(() if isinstance(port, LengthsPort) else port.shape)
    return tuple([next(index) if axis == "index" else fixed.get(axis, axis) for axis in port.axes])


def tensor_shape(
    port: AnyPort,
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
    *,
    batch: int,
    time: int,
) -> tuple[int, ...]:
    """Return the shape of a port's tensor, for so many sequences of so many timesteps."""
    positions = 1 if isinstance(port, LengthsPort) else port.positions
    sizes: dict[Axis, int] = {"batch": batch, "time": time, "batch_position": batch * positions}
    sizes |= dict.fromkeys(MERGED_TIME, batch * time)
    return filled(port_shape(port, values, state_shapes), sizes)


def filled(shape: tuple[int | Axis, ...], sizes: Mapping[Axis, int]) -> tuple[int, ...]:
    """Return a shape of `port_shape` with the sizes of those of its axes that a call chooses."""
    return tuple([size if isinstance(size, int) else sizes[size] for size in shape])


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
    ``(states, batch, ...)``, with the numbers of a state in the order that it has them.

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
        return _separate_states(port, _arranged(port, tensor, (*_STATES, *_features(port))))
    if port.backwards:
        tensor = np.flip(tensor, port.axes.index("time"))
    if tokens:
        return np.ascontiguousarray(_arranged(port, tensor, _TOKENS, batch))
    values = _arranged(port, tensor, (*_VALUE, *_features(port)), batch)
    return np.ascontiguousarray(values.reshape(*values.shape[:2], math.prod(values.shape[2:])))


def source_order(port: Port, array: Array, axes: tuple[Axis, ...]) -> Array:
    """Return an array in a port's axis order and dtype.

    Parameters
    ----------
    port
        The port.
    array
        What `batch_first` gives.
    axes
        What its axes are: ``("batch", "time", "feature")``, ``("batch", "feature")`` or ``("state", "batch",
        "feature")``, the last of which stands for all that a state has.

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
        features = port.shape or (array.shape[-1] // port.positions,)
        array = array.reshape(*array.shape[:-1], port.positions, *features)
    shown: tuple[Label, ...] = (*axes[:-1], "position", *_features(port))
    labels = _labels(port)
    wanted: list[Label] = []
    for label in labels:
        if label == "batch_position":
            wanted += ["batch", "position"]
        else:
            wanted += [label] if isinstance(label, tuple) else parts_of_axes([label])
    for axis, size in zip(shown, array.shape, strict=True):
        if axis not in wanted and size != 1:
            raise InputShapeError(
                f"Model.run: output {port.name!r} has no {axis} axis in the source, "
                f"but the inputs have a {axis} size of {size}"
            )
    kept = [axis for axis in shown if axis in wanted]
    sizes = dict(zip(shown, array.shape, strict=True))
    moved = array.reshape([sizes[axis] for axis in kept]).transpose([kept.index(axis) for axis in wanted])
    in_time = sizes.get("batch", 1) * sizes.get("time", 1)
    merged: dict[Label, int] = {**sizes, "one": 1, "batch_position": sizes.get("batch", 1) * sizes["position"]}
    merged |= dict.fromkeys(MERGED_TIME, in_time)
    with np.errstate(invalid="ignore", over="ignore"):  # of what is NaN, or too large, in the source's dtype
        return np.asarray(moved.reshape([merged[label] for label in labels]), port.dtype, "C")


def _labels(port: Port) -> list[Label]:
    """Return a port's axes, no two of which are the same but those of size 1."""
    index = iter(_features(port))
    return [next(index) if axis == "index" else axis for axis in port.axes]


def _features(port: Port) -> tuple[Label, ...]:
    """Return the axes that a port's features run over."""
    return tuple(("index", number) for number in range(len(port.shape))) or ("feature",)


def _arranged(port: Port, tensor: Array, order: tuple[Label, ...], batch: int = 1) -> Array:
    """Return the tensor with just the axes of ``order``."""
    names: list[Label] = []
    shape: list[int] = []
    for axis, size in zip(_labels(port), tensor.shape, strict=True):
        if axis == "batch_position":
            names += ["batch", "position"]
            shape += [size // port.positions, port.positions]
        elif not isinstance(axis, tuple) and axis in MERGED_TIME:
            names += MERGED_TIME[axis]
            shape += [batch, size // batch] if axis == "batch_time" else [size // batch, batch]
        elif axis != "one":
            names.append(axis)
            shape.append(size)
    moved = tensor.reshape(shape).transpose([names.index(axis) for axis in order if axis in names])
    return np.expand_dims(moved, [place for place, axis in enumerate(order) if axis not in names])


def _separate_states(port: StatePort, stacked: Array) -> Array:
    """Return the states of ``(states / groups, batch, positions, groups * size)``, one after the other."""
    if port.shape:
        return np.ascontiguousarray(stacked.reshape(*stacked.shape[:2], *port.shape))
    places, batch, positions, features = stacked.shape
    grouped = stacked.reshape(places, batch, positions, port.groups, features // port.groups)
    states = grouped.transpose(0, 3, 1, 2, 4).reshape(places * port.groups, batch, positions, features // port.groups)
    return np.ascontiguousarray(states if port.positions > 1 else states[:, :, 0])


def _joined_states(port: StatePort, states: Array) -> Array:
    """Return the reverse of `_separate_states`."""
    if port.shape:
        return states.reshape(*states.shape[:2], 1, *port.shape)
    n_states, batch, size = states.shape[0], states.shape[1], math.prod(states.shape[2:]) // port.positions
    apart = states.reshape(n_states // port.groups, port.groups, batch, port.positions, size)
    return apart.transpose(0, 2, 3, 1, 4).reshape(n_states // port.groups, batch, port.positions, port.groups * size)
