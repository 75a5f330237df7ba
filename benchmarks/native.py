"""Loops in machine code: grurt's kernel without Python, and what the core could do at best.

They are compiled once on a machine and kept in grurt's kernel cache.
"""

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numba import float32, int64
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from benchmarks.timing import Loop
from grurt.kernels import cache, machine_code
from grurt.kernels.advance import run
from grurt.kernels.options import kernel
from grurt.kernels.simd import fma, load, splat, sum_lanes
from grurt.kernels.sizes import F32_BYTES
from grurt.lanes import LANES
from grurt.runtime.stream import Stream

PEAK_CHAINS = 12
"""Independent multiply-add chains: more than latency times ports of any CPU, and less than the registers of one."""

READ_VECTORS = 8
"""Independent sums, and the vectors that one turn of the reading loop takes."""

_C_TYPES = {int64: ctypes.c_int64, float32: ctypes.c_float}


def _advance_loop(context, count):  # type: ignore[no-untyped-def]
    """Run the plan of a context ``count`` times, with the inputs, outputs and timesteps that it holds."""
    for _ in range(count):
        run(context, False)  # type: ignore[no-untyped-call]


def _multiply_add_loop(seed, count):  # type: ignore[no-untyped-def]
    """Advance `PEAK_CHAINS` chains of fused multiply-adds by ``count``; return what depends on all of them."""
    factor = splat(seed)
    a = b = c = d = e = f = g = h = i = j = k = m = splat(seed)
    for _ in range(count):
        a, b, c = fma(a, factor, factor), fma(b, factor, factor), fma(c, factor, factor)
        d, e, f = fma(d, factor, factor), fma(e, factor, factor), fma(f, factor, factor)
        g, h, i = fma(g, factor, factor), fma(h, factor, factor), fma(i, factor, factor)
        j, k, m = fma(j, factor, factor), fma(k, factor, factor), fma(m, factor, factor)
    return sum_lanes(a + b + c + d + e + f + g + h + i + j + k + m)


def _read_loop(address, turns, count):  # type: ignore[no-untyped-def]
    """Add up ``turns * READ_VECTORS`` vectors at an address, ``count`` times over; return the sum."""
    a = b = c = d = e = f = g = h = splat(0.0)
    step = F32_BYTES * LANES * READ_VECTORS
    for _ in range(count):
        for p in range(address, address + turns * step, step):
            a, b = a + load(p, 0), b + load(p, LANES)
            c, d = c + load(p, 2 * LANES), d + load(p, 3 * LANES)
            e, f = e + load(p, 4 * LANES), f + load(p, 5 * LANES)
            g, h = g + load(p, 6 * LANES), h + load(p, 7 * LANES)
    return sum_lanes(a + b + c + d + e + f + g + h)


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Compile a function for these argument types; the cache's key also holds the sources that are not grurt's."""
    source = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()
    name = cache.entry_name(f"benchmark{function.__name__}-{source}", arguments, cpu_target.target_context.codegen())
    if (found := cache.load(name)) is not None:
        address, _ = found
    else:
        code = machine_code.compiled(kernel(function), arguments)
        cache.keep(name, code)
        address = machine_code.loaded(code)
    types = [_C_TYPES[argument] for argument in arguments]
    native = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)(address)
    places = [ctypes.byref(kept) for kept in (ctypes.c_int64(), ctypes.c_void_p())]  # of the result and of an exception
    return lambda *values: native(*places, *values)


def timed(function: Callable[[int], object]) -> Loop:
    """Return a loop out of a function that takes a count."""

    def loop(count: int) -> float:
        begin = perf_counter()
        function(count)
        return perf_counter() - begin

    return loop


def kernel_loop(stream: Stream, x: NDArray[np.float32], y: NDArray[np.float32]) -> Loop:
    """Return a loop of the kernel alone: what `Stream.step` runs, without Python, from x into y."""
    stream.step(x, y)
    # The context holds the addresses and the timesteps of the last call; the closure keeps alive what they point to.
    context = stream._context.array
    advance = _compiled(_advance_loop, int64, int64)

    def function(count: int, kept: object = (stream, x, y)) -> None:
        advance(context.ctypes.data, count)

    return timed(function)


def multiply_add_loop() -> tuple[Loop, int]:
    """Return a loop at the core's arithmetic peak, and the floating-point operations of one execution."""
    loop = _compiled(_multiply_add_loop, float32, int64)
    return timed(lambda count: loop(np.float32(0.5), count)), 2 * LANES * PEAK_CHAINS


def read_loop(size: int) -> tuple[Loop, int]:
    """Return a loop that reads about ``size`` bytes of memory again and again, and the exact number of bytes."""
    turns = max(1, size // (F32_BYTES * LANES * READ_VECTORS))
    # Written memory: pages that are only zeroed are all one and the same page.
    memory = np.ones(turns * LANES * READ_VECTORS + LANES, np.float32)
    address = memory.ctypes.data + -memory.ctypes.data % (F32_BYTES * LANES)
    loop = _compiled(_read_loop, int64, int64, int64)

    def function(count: int, kept: object = memory) -> None:
        loop(address, turns, count)

    return timed(function), turns * F32_BYTES * LANES * READ_VECTORS
