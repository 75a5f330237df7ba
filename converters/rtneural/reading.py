"""JSON texts to objects, and nested lists of numbers to arrays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError

MAX_BYTES = 1 << 28
"""The largest file: its numbers take up to sixteen times as much memory while it is read."""


def read_json(path: Path) -> object:
    """Return what a JSON file holds.

    Raises
    ------
    ConversionError
        If it is no JSON, nested too deeply, or larger than 256 MB.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConversionError(
            f"JSON: expected at most {MAX_BYTES} bytes, got {size}; save the weights as .safetensors instead"
        )
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ConversionError(f"JSON: expected a sound text, got damage: {error}; save the file again") from error


def numbers(value: object, axes: int | None = None) -> Array | None:
    """Return nested lists of numbers as a float32 array of so many axes; None if they are no such array."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):  # lists of different lengths, or nested too deeply
        return None
    if (array.dtype.kind not in "fi" and array.size > 0) or (axes is not None and array.ndim != axes):
        return None
    with np.errstate(all="ignore"):  # what is no float32 becomes infinite or NaN; the model refuses it by name
        return array.astype(np.float32)


def weights(value: object, axes: int, where: str) -> Array:
    """Return nested lists of numbers as a float32 array of so many axes; ConversionError if they are no such array."""
    array = numbers(value, axes)
    if array is None:
        raise ConversionError(f"{where}: expected numbers in lists nested {axes} deep, got another shape")
    return array
