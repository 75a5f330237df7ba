"""Element types of 8 bits and fewer that NumPy has not, as those that hold the same numbers.

Source: "Int4", "Int2" and "Float stored in 8 bits" of the ONNX documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from grurt.array_types import Array


@dataclass(frozen=True)
class _Packed:
    """Integers of some bits, several to a byte, the first one in the lowest bits."""

    bits: int
    is_signed: bool

    def numbers(self, stored: Array) -> Array:
        """Return the numbers in bytes. Their dtype remembers the bits, for those who count up to the largest."""
        per_byte, largest = 8 // self.bits, 1 << self.bits
        unpacked = np.empty((stored.size, per_byte), np.uint8)
        for place in range(per_byte):
            np.right_shift(stored, place * self.bits, out=unpacked[:, place])
        unpacked &= largest - 1
        if self.is_signed:  # the numbers from the middle on are negative
            unpacked ^= largest >> 1
            unpacked -= largest >> 1
        kind = np.int8 if self.is_signed else np.uint8
        return unpacked.reshape(-1).view(np.dtype(kind, metadata={"bits": self.bits}))


@dataclass(frozen=True)
class _Float8:
    """Floating-point numbers of a sign, some bits of exponent and some of mantissa.

    ``FN`` has no infinities, and NaN where all bits are set; ``FNUZ`` neither infinities nor a negative zero, which is
    NaN.
    """

    mantissa: int
    bias: int
    has_infinities: bool = False
    is_unsigned_zero: bool = False

    def numbers(self, stored: Array) -> Array:
        """Return the numbers in bytes."""
        return np.asarray(self._table()[stored])

    @cache  # noqa: B019 - there are four of these
    def _table(self) -> Array:
        codes = np.arange(256)
        exponents, mantissas = (codes & 127) >> self.mantissa, codes & ((1 << self.mantissa) - 1)
        fractions = mantissas / (1 << self.mantissa) + (exponents > 0)
        found = fractions * np.exp2(np.maximum(exponents, 1) - self.bias)
        if self.is_unsigned_zero:
            found[128] = np.nan
        elif self.has_infinities:
            found[exponents == 31] = np.where(mantissas[exponents == 31] == 0, np.inf, np.nan)
        else:
            found[(codes & 127) == 127] = np.nan
        return np.asarray(np.where(codes < 128, found, -found), np.float32)


NARROW: dict[int, _Packed | _Float8] = {
    17: _Float8(mantissa=3, bias=7),
    18: _Float8(mantissa=3, bias=8, is_unsigned_zero=True),
    19: _Float8(mantissa=2, bias=15, has_infinities=True),
    20: _Float8(mantissa=2, bias=16, is_unsigned_zero=True),
    21: _Packed(4, is_signed=False),
    22: _Packed(4, is_signed=True),
    25: _Packed(2, is_signed=False),
    26: _Packed(2, is_signed=True),
}
"""By the numbers that ONNX has for element types."""


def bits_of(data_type: int) -> int:
    """Return how many bits an element of one of these types takes."""
    kind = NARROW[data_type]
    return kind.bits if isinstance(kind, _Packed) else 8


def name_of_integers(dtype: np.dtype[Any]) -> str:
    """Return what ONNX calls integers of a dtype: of fewer bits than the dtype has, if it remembers so."""
    remembered: Mapping[str, Any] = dtype.metadata or {}
    bits = remembered.get("bits", 8 * dtype.itemsize)
    return f"{'u' * (dtype.kind == 'u')}int{bits}"
