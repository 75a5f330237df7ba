"""Sixteen float32 lanes, and the few instructions that the kernels are written in.

Each instruction is defined here, in NumPy: kernels in plain Python run on these functions. `grurt.kernels.codegen.simd`
writes the machine code for the same, which the tests hold against them.

A vector is an LLVM ``<16 x float>``, here a float32 array ``(16,)``. LLVM maps it to one AVX-512 register, two AVX
registers, four NEON registers or sixteen scalars, whatever the target has, so a kernel has the same lanes and the same
order of operations on every CPU. All arithmetic, ``+ - * /`` included, is IEEE single precision, rounded to nearest; no
fast-math flag is ever set, so that results are the same bits everywhere, and NaN stays NaN.

Memory is addressed by integers: an address (``int64``, bytes) and an index (in elements of the loaded type). Nothing is
checked; that is the caller's part.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lanes import LANES

Vector = NDArray[np.float32]

LEAST_ANGLE_EXPONENT = 126
"""The exponent field of the numbers from 1/2 on."""
_TWO_OVER_PI = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041  # 192 bits behind the point
TURNS = tuple((_TWO_OVER_PI >> 130 + 24 - i) % (1 << 64) for i in range(255 - LEAST_ANGLE_EXPONENT))
"""``2 / pi * 2**(i - 24)`` modulo 4, in units of 2**-62: quarter turns of the last bit of a number, by its exponent."""


def memory(address: int, dtype: Any, count: int) -> NDArray[Any]:
    """The numbers at an address: a view of them."""
    n_bytes = np.dtype(dtype).itemsize * count
    return np.frombuffer((ctypes.c_char * n_bytes).from_address(address), dtype)


def load_f32(address: int, index: int) -> np.float32:
    """``float32 at address[index]``."""
    return np.float32(memory(address + F32_BYTES * index, np.float32, 1)[0])


def load_i32(address: int, index: int) -> int:
    """``int32 at address[index]``."""
    return int(memory(address + 4 * index, np.int32, 1)[0])


def load_i64(address: int, index: int) -> int:
    """``int64 at address[index]``."""
    return int(memory(address + I64_BYTES * index, np.int64, 1)[0])


def load_f64(address: int, index: int) -> np.float64:
    """``float64 at address[index]``."""
    return np.float64(memory(address + I64_BYTES * index, np.float64, 1)[0])


def store_f64(address: int, index: int, value: np.float64) -> None:
    """``address[index] = value``."""
    memory(address + I64_BYTES * index, np.float64, 1)[0] = value


def store_f32(address: int, index: int, value: np.float32) -> None:
    """``address[index] = value``."""
    memory(address + F32_BYTES * index, np.float32, 1)[0] = value


def read_f32(address: int) -> np.float32:
    """The float32 at an address of any alignment."""
    return np.float32(memory(address, np.float32, 1)[0])


def read_f64(address: int) -> np.float64:
    """The float64 at an address of any alignment."""
    return np.float64(memory(address, np.float64, 1)[0])


def store_i64(address: int, index: int, value: int) -> None:
    """``address[index] = value``."""
    memory(address + I64_BYTES * index, np.int64, 1)[0] = value


def load(address: int, index: int) -> Vector:
    """Sixteen floats at ``address[index:index + 16]``, of any alignment."""
    return memory(address + F32_BYTES * index, np.float32, LANES).copy()


def store(address: int, index: int, value: Vector) -> None:
    """``address[index:index + 16] = value``, of any alignment."""
    memory(address + F32_BYTES * index, np.float32, LANES)[:] = value


def masks_memory() -> bool:
    """Whether `load_first` and `store_first` are one instruction. Where not, numbers one by one are quicker."""
    return True


def load_first(address: int, count: int) -> Vector:
    """The first ``count`` of sixteen floats at an address, of any alignment, and zeros: no others are read."""
    vector = np.zeros(LANES, np.float32)
    vector[:count] = memory(address, np.float32, count)
    return vector


def store_first(address: int, count: int, value: Vector) -> None:
    """``address[:count] = value[:count]``, of any alignment."""
    memory(address, np.float32, count)[:] = value[:count]


def splat(value: float | np.float32) -> Vector:
    """The same number, rounded to float32, in every lane."""
    return np.full(LANES, value, np.float32)


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """``a * b + c`` with one rounding.

    In float64 the product is exact, and the error of the sum is known. A sum that is not exact is rounded to odd: then
    rounding it once more, to float32, gives what one rounding of the exact value gives (Boldo and Melquiond, "Emulation
    of a FMA and correctly rounded sums", 2008).
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    c_part = total - product
    error = (product - (total - c_part)) + (c - c_part)
    is_even = total.view(np.int64) & 1 == 0
    towards_zero = (error < 0) != (total < 0)
    odd = np.where(towards_zero, total.view(np.int64) - 1, total.view(np.int64) + 1).view(np.float64)
    return np.where((error != 0) & is_even & np.isfinite(error), odd, total).astype(np.float32)


def magnitude(a: Vector) -> Vector:
    """``|a|``."""
    return np.abs(a)


def larger_magnitude(a: Vector, b: Vector) -> Vector:
    """``max(|a|, |b|)``; a NaN in a or b is larger than everything."""
    return np.maximum(np.abs(a), np.abs(b))


def select_less(a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector:
    """``then if a < b else otherwise``, lane by lane; a NaN in a or b takes ``otherwise``."""
    return np.where(a < b, then, otherwise)


def select_equal(a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector:
    """``then if a == b else otherwise``, lane by lane; a NaN in a or b takes ``otherwise``."""
    return np.where(a == b, then, otherwise)


def copy_sign(a: Vector, b: Vector) -> Vector:
    """``|a|`` with the sign of b."""
    return np.copysign(a, b)


def square_root(a: Vector) -> Vector:
    """The square root, correctly rounded; NaN below 0, and -0 of -0."""
    return np.sqrt(a)


def select_first(count: int, then: Vector, otherwise: Vector) -> Vector:
    """``then`` in the lanes below ``count``, ``otherwise`` in the rest."""
    return np.where(np.arange(LANES) < count, then, otherwise)


def power_of_two(exponent: Vector) -> Vector:
    """``2 ** exponent`` for whole exponents in [-126, 127]; unspecified outside."""
    return np.ldexp(np.float32(1), exponent.astype(np.int32))


def split_exponent(value: Vector) -> tuple[Vector, Vector]:
    """``(exponent, mantissa)`` of normal positive numbers: value = mantissa * 2**exponent, mantissa in [2/3, 4/3)."""
    mantissa, exponent = np.frexp(value)  # in [1/2, 1)
    is_small = mantissa < np.float32(2 / 3)
    return (exponent - is_small).astype(np.float32), np.where(is_small, 2 * mantissa, mantissa)


def split_angle(angle: Vector) -> tuple[Vector, Vector, Vector]:
    """``(n, high, low)`` with ``|angle| = (n + high / 2**22 + low / 2**46) * pi / 2 + 2 pi k``, below 1e-11.

    n is one of 0, 1, 2, 3, and the fraction between -1/2 and 1/2; for ``pi / 4 <= |angle| < infinity``, unspecified
    outside. The product of the 24 bits of the angle with those of 2/pi that its exponent leaves below a whole turn is
    exact but for the last bits (Payne and Hanek, "Radian reduction for trigonometric functions", 1983).
    """
    bits = angle.view(np.uint32)
    exponent = np.clip(bits >> 23 & 0xFF, LEAST_ANGLE_EXPONENT, 254) - LEAST_ANGLE_EXPONENT
    mantissa = (bits & 0x7FFFFF | 0x800000).astype(np.uint64)
    turns = mantissa * np.array(TURNS, np.uint64)[exponent]
    n = turns + np.uint64(1 << 61) >> np.uint64(62)
    fraction = (turns - (n << np.uint64(62))).view(np.int64)
    return n.astype(np.float32), (fraction >> 40).astype(np.float32), (fraction >> 16 & 0xFFFFFF).astype(np.float32)


def sum_lanes(value: Vector) -> np.float32:
    """Sum of the lanes, halves added to halves: an order that does not depend on the target."""
    while len(value) > 1:
        half = len(value) // 2
        value = value[:half] + value[half:]
    return np.float32(value[0])


def max_lanes(value: Vector) -> np.float32:
    """Largest lane; unspecified if one is NaN."""
    return np.float32(value.max())


def largest_magnitude(value: Vector) -> np.float32:
    """Largest lane of what `larger_magnitude` has given; NaN if there is one."""
    return np.float32(value.max())
