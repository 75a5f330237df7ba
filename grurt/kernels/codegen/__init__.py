"""How the instructions that the kernels are written in become machine code: with Numba and LLVM.

An instruction is a function in Python, which defines it; importing this package teaches Numba to compile calls of it.
Nothing else of the kernels imports Numba.
"""

from grurt.kernels.codegen import atomics, narrow, objects, products, simd

__all__ = ["atomics", "narrow", "objects", "products", "simd"]
