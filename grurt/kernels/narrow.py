"""Numbers of 16 and of 8 bits in memory, which are float32 in registers: the instructions that read and write them.

As in `grurt.kernels.simd`, these are the definitions.
"""

import numpy as np

from grurt.kernels.simd import Vector, memory
from grurt.lanes import LANES


def load_float16(address: int) -> Vector:
    """Sixteen float16 at an address, as float32, which is exact."""
    return memory(address, np.float16, LANES).astype(np.float32)


def load_int8(address: int) -> Vector:
    """Sixteen signed bytes at an address, as float32."""
    return memory(address, np.int8, LANES).astype(np.float32)


def store_bytes(address: int, value: Vector) -> None:
    """Write ``128 + value`` as sixteen bytes, rounded to even, for values in [-128, 127]; anything for NaN."""
    memory(address, np.uint8, LANES)[:] = (128 + np.rint(value)).astype(np.int32)
