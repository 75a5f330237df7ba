"""The tensors of a ``.grurt`` file: names, dtypes, shapes and extents, as a safetensors header has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.errors import ModelFileError
from grurt.network.ranges import MAX_AXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

MISFIT = "the file is damaged: its header does not fit the data behind it"
"""What is said of a file whose tensors are elsewhere than its header says, or of other sizes."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A tensor: its extent is ``[begin, end)``, counted from where the data begin. What is left out is no tensor's."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (0, 0)

    def array(self, data: bytes) -> NDArray[np.generic]:
        """Return the tensor that these bytes are: immutable, as they are, and not a copy where they are native."""
        array: NDArray[np.generic] = np.frombuffer(data, DTYPES[self.dtype]).reshape(self.shape)
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        native.flags.writeable = False
        return native


def arranged(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Return tensors in the order in which they lie in a file, little-endian: aligned, the widest dtype first."""
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    return {
        name: np.ascontiguousarray(tensors[name], tensors[name].dtype.newbyteorder("<")).reshape(tensors[name].shape)
        for name in names
    }


def entries(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, Entry]:
    """Return the entries of tensors that lie one after the other."""
    described, begin = {}, 0
    for name, array in tensors.items():
        described[name] = Entry(_NAMES[array.dtype], array.shape, (begin, begin + array.nbytes))
        begin += array.nbytes
    return described


def in_order(found: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """Return the entries in the order of their data, checked to lie one after the other, without gaps or overlaps.

    Raises
    ------
    ModelFileError
        If they do not, or a size does not fit its shape and dtype.
    """
    ordered = sorted(found.items(), key=lambda item: item[1].data_offsets)
    end = 0
    for name, entry in ordered:
        begin, previous = entry.data_offsets[0], end
        end = entry.data_offsets[1]
        if entry.dtype not in DTYPES:
            raise ModelFileError(f"tensor {name}: expected a dtype of {', '.join(DTYPES)}, got {entry.dtype[:20]}")
        if len(entry.shape) > MAX_AXES or any(size < 1 for size in entry.shape):
            raise ModelFileError(
                f"tensor {name}: expected at most {MAX_AXES} axes, none of them empty, "
                f"got shape {list(entry.shape[: MAX_AXES + 1])}"
            )
        if begin != previous or end - begin != np.dtype(DTYPES[entry.dtype]).itemsize * math.prod(entry.shape):
            raise ModelFileError(f"{MISFIT}, at tensor {name}")
    return ordered
