"""JSON texts to fields, and nested lists of numbers to arrays, straight from the text.

The numbers of a file are never objects of Python's, of which one takes up to ten times its text: the text is cut into
the values of its fields, and what is a list of numbers is decoded piece by piece into an array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.json_text import check_fields, check_names
from grurt.converters.reading import read_bounded
from grurt.errors import ConversionError
from grurt.network.misfits import misfit

MAX_BYTES = 1 << 28
MAX_NAMES = 1 << 17
"""The largest file, and how many names and texts there may be in it."""

MAX_SHORT = 1 << 12
"""Characters of what is no weight: a name, a shape, a number."""

Fields = Mapping[str, msgspec.Raw]
"""The values of an object by name, each as its text."""

_MAX_AXES = 8
_PIECE = 1 << 16
_SPACE = b" \t\n\r"
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[],"))
_FLOATS = msgspec.json.Decoder(list[float])


def read_json(path: Path) -> Fields:
    """Return the fields of the object that a JSON file holds, each found to be sound; none, if it holds something else.

    Raises
    ------
    ConversionError
        If it is no JSON, or larger than 256 MB, or has more names than a model, or one of them twice.
    """
    data = read_bounded(path, MAX_BYTES, "JSON", "save the weights as .safetensors instead")
    if data.count(b'"') > 2 * MAX_NAMES or data.count(b"{") > MAX_NAMES:
        raise ConversionError(
            f"JSON: expected at most {MAX_NAMES} names and objects, got more; save the weights as .safetensors instead"
        )
    if not data.lstrip(_SPACE).startswith(b"{"):
        _decoded(data, msgspec.Raw)
        return {}
    return _fields(data)


def fields(text: msgspec.Raw) -> Fields | None:
    """Return the fields of an object; None if it is something else."""
    return _fields(text) if _begins(text, b"{") else None


def objects(text: msgspec.Raw, where: str) -> list[Fields]:
    """Return the fields of each object in a list; ConversionError if it is something else."""
    try:
        found: list[Fields] = msgspec.json.decode(text, type=list[dict[str, msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fault = misfit(error, list[dict[str, msgspec.Raw]]) if isinstance(error, msgspec.ValidationError) else error
        raise ConversionError(f"{where}: expected a list of objects, got another: {fault}") from error
    check_fields(text, found, where)
    return found


def is_list(text: msgspec.Raw) -> bool:
    """Say whether a value is a list."""
    return _begins(text, b"[")


def short(text: msgspec.Raw, where: str) -> Any:
    """Return a value that is no weight; ConversionError if it is too long for anything else."""
    size = len(memoryview(text))
    if size > MAX_SHORT:
        raise ConversionError(f"{where}: expected a value of at most {MAX_SHORT} characters, got one of {size}")
    value = _decoded(text, Any)
    check_names(bytes(text), value, where)
    return value


def items(text: msgspec.Raw, most: int) -> list[bytes] | None:
    """Return the texts of the lists in a list, without spaces; None if it holds other things, or more than so many."""
    data = bytes(text).translate(None, _SPACE)
    if not (data.startswith(b"[") and data.endswith(b"]")):
        return None
    found: list[bytes] = []
    start, end = 1, len(data) - 1
    while start < end:
        depth = _depth(data, start)
        closing = data.find(b"]" * depth, start, end)  # the first place at which so many lists end together
        if depth == 0 or closing < 0 or len(found) == most:
            return None
        stop = closing + depth
        found.append(data[start:stop])
        if data[stop : stop + 1] != b"," and stop != end:
            return None
        start = stop + 1
    return found


def numbers(text: msgspec.Raw | bytes, axes: int | None = None) -> Array | None:
    """Return nested lists of numbers as a float32 array of so many axes; None if they are no such array."""
    data = bytes(text)
    shape = _shape(data.translate(None, _NOT_BRACKETS))
    if shape is None or (axes is not None and len(shape) != axes):
        return None
    if shape[-1:] == (1,) and not data.translate(None, b"[]," + _SPACE):
        return np.zeros((*shape[:-1], 0), np.float32)
    array = _flat(data, math.prod(shape))
    return None if array is None else array.reshape(shape)


def weights(text: bytes, axes: int, where: str) -> Array:
    """Return nested lists of numbers as a float32 array of so many axes; ConversionError if they are no such array."""
    array = numbers(text, axes)
    if array is None:
        raise ConversionError(f"{where}: expected numbers in lists nested {axes} deep, got another shape")
    return array


def _shape(brackets: bytes) -> tuple[int, ...] | None:
    """Return the shape of the array whose brackets and commas these are, as ``[[,],[,]]``; None if it has none.

    It is that of the first lists at each depth, if the array of that shape looks like this. An innermost list without
    commas is taken to hold one number.
    """
    depth = _depth(brackets, 0)
    if depth > _MAX_AXES or (depth == 0 and brackets):
        return None
    sizes: list[int] = []
    expected = b""
    for level in range(1, depth + 1):
        start = depth - level
        length = brackets.find(b"]" * level, start) + level - start
        if level == 1:
            sizes.append(length - 1)
            expected = b"[" + b"," * (length - 2) + b"]"
        else:
            sizes.append((length - 1) // (len(expected) + 1))
            expected = b"[" + (expected + b",") * (sizes[-1] - 1) + expected + b"]"
        if brackets[start : start + length] != expected:
            return None
    return tuple(reversed(sizes)) if brackets == expected else None


def _flat(data: bytes, size: int) -> Array | None:
    """Return so many numbers with commas and brackets between them; None if there are others, or something else."""
    result = np.empty(size, np.float32)
    done, start = 0, 0
    with np.errstate(all="ignore"):  # what is no float32 becomes infinite or NaN; the model refuses it by name
        while start < len(data):
            stop = data.find(b",", start + _PIECE)
            stop = len(data) if stop < 0 else stop
            try:
                piece = _FLOATS.decode(b"[" + data[start:stop].translate(None, b"[]") + b"]")
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
            if done + len(piece) > size:
                return None
            result[done : done + len(piece)] = np.array(piece, np.float64)
            done, start = done + len(piece), stop + 1
    return result if done == size else None


def _depth(data: bytes, start: int) -> int:
    """Return how many lists begin together."""
    depth = 0
    while depth <= _MAX_AXES and data[start + depth : start + depth + 1] == b"[":
        depth += 1
    return depth


def _begins(text: msgspec.Raw, character: bytes) -> bool:
    return bytes(memoryview(text)[:1]) == character


def _fields(text: bytes | msgspec.Raw) -> Fields:
    found: Fields = _decoded(text, dict[str, msgspec.Raw])
    check_fields(text, [found], "JSON")
    return found


def _decoded(text: bytes | msgspec.Raw, wanted: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=wanted)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ConversionError(f"JSON: expected a sound text, got damage: {error}; save the file again") from error
