"""NumPy's arrays and numbers inside a pickle: what they are made from, kept until one is asked for.

A pickle makes an array of a shape, a dtype and bytes; in protocol 2, which has no bytes, of a text that it would have
encoded. None of that is done while the pickle is read: a few bytes of it can name a long text many times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from grurt.array_types import Array
from grurt.converters.torch.checkpoint.pickles import Function, Opaque
from grurt.errors import ConversionError

_MAX_AXES = 16
_NUMBERS = re.compile(r"f[248]|[iu][1248]|b1")
_STATE_PARTS = 5
"""A version, the shape, the dtype, whether its order is Fortran's, and the numbers."""


@dataclass(slots=True, eq=False)
class NumpyDtype(Opaque):
    """A dtype by its code, such as ``"f8"``; the state that it is given holds the order of the bytes."""

    code: str = ""


@dataclass(slots=True, eq=False)
class NumpyArray(Opaque):
    """An array, whose state is what `numpy.ndarray.__setstate__` takes."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Its shape; None if it holds no numbers, or its parts do not fit together."""
        parts = self._parts()
        return None if parts is None else parts[0]

    def read(self, name: str) -> Array:
        """Return the numbers: floating point as float32, others as they are; ConversionError if they do not fit."""
        parts = self._parts()
        try:
            raw = parts and (parts[3].encode("latin-1") if isinstance(parts[3], str) else parts[3])
        except UnicodeEncodeError:
            raw = None
        if parts is None or raw is None:
            raise ConversionError(
                f"array {name!r}: expected numbers as NumPy pickles them, got something else; the file is damaged"
            )
        array = np.frombuffer(raw, parts[1]).reshape(parts[0], order=parts[2])
        with np.errstate(all="ignore"):  # what is no float32 becomes infinite, and is refused by name where it is used
            return array.astype(np.float32) if array.dtype.kind == "f" else array.astype(array.dtype.newbyteorder("="))

    def _parts(self) -> tuple[tuple[int, ...], np.dtype[Any], Literal["C", "F"], str | bytes] | None:
        state = self.state
        if not isinstance(state, tuple) or len(state) != _STATE_PARTS:
            return None
        _, shape, dtype, fortran, data = state
        data = data.text if isinstance(data, _Encoded) else data
        known = isinstance(dtype, NumpyDtype) and _NUMBERS.fullmatch(dtype.code) and isinstance(data, bytes | str)
        sizes = isinstance(shape, tuple) and len(shape) <= _MAX_AXES and all(type(size) is int for size in shape)
        if not known or not sizes or any(size < 0 for size in shape):
            return None
        found = np.dtype(_byte_order(dtype.state) + dtype.code)
        fits = math.prod(shape) * found.itemsize == len(data)
        return (shape, found, "F" if fortran is True else "C", data) if fits else None


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Bytes, as the text that the pickle makes them of."""

    text: str


def _byte_order(state: object) -> str:
    big = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"
    return ">" if big else "<"


def _encoded(text: object = "", encoding: object = "", *_: object) -> object:
    return _Encoded(text) if isinstance(text, str) and encoding == "latin1" else Opaque("_codecs.encode")


def _dtype(code: object = "", *_: object) -> NumpyDtype:
    return NumpyDtype("numpy.dtype", code=code if isinstance(code, str) else "")


def _array(*_: object) -> NumpyArray:
    return NumpyArray("numpy.ndarray")


def _array_of_buffer(
    data: object = None, dtype: object = None, shape: object = None, order: object = "C"
) -> NumpyArray:
    return NumpyArray("numpy.ndarray", (1, shape, dtype, order == "F", data))


def _scalar(dtype: object = None, data: object = None) -> NumpyArray:
    return NumpyArray("numpy.ndarray", (1, (), dtype, False, data))


FUNCTIONS: Mapping[str, Function] = {
    "_codecs.encode": _encoded,
    "numpy.dtype": _dtype,
    **{
        f"numpy.{package}.{function}": action
        for package in ("core", "_core")
        for function, action in (
            ("multiarray._reconstruct", _array),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _array_of_buffer),
        )
    },
}
"""What pickles of arrays call, of NumPy before version 2 and since."""
