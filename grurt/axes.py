"""Turns a source's tensors, in their axis orders, into batch-first arrays and back (see `grurt.signature`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.errors import InputShapeError
from grurt.signature import Axis, Port, StatePort

Array = NDArray[Any]


def batch_first(port: Port, tensor: Array) -> Array:
    """Return a port's tensor batch-first and contiguous, with an axis of size 1 for each that it lacks.

    A sequence is ``(batch, n_steps, size)`` then, tokens are ``(batch, n_steps)``, states ``(states, batch, size)``.
    """
    order: tuple[Axis, ...] = ("batch", "time") if port.dtype.startswith("int") else ("batch", "time", "feature")
    if isinstance(port, StatePort):
        order = ("state", "batch", "feature")
    named = [axis for axis in port.axes if axis != "one"]
    tensor = tensor.reshape([size for size, axis in zip(tensor.shape, port.axes, strict=True) if axis != "one"])
    moved = tensor.transpose([named.index(axis) for axis in order if axis in named])
    lacking = [position for position, axis in enumerate(order) if axis not in named]
    return np.ascontiguousarray(np.expand_dims(moved, lacking))


def source_order(port: Port, array: Array, axes: tuple[Axis, ...]) -> Array:
    """Return an array, whose axes are ``axes``, in a port's axis order and dtype.

    Raises
    ------
    InputShapeError
        If the port lacks an axis along which the array has more than one element.
    """
    for axis, size in zip(axes, array.shape, strict=True):
        if axis not in port.axes and size != 1:
            raise InputShapeError(
                f"Model.run: output {port.name!r} has no {axis} axis in the source, "
                f"but the inputs have a {axis} size of {size}"
            )
    kept = [axis for axis in axes if axis in port.axes]
    squeezed = array.reshape([size for axis, size in zip(axes, array.shape, strict=True) if axis in kept])
    moved = squeezed.transpose([kept.index(axis) for axis in port.axes if axis != "one"])
    ones = [position for position, axis in enumerate(port.axes) if axis == "one"]
    return np.ascontiguousarray(np.expand_dims(moved, ones), dtype=port.dtype)
