"""Ranges of the numbers that describe a model, of which their types say nothing."""

import math

import msgspec
import numpy as np

from grurt.errors import ModelError
from grurt.escaping import described

MAX_SIZE = 1 << 20
"""The largest number that a layer or an input can have, and the largest size of a value or state."""

MAX_AXES = 12
"""The most axes of a weight, and of the values of a step program."""


def check_range(where: str, number: int, minimum: int, maximum: int = MAX_SIZE) -> None:
    """Raise ModelError unless a whole number is in a range."""
    if not minimum <= number <= maximum:
        raise ModelError(f"{where} must be in [{minimum}, {maximum}], got {described(number)}")


def check_finite(where: str, number: float) -> None:
    """Raise ModelError unless a number is finite in float32."""
    if not math.isfinite(number) or abs(number) > float(np.finfo(np.float32).max):
        raise ModelError(f"{where} must be a finite float32, got {number}")


def check_function(where: str, function: msgspec.Struct) -> None:
    """Raise ModelError unless the parameters of a function are finite, and fit together."""
    for name in function.__struct_fields__:
        value = getattr(function, name)
        if isinstance(value, int | float):
            check_finite(f"{where}.{name}", value)
    if (contradiction := getattr(function, "contradiction", None)) is not None:
        raise ModelError(f"{where}: {contradiction}")
