"""A layer's configuration, of which every key has to be understood."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_KEYS = 1000

_WITHOUT_EFFECT = frozenset(
    {
        "name",
        "trainable",
        "seed",
        "batch_shape",
        "batch_input_shape",
        "input_dtype",
        "input_length",
        "activity_regularizer",
        "autocast",
    }
)
"""Keys of training, of shapes that the weights tell, and of names."""

_MAX_AXES = 4
"""How deep the lists of a constant may be nested."""

_TRAINING = ("_initializer", "_regularizer", "_constraint")
_FLOAT_POLICIES = frozenset({"float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


@dataclass(frozen=True, order=True)
class Version:
    """The version of Keras that wrote a file; ``is_tf`` marks TensorFlow's own variant of Keras 2."""

    major: int
    minor: int
    is_tf: bool = False

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version such as ``"3.15.1"`` or ``"2.2.4-tf"``; ConversionError if it is none."""
        match = re.match(r"(\d{1,4})\.(\d{1,4})", text)
        if match is None or not 0 < int(match[1]) <= 3:
            raise ConversionError(
                f"expected a model of Keras 1, 2 or 3, got the version {text[:50]!r}; the file is damaged, or newer "
                "than this reader"
            )
        return cls(int(match[1]), int(match[2]), text.endswith("-tf") or (match[1] == "2" and int(match[2]) >= 4))


def as_float(number: float, error: Callable[[], ConversionError]) -> float:
    """Return a number of JSON's; integers that are none, since they are too large, raise an error."""
    try:
        return float(number)
    except OverflowError:
        raise error() from None


def constant(value: object) -> Array | None:
    """Return a number or an array of Keras's JSON as float32; None for anything else."""
    if isinstance(value, Mapping):
        inner = value.get("config", value)
        value = inner.get("value") if isinstance(inner, Mapping) else None
    if not _holds_numbers(value, _MAX_AXES):
        return None
    try:
        with np.errstate(all="ignore"):  # what is no float32 becomes infinite
            array = np.asarray(value, np.float64).astype(np.float32)
    except (ValueError, OverflowError):  # lists of different lengths, or an integer that is no number of theirs
        return None
    return array if array.size and np.isfinite(array).all() else None


def _holds_numbers(value: object, depth: int) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_holds_numbers(item, depth - 1) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


class Config:
    """The configuration of one layer.

    Parameters
    ----------
    where
        What to call the layer in errors, e.g. ``"layer 'gru' (GRU)"``.
    values
        Its keys and values.
    """

    def __init__(self, where: str, values: object) -> None:
        if not isinstance(values, Mapping):
            raise ConversionError(
                f"{where}: expected a configuration, got {type(values).__name__}; the file is damaged"
            )
        if len(values) > MAX_KEYS:
            raise ConversionError(f"{where}: expected a configuration of at most {MAX_KEYS} keys, got {len(values)}")
        self.where = where
        self._values = values
        self._read = set(_WITHOUT_EFFECT)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as it is, or ``default`` if there is none; the key counts as understood."""
        self._read.add(key)
        return self._values.get(key, default)

    def boolean(self, key: str, default: bool = False) -> bool:
        """Return a truth value; Keras 1 sometimes wrote null for false."""
        value = self.get(key, default)
        if value is not None and not isinstance(value, bool):
            raise self.invalid(key, "true or false", value)
        return bool(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a positive integer; also from a list of just one, as convolutions have."""
        value = self.get(key, default)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.invalid(key, "a positive integer", value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number; also from Keras's form of a NumPy scalar."""
        value = self.get(key, default)
        if isinstance(value, Mapping):
            value = value.get("value", value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.invalid(key, "a number", value)
        return as_float(value, lambda: self.invalid(key, "a number", value))

    def numbers(self, key: str, default: float | None = None) -> Array:
        """Return a number, or numbers in nested lists, as float32; also from Keras's forms of NumPy's arrays."""
        value = self.get(key, default)
        found = constant(value)
        if found is None:
            raise self.invalid(key, "numbers", value)
        return found

    def skip(self, *keys: str) -> None:
        """Say that these keys have no effect on what a trained layer computes."""
        self._read.update(keys)

    def require(self, key: str, allowed: tuple[object, ...], reason: str) -> None:
        """Raise UnsupportedError if a key is there and has none of the allowed values."""
        value = self.get(key, allowed[0])
        if not any(type(value) is type(option) and value == option for option in allowed):
            raise self.unsupported(f"{key}={str(value)[:100]}", reason)

    def policy(self) -> str:
        """Return the name of the dtype policy; UnsupportedError for a quantized one."""
        value = self.get("dtype", "float32")
        if isinstance(value, Mapping):
            inner = value.get("config")
            value = inner.get("name") if isinstance(inner, Mapping) else None
        if value is None:
            return "float32"
        if not isinstance(value, str) or not (
            value in _FLOAT_POLICIES or value.startswith(("int32", "int64", "uint", "bool", "string"))
        ):
            raise self.unsupported(
                f"the dtype policy {str(value)[:100]!r}",
                "convert the model from before its quantization",
                DesignReason.QUANTIZED,
            )
        return value

    def check_all_read(self) -> None:
        """Raise UnsupportedError for a key that nobody asked for; one that is null is not set."""
        for key, value in self._values.items():
            if key not in self._read and not str(key).endswith(_TRAINING) and value is not None:
                raise self.unsupported(
                    f"the argument {str(key)[:100]!r}, which is not known",
                    "please report it, with the version of Keras",
                    DesignReason.NOT_SAID,
                )

    def invalid(self, key: str, expected: str, found: object) -> ConversionError:
        return ConversionError(f"{self.where}: expected {key} to be {expected}, got {str(found)[:100]}")

    def unsupported(self, found: str, advice: str, reason: DesignReason | None = None) -> UnsupportedError:
        return UnsupportedError(f"{self.where}: got {found}; {advice}", reason=reason)


def policies(description: Mapping[str, Any]) -> set[str]:
    """Return the names of the dtype policies of a model's layers: in which precisions they compute."""
    return {Config("", values).policy() for values in _configs(description)}


def _configs(value: Any) -> Iterator[Mapping[str, Any]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if "dtype" in item and "name" in item and "keras_history" not in item:
                yield item
            stack += item.values()
        elif isinstance(item, list):
            stack += item
