"""The instructions that the kernels are written in: compiled, each does what its definition in Python does.

A kernel that consists of one instruction runs twice, compiled and as it stands, on the same memory.
"""

from __future__ import annotations

import functools
import inspect
import operator
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from grurt.kernels import atomics, codes, narrow, panels, products, simd, targets
from grurt.kernels.options import OPTIONS
from grurt.kernels.panels import Panels
from grurt.kernels.rows import Rows
from grurt.kernels.simd import (
    load,
    load_f32,
    load_f64,
    load_i32,
    load_i64,
    read_f32,
    read_f64,
    splat,
    store,
    store_f32,
    store_f64,
    store_i64,
)
from grurt.lanes import LANES

Array = np.ndarray[Any, Any]
COUNT = 4_096

SPECIAL = np.float32(
    [0, -0.0, 1, -1, 2 / 3, 0.5, 1e-45, -1e-45, 1.17549435e-38, 1e-30, 3.4028235e38, -3.4028235e38, np.inf, -np.inf]
)


def any_floats(rng: np.random.Generator) -> Array:
    """Return float32 of all bits that there are: denormal numbers, infinities, NaN."""
    numbers = rng.integers(0, 1 << 32, COUNT, np.uint32).view(np.float32)
    numbers[:: COUNT // 64] = rng.choice(np.append(SPECIAL, np.float32(np.nan)), 64)
    return numbers


def close_floats(rng: np.random.Generator) -> Array:
    """Return float32 whose products and sums cancel, and are rounded in the last place."""
    return (1 + rng.integers(-(1 << 12), 1 << 12, COUNT) / (1 << 23)).astype(np.float32) * rng.choice(
        np.float32([-1, 1]), COUNT
    )


def positive_floats(rng: np.random.Generator) -> Array:
    return rng.integers(0x00800000, 0x7F800000, COUNT, np.uint32).view(np.float32)


def angles(rng: np.random.Generator) -> Array:
    """Return float32 of both signs from 1/2 up, the largest among them, which are split in quarter turns."""
    sizes = rng.integers(0x3F000000, 0x7F800000, COUNT, np.uint32)
    sizes[:2] = 0x3F000000, 0x7F7FFFFF
    return (sizes | rng.integers(0, 2, COUNT, np.uint32) << np.uint32(31)).view(np.float32)


def whole_floats(rng: np.random.Generator) -> Array:
    return rng.integers(-126, 128, COUNT).astype(np.float32)


def magnitudes(rng: np.random.Generator) -> Array:
    return np.abs(any_floats(rng))


def finite_floats(rng: np.random.Generator) -> Array:
    return rng.normal(size=COUNT).astype(np.float32)


def on_vectors(instruction: Callable[..., Any], arity: int) -> Callable[..., None]:
    """Return the kernel that applies an instruction to vectors of so many arrays."""
    if arity == 1:

        def kernel(a, out, count):  # type: ignore[no-untyped-def]
            for i in range(0, count, LANES):
                store(out, i, instruction(load(a, i)))
    elif arity == 2:

        def kernel(a, b, out, count):  # type: ignore[no-untyped-def]
            for i in range(0, count, LANES):
                store(out, i, instruction(load(a, i), load(b, i)))
    elif arity == 3:

        def kernel(a, b, c, out, count):  # type: ignore[no-untyped-def]
            for i in range(0, count, LANES):
                store(out, i, instruction(load(a, i), load(b, i), load(c, i)))
    else:

        def kernel(a, b, c, d, out, count):  # type: ignore[no-untyped-def]
            for i in range(0, count, LANES):
                store(out, i, instruction(load(a, i), load(b, i), load(c, i), load(d, i)))

    return kernel


def reducing(instruction: Callable[..., Any]) -> Callable[..., None]:
    def kernel(a, out, count):  # type: ignore[no-untyped-def]
        for i in range(0, count, LANES):
            store_f32(out, i, instruction(load(a, i)))

    return kernel


def splitting(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count // 2, LANES):
        exponent, mantissa = simd.split_exponent(load(a, i))
        store(out, 2 * i, exponent)
        store(out, 2 * i + LANES, mantissa)


def splitting_angles(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count // 4, LANES):
        n, high, low = simd.split_angle(load(a, i))
        store(out, 4 * i, n)
        store(out, 4 * i + LANES, high)
        store(out, 4 * i + 2 * LANES, low)


def selecting_first(a, b, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, LANES):
        store(out, i, simd.select_first(i // LANES % 20 - 2, load(a, i), load(b, i)))


def splatting(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, LANES):
        store(out, i, splat(load_f32(a, i)) * splat(0.1))


def moving_numbers(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, 4):
        store_f32(out, i, load_f32(a, i + 1))
        store_i64(out + 4, i // 2, load_i64(a + 4, i // 2) + load_i32(a, i))  # on no multiple of eight


def moving_doubles(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, 4):
        store_f64(out + 4, i // 2, load_f64(a + 4, i // 2))


def moving_unaligned(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count - 4, 4):
        store_f32(out, i, read_f32(a + 4 * i + 3))
        store_f32(out, i + 1, np.float32(read_f64(a + 4 * i + 5)))


def moving_vectors(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count - LANES, LANES + 1):
        store(out + 2, i, load(a + 2, i))


def moving_first(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, LANES):
        some = i // LANES % (LANES + 1)
        store(out, i, simd.load_first(a + 4 * i + 4, some) + splat(1.0))
        simd.store_first(out + 4 * i + 4, (some + 5) % LANES, load(a, i))


def asking_for_masks(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(count):
        store_f32(out, i, 1.0 if simd.masks_memory() or i >= 0 else 0.0)


def reading_halves(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, LANES):
        store(out, i, narrow.load_float16(a + 2 * i))


def reading_bytes(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, LANES):
        store(out, i, narrow.load_int8(a + i + 1))


def writing_bytes(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, count, LANES):
        narrow.store_bytes(out + i, load(a, i))


def swapping(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(0, 8 * (count // 8), 8):
        atomics.atomic_store(out + i, atomics.atomic_load(a + i))
        found = atomics.compare_and_swap(a + i, 3 * (i % 16), i)
        atomics.pause()
        atomics.compare_and_swap(out + i, found, found + i)


def ticking(a, out, count):  # type: ignore[no-untyped-def]
    for i in range(count):
        before = atomics.ticks()
        store_f32(out, i, 1.0 if atomics.ticks() >= before else 0.0)


def halves(rng: np.random.Generator) -> Array:
    return np.arange(1 << 16, dtype=np.uint16)[rng.permutation(1 << 16)[: 2 * COUNT]].view(np.float32)


def byte_values(rng: np.random.Generator) -> Array:
    return np.float32(rng.integers(-256, 255, COUNT) / 2)


def flags(rng: np.random.Generator) -> Array:
    return rng.choice(np.int64([0, 24, 7]), COUNT // 2).view(np.float32)


Case = tuple[Callable[..., None], tuple[Callable[[np.random.Generator], Array], ...]]

CASES: dict[str, Case] = {
    **{
        f"{name} of {numbers.__name__}": (on_vectors(instruction, arity), (numbers,) * arity)
        for name, instruction, arity in (
            ("+", operator.add, 2),
            ("-", operator.sub, 2),
            ("*", operator.mul, 2),
            ("/", operator.truediv, 2),
            ("fma", simd.fma, 3),
            ("magnitude", simd.magnitude, 1),
            ("larger_magnitude", simd.larger_magnitude, 2),
            ("select_less", simd.select_less, 4),
            ("select_equal", simd.select_equal, 4),
            ("copy_sign", simd.copy_sign, 2),
            ("square_root", simd.square_root, 1),
        )
        for numbers in (any_floats, close_floats)
    },
    "power_of_two": (on_vectors(simd.power_of_two, 1), (whole_floats,)),
    "split_exponent": (splitting, (positive_floats,)),
    "split_angle": (splitting_angles, (angles,)),
    "select_first": (selecting_first, (any_floats, any_floats)),
    "splat": (splatting, (any_floats,)),
    "sum_lanes": (reducing(simd.sum_lanes), (finite_floats,)),
    "sum_lanes of any": (reducing(simd.sum_lanes), (any_floats,)),
    "max_lanes": (reducing(simd.max_lanes), (finite_floats,)),
    "largest_magnitude": (reducing(simd.largest_magnitude), (magnitudes,)),
    "load_f32, load_i32, load_i64, store_f32, store_i64": (moving_numbers, (finite_floats,)),
    "load_f64, store_f64": (moving_doubles, (any_floats,)),
    "read_f32, read_f64": (moving_unaligned, (any_floats,)),
    "load, store": (moving_vectors, (any_floats,)),
    "load_first, store_first": (moving_first, (any_floats,)),
    "masks_memory": (asking_for_masks, (any_floats,)),
    "load_float16": (reading_halves, (halves,)),
    "load_int8": (reading_bytes, (any_floats,)),
    "store_bytes": (writing_bytes, (byte_values,)),
    "atomic_load, atomic_store, compare_and_swap, pause": (swapping, (flags,)),
    "ticks": (ticking, (any_floats,)),
}


def assert_same(found: Array, expected: Array) -> None:
    """Compare bits; a NaN may be any NaN."""
    both_nan = np.isnan(found) & np.isnan(expected)
    np.testing.assert_array_equal(
        np.where(both_nan, 0, found.view(np.int32)), np.where(both_nan, 0, expected.view(np.int32))
    )


def run(kernel: Callable[..., None], inputs: list[Array]) -> tuple[Array, list[Array]]:
    """Return what a kernel writes to ``COUNT`` floats, and its inputs after that."""
    copies = [np.append(array, array[:LANES]) for array in inputs]
    out = np.zeros(COUNT + LANES, np.float32)
    with np.errstate(all="ignore"):
        kernel(*(array.ctypes.data for array in copies), out.ctypes.data, COUNT)
    return out, copies


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_instruction_is_compiled_as_it_is_defined(name: str) -> None:
    kernel, generators = CASES[name]
    rng = np.random.default_rng(61)
    inputs = [generate(rng) for generate in generators]
    found, found_inputs = run(njit(**OPTIONS)(kernel), inputs)
    expected, expected_inputs = run(kernel, inputs)
    assert expected.view(np.int32).any()
    assert_same(found, expected)
    for array, truth in zip(found_inputs, expected_inputs, strict=True):
        assert array.tobytes() == truth.tobytes()


def test_every_instruction_is_tested() -> None:
    defined = {
        name
        for module in (simd, narrow, atomics)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and name != "memory"
    }
    tested = {part for name in CASES for part in name.split(" of ")[0].split(", ")}
    assert tested == defined | {"+", "-", "*", "/"}


@pytest.mark.slow
@pytest.mark.parametrize("n_inputs", [1, 3, 4, 8, 37])
@pytest.mark.parametrize("weights_format", [codes.FLOAT32, codes.FLOAT16, codes.INT8, codes.INT4])
@pytest.mark.parametrize("block", products.BLOCKS, ids=[str(tuple(shape)) for shape in products.BLOCKS.values()])
def test_a_product_is_compiled_as_it_is_defined(block: Any, weights_format: int, n_inputs: int) -> None:
    shape = products.BLOCKS[block]
    rng = np.random.default_rng(62)
    panel_bytes = panels.weights_bytes.py_func(weights_format, n_inputs, shape.vectors)
    weights = packed_weights(weights_format, shape, panel_bytes, rng)
    x = rng.normal(size=(shape.rows, 32 + n_inputs)).astype(np.float32)
    if panels.reads_records.py_func(weights_format):
        x.view(np.uint8)[:, products.RECORD_HEADER :] = rng.integers(1, 256, (shape.rows, x[0].nbytes - 64))
    start = rng.normal(size=(shape.rows * shape.outputs, LANES)).astype(np.float32)
    arguments = weights_format, weights.ctypes.data, panel_bytes, n_inputs, x.ctypes.data, x.strides[0]
    found, expected = start.copy(), start.copy()
    compiled(block)(*arguments, found.ctypes.data)
    multiplying(block, len(start), lambda kernel: kernel)(*arguments, expected.ctypes.data)
    assert (expected != start).any(axis=1).all()
    assert_same(found, expected)


def packed_weights(weights_format: int, shape: products.Shape, panel_bytes: int, rng: np.random.Generator) -> Array:
    """Return panels of random weights."""
    n_bytes = shape.panels * panel_bytes
    if weights_format in (codes.FLOAT32, codes.FLOAT16):
        dtype = np.float32 if weights_format == codes.FLOAT32 else np.float16
        return rng.normal(size=n_bytes // np.dtype(dtype).itemsize).astype(dtype)
    weights = rng.integers(0, 256, (shape.panels, panel_bytes), np.uint8)
    head = simd.LANES * shape.vectors
    weights[:, : 4 * head] = rng.normal(size=(shape.panels, head)).astype(np.float32).view(np.uint8)
    weights[:, 4 * head : 8 * head] = rng.integers(-9999, 9999, (shape.panels, head)).astype(np.int32).view(np.uint8)
    return weights


@functools.cache
def compiled(block: Any) -> Callable[..., None]:
    shape = products.BLOCKS[block]
    return multiplying(block, shape.rows * shape.outputs, njit(**OPTIONS))


def loading(count: int, mark: Callable[..., Any]) -> Callable[..., Any]:
    """Return what loads vectors as a tuple."""
    if count == 1:
        return mark(lambda address: (load(address, 0),))  # type: ignore[no-any-return]
    offset, others = LANES * (count - 1), loading(count - 1, mark)
    return mark(lambda address: others(address) + (load(address, offset),))  # type: ignore[no-any-return]  # noqa: RUF005


def multiplying(block: Any, n_sums: int, mark: Callable[..., Any]) -> Callable[..., None]:
    """Return the kernel that adds a product to vectors in memory."""
    load_sums = loading(n_sums, mark)

    def kernel(weights_format, weights, panel_stride, n_inputs, x, x_stride, sums):  # type: ignore[no-untyped-def]
        w = Panels(weights_format, weights, panel_stride, n_inputs)
        results = block(w, Rows(x, x_stride), load_sums(sums))
        for i in range(n_sums):
            store(sums, LANES * i, results[i])

    return mark(kernel)  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.skipif(not {targets.SSE2, targets.NEON} & targets.capabilities(), reason="this CPU has no clock to read")
def test_three_ticks_are_about_a_nanosecond() -> None:
    ticks = njit(**OPTIONS)(lambda: atomics.ticks())
    ticks()
    start, first = time.perf_counter_ns(), ticks()
    time.sleep(0.02)
    assert 0.5 < (ticks() - first) / (time.perf_counter_ns() - start) < 10
