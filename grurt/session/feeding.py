"""A feed as onnxruntime takes it: all inputs, no others, and in the dtypes and shapes that the source declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError
from grurt.escaping import described, listed
from grurt.network.signature import DType, Signature, is_float
from grurt.runtime import arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array
    from grurt.session.ports import Ports

WHERE = "InferenceSession.run"


def checked_feed(ports: Ports, signature: Signature, feed: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return the arrays of a feed by name; raise unless it is one that the source takes.

    Raises
    ------
    InputShapeError
        If an input is missing, or unknown, or has another number of axes, or another size where one is declared.
    InputTypeError
        If an input is an array of another dtype, which nothing converts.
    """
    if not isinstance(feed, Mapping):
        raise InputTypeError(f"{WHERE}: expected a mapping of inputs by name, got {type(feed).__name__}")
    given = dict(feed)
    names = [port.name for port in signature.inputs]
    if missing := [name for name in names if name not in given]:
        raise InputShapeError(f"{WHERE}: expected the inputs {names}, got no {listed(map(described, missing))}")
    if unknown := [name for name in given if name not in names]:
        raise InputShapeError(
            f"{WHERE}: expected the inputs {names} and none of another name, got {listed(map(described, unknown))}"
        )
    taken = {}
    for port, node, dtype in zip(signature.inputs, ports.inputs, ports.dtypes, strict=True):
        where = f"{WHERE}: input {port.name!r}"
        array = _taken(where, given[port.name], dtype)
        arrays.expect_shape(where, array, tuple("?" if size is None else size for size in node.shape))
        taken[port.name] = array if dtype == port.dtype else _as_the_source_casts(array, port.dtype)
    return taken


def _taken(where: str, value: ArrayLike, dtype: DType) -> Array:
    if isinstance(value, np.ndarray):
        if value.dtype.newbyteorder("=") != dtype:
            raise InputTypeError(f"{where}: expected an array of {dtype}, got {value.dtype}: convert it before")
        return value
    return arrays.features(where, value) if is_float(dtype) else arrays.integers(where, value, f"{dtype} numbers")


def _as_the_source_casts(array: Array, dtype: DType) -> Array:
    """Return what a source makes of numbers that it declares in another dtype than it computes with."""
    with np.errstate(invalid="ignore"):  # what is no token then is refused as one
        return array.astype(dtype)
