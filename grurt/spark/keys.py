"""Keys as Arrow arrays: looked up, added and written down without an object of Python's for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = Any
"""An array of Arrow's, which has no types to check."""


def looked_up(known: Array, keys: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return the known keys with those that are new behind them, in the order in which they came, and where keys are.

    Neither holds a null.
    """
    found = pc.index_in(keys, value_set=known)
    if found.null_count:
        new = keys.filter(pc.is_null(found)).unique()
        known = pa.concat_arrays([known, new])
        found = pc.index_in(keys, value_set=known)
    return known, found.to_numpy().astype(np.int64)


def to_buffers(keys: Array) -> tuple[bytes, bytes]:
    """Return keys as bytes: the length of each as int32, and their contents; of integers nothing, and int64."""
    if pa.types.is_integer(keys.type):
        return b"", keys.to_numpy().astype("<i8", copy=False).tobytes()
    offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
    content = keys.buffers()[2]
    text = b"" if content is None else content.to_pybytes()[offsets[0] : offsets[-1]]
    return np.diff(offsets).astype("<i4").tobytes(), text


def from_buffers(kind: pa.DataType, lengths: bytes, content: bytes, n_keys: int) -> Array:
    """Return keys of what `to_buffers` has returned; raise ValueError if they are not as many, or no text."""
    if pa.types.is_integer(kind):
        keys = pa.array(np.frombuffer(content, "<i8").astype(np.int64))
    else:
        sizes = np.frombuffer(lengths, "<i4")
        if len(sizes) and sizes.min() < 0:
            raise ValueError("a negative length")
        offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        if offsets[-1] != len(content):
            raise ValueError("lengths that do not fit")
        buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(content)]
        keys = pa.Array.from_buffers(kind, len(sizes), buffers)
        keys.validate(full=True)
    if len(keys) != n_keys:
        raise ValueError("another number of keys")
    return keys
