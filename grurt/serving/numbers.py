"""Numbers as they stand in JSON, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grurt.array_types import Array

_MAX_DEPTH = 32
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "f": ((int, float), "numbers"),
    "i": ((int,), "integers"),
    "b": ((bool, int), "true, false, 0 or 1"),
}


def array_of_numbers(where: str, numbers: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    """Return numbers ``(n,)`` that were read from JSON; what is beyond a floating-point dtype's range is infinite.

    Raises
    ------
    InputTypeError
        If one is something else: integers are not taken from what has a decimal point, or numbers from texts.
    InputValueError
        If an integer is beyond the dtype's range.
    """
    types, wanted = _KINDS[dtype.kind]
    for number in numbers:
        if type(number) not in types:
            raise InputTypeError(f"{where}: expected {wanted}, got {type(number).__name__} {described(number)}")
    try:
        with np.errstate(over="ignore"):
            return np.array(numbers, np.float64 if dtype.kind == "f" else dtype).astype(dtype)
    except OverflowError:
        raise InputValueError(f"{where}: expected {wanted} of {_bits(dtype)} bits, got a larger one") from None


def _bits(dtype: np.dtype[Any]) -> int:
    return 64 if dtype.kind == "f" else 8 * dtype.itemsize


def flat_numbers(where: str, data: Any) -> list[Any]:
    """Return what nested lists hold, in row-major order, whatever shape they have. Raises InputShapeError."""
    numbers: list[Any] = []
    _flatten(where, data, numbers, 0)
    return numbers


def _flatten(where: str, data: Any, numbers: list[Any], depth: int) -> None:
    if not isinstance(data, list) or depth > _MAX_DEPTH:
        raise InputShapeError(f"{where}: expected data, a list of numbers, got {described(data)}")
    if any(isinstance(item, list) for item in data):
        for item in data:
            _flatten(where, item, numbers, depth + 1)
    else:
        numbers += data


def shaped_numbers(where: str, value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Return what nested lists of equal lengths hold, and their shape. Raises InputShapeError."""
    numbers: list[Any] = []
    return numbers, _shape_of(where, value, numbers, 0)


def _shape_of(where: str, value: Any, numbers: list[Any], depth: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        numbers.append(value)
        return ()
    if depth > _MAX_DEPTH:
        raise InputShapeError(f"{where}: expected lists of at most {_MAX_DEPTH} levels")
    shapes = {_shape_of(where, item, numbers, depth + 1) for item in value}
    if len(shapes) > 1:
        raise InputShapeError(f"{where}: expected lists of equal lengths, got some of {described(sorted(shapes)[:4])}")
    return (len(value), *(shapes.pop() if shapes else ()))
