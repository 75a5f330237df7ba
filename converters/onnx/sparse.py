"""Sparse tensors, written out as the dense ones that they stand for.

Source: ``SparseTensorProto`` of the ONNX specification (onnx/onnx.proto).
"""

from __future__ import annotations

import math

import numpy as np
from onnx import SparseTensorProto

from grurt.array_types import Array
from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.onnx.tensors import ExternalData, read_tensor, text
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_EXPANSION = 64
"""How many bytes a byte of values and positions may stand for: 99.4 of 100 numbers are zeros then."""

_SMALL = 1 << 10
"""Bytes that any sparse tensor may stand for."""


def read_sparse_tensor(proto: SparseTensorProto, external: ExternalData) -> Array:
    """Return the dense array that a sparse one stands for.

    Raises
    ------
    ConversionError
        If positions lie outside of it, or are not as many as its values.
    UnsupportedError
        If it would take much more than what is stored.
    """
    where = f"sparse tensor {text(proto.values.name)[:100]!r}"
    values, positions = read_tensor(proto.values, external), read_tensor(proto.indices, external)
    shape = tuple(proto.dims)
    if not 0 < len(shape) <= MAX_RANK or any(size < 0 for size in shape):
        raise ConversionError(f"{where}: expected at most {MAX_RANK} axes, none of negative size, got {shape[:20]}")
    if math.prod(shape) * values.itemsize > max(_SMALL, MAX_EXPANSION * (values.nbytes + positions.nbytes)):
        raise UnsupportedError(
            f"{where}: its shape {shape} holds more than {MAX_EXPANSION} times what is stored of it; store it dense",
            reason=DesignReason.SIZE,
        )
    places = _flat(positions, shape)
    if values.ndim != 1 or places is None or len(places) != len(values):
        raise ConversionError(f"{where}: its values and their positions do not fit its shape {shape}: it is damaged")
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[places] = values
    return dense.reshape(shape)


def _flat(positions: Array, shape: tuple[int, ...]) -> Array | None:
    """Return positions, of one number or of one for each axis, as numbers; None if they lie outside."""
    if positions.dtype != np.int64 or positions.ndim not in (1, 2):
        return None
    sizes = np.array(shape if positions.ndim == 2 else [math.prod(shape)])
    rows = positions.reshape(len(positions), -1) if len(positions) else positions.reshape(0, len(sizes))
    if rows.shape[1] != len(sizes) or (rows < 0).any() or (rows >= sizes).any():
        return None
    return np.asarray(np.ravel_multi_index(tuple(rows.T), tuple(sizes)))
