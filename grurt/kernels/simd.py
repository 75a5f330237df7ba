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


def store_f32(address: int, index: int, value: np.float32) -> None:
    """``address[index] = value``."""
    memory(address + F32_BYTES * index, np.float32, 1)[0] = value


def store_i64(address: int, index: int, value: int) -> None:
    """``address[index] = value``."""
    memory(address + I64_BYTES * index, np.int64, 1)[0] = value


def load(address: int, index: int) -> Vector:
    """Sixteen floats at ``address[index:index + 16]``, of any alignment."""
    return memory(address + F32_BYTES * index, np.float32, LANES).copy()


def store(address: int, index: int, value: Vector) -> None:
    """``address[index:index + 16] = value``, of any alignment."""
    memory(address + F32_BYTES * index, np.float32, LANES)[:] = value


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
