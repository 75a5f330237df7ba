"""The elementary functions of the kernels, over the whole range of float32, against PyTorch in float64.

The short form tries all exponents of both signs, in runs of consecutive numbers; the long form tries every float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from grurt.kernels import codes, elementwise, functions, mathematics, normalize
from grurt.kernels.options import OPTIONS
from grurt.kernels.rows import Rows
from grurt.kernels.simd import load, store
from grurt.lanes import LANES

Array = np.ndarray[Any, np.dtype[np.float32]]
Truth = Callable[[torch.Tensor], torch.Tensor]

_kernel = njit(**OPTIONS)(elementwise.function.py_func)

F = torch.nn.functional
INF = math.inf
NOT_A_NUMBER = math.nan


@dataclass(frozen=True)
class Case:
    """A function, and what is promised of it for every float32."""

    code: int
    truth: Truth
    absolute: float
    relative: float
    """The error is within one of the two bounds; what is too large for float32 is infinite, and NaN where that is."""
    low: float = -INF
    high: float = INF
    """No result is outside."""
    at_minus_infinity: float = -INF
    at_infinity: float = INF
    backward_steps: int | None = 0
    """How many float32 a result may lie below that of the next smaller number; None where the function itself falls."""
    backward: float = 0
    """Or else how far."""
    parameters: tuple[float, float] = (0, 0)


def power_case(exponent: float, at_minus_infinity: float, at_infinity: float) -> Case:
    """Return the case of ``x ** exponent``."""
    rounded = float(np.float32(exponent))
    return Case(
        codes.POW,
        lambda x: torch.pow(x, rounded),
        1.3e-38,
        1.2e-7,
        at_minus_infinity=at_minus_infinity,
        at_infinity=at_infinity,
        backward_steps=None,
        parameters=(exponent, 0),
    )


CASES: dict[str, Case] = {
    "gate_sigmoid": Case(codes.GATE_SIGMOID, torch.sigmoid, 1.8e-7, 0, 0, 1, 0, 1, backward=2.4e-7),
    "tanh": Case(codes.TANH, torch.tanh, 3.3e-7, 3.3e-7, -1, 1, -1, 1, 8),
    "sigmoid": Case(codes.SIGMOID, torch.sigmoid, 1e-38, 4e-7, 0, 1, 0, 1, 1),
    "relu": Case(codes.RELU, torch.relu, 0, 0, low=0, at_minus_infinity=0),
    "leaky_relu": Case(
        codes.LEAKY_RELU, lambda x: F.leaky_relu(x, float(np.float32(0.01))), 1e-45, 6e-8, parameters=(0.01, 0)
    ),
    "thresholded_relu": Case(
        codes.THRESHOLDED_RELU,
        lambda x: torch.where(x > 0.5, x, 0 * x),
        0,
        0,
        low=0,
        at_minus_infinity=0,
        parameters=(0.5, 0),
    ),
    "elu": Case(
        codes.ELU,
        lambda x: F.elu(x, 1.5),
        1e-44,
        4e-7,
        -1.5,
        at_minus_infinity=-1.5,
        backward_steps=2,
        parameters=(1.5, 0),
    ),
    "gelu": Case(codes.GELU, F.gelu, 1.5e-7, 1.5e-7, -0.17, at_minus_infinity=0, backward_steps=None),
    "gelu_tanh": Case(
        codes.GELU_TANH,
        lambda x: F.gelu(x, approximate="tanh"),
        2e-7,
        2e-7,
        -0.1701,
        at_minus_infinity=0,
        backward_steps=None,
    ),
    "hard_sigmoid": Case(
        codes.HARD_SIGMOID, lambda x: torch.clamp(0.25 * x + 0.5, 0, 1), 6e-8, 0, 0, 1, 0, 1, parameters=(0.25, 0.5)
    ),
    "scaled_tanh": Case(
        codes.SCALED_TANH,
        lambda x: 1.5 * torch.tanh(0.75 * x),
        5.2e-7,
        5.2e-7,
        -1.5,
        1.5,
        -1.5,
        1.5,
        8,
        parameters=(1.5, 0.75),
    ),
    "softsign": Case(codes.SOFTSIGN, F.softsign, 1e-45, 2e-7, -1, 1, NOT_A_NUMBER, NOT_A_NUMBER, 2),
    "softplus": Case(codes.SOFTPLUS, F.softplus, 1.3e-38, 5e-7, low=0, at_minus_infinity=0, backward_steps=2),
    "affine": Case(codes.AFFINE, lambda x: 0.5 * x + 0.25, 0, 6e-8, parameters=(0.5, 0.25)),
    "exp": Case(codes.EXP, torch.exp, 1.3e-38, 1e-7, low=0, at_minus_infinity=0, backward_steps=2),
    "log": Case(codes.LOG, torch.log, 1e-7, 1.2e-7, at_minus_infinity=NOT_A_NUMBER, backward_steps=2),
    "sqrt": Case(codes.SQRT, torch.sqrt, 0, 6e-8, low=0, at_minus_infinity=NOT_A_NUMBER),
    "reciprocal": Case(
        codes.RECIPROCAL, torch.reciprocal, 1e-45, 6e-8, at_minus_infinity=0, at_infinity=0, backward_steps=None
    ),
    "pow 1.7": power_case(1.7, NOT_A_NUMBER, INF),
    "pow 3": power_case(3.0, -INF, INF),
    "pow -2": power_case(-2.0, 0, 0),
    "pow 0.33": power_case(0.33, NOT_A_NUMBER, INF),
    "pow 1e-5": power_case(1e-5, NOT_A_NUMBER, INF),
    "pow 1e8": power_case(1e8, INF, INF),
    "abs": Case(codes.ABS, torch.abs, 0, 0, low=0, at_minus_infinity=INF, backward_steps=None),
    "sign": Case(codes.SIGN, torch.sign, 0, 0, -1, 1, -1, 1),
    "round": Case(codes.ROUND, torch.round, 0, 0),
    "floor": Case(codes.FLOOR, torch.floor, 0, 0),
    "ceil": Case(codes.CEIL, torch.ceil, 0, 0),
    "sin": Case(codes.SIN, torch.sin, 1.2e-7, 0, -1, 1, NOT_A_NUMBER, NOT_A_NUMBER, None),
    "cos": Case(codes.COS, torch.cos, 1.2e-7, 0, -1, 1, NOT_A_NUMBER, NOT_A_NUMBER, None),
    "erf": Case(codes.ERF, torch.erf, 1e-45, 2e-7, -1, 1, -1, 1, 4),
    "clip": Case(codes.CLIP, lambda x: torch.clamp(x, -0.5, 2.0), 0, 0, -0.5, 2, -0.5, 2, parameters=(-0.5, 2.0)),
}


def apply(name: str, x: Array) -> Array:
    """Apply the kernel of a case to numbers ``(n,)``."""
    case = CASES[name]
    padded = np.zeros(-(-x.size // LANES) * LANES, np.float32)
    padded[: x.size] = x
    out = np.empty_like(padded)
    floats = np.array(case.parameters, np.float32)
    _kernel(case.code, floats.ctypes.data, padded.ctypes.data, out.ctypes.data, padded.size)
    return out[: x.size]


def from_bits(first: int, count: int) -> Array:
    """Return ``count`` float32 of consecutive bits, in ascending order: of one sign, finite or infinite."""
    numbers = np.arange(first, first + count, dtype=np.uint32).view(np.float32)
    return numbers[::-1] if first >> 31 else numbers


def runs_of_all_exponents(per_exponent: int, length: int) -> Iterator[Array]:
    """Yield runs of consecutive float32, ascending: of every exponent and both signs, 0 and the largest included."""
    rng = np.random.default_rng(71)
    for sign in (0, 1):
        for exponent in range(255):
            first = sign << 31 | exponent << 23
            yield from_bits(first, length)
            yield from_bits(first + (1 << 23) - length, length)
            for _ in range(per_exponent - 2):
                yield from_bits(first + int(rng.integers((1 << 23) - length)), length)


def every_float32(length: int) -> Iterator[Array]:
    """Yield all float32 but NaN in runs of consecutive ones, ascending; neighbours overlap in one number."""
    for sign in (0, 1 << 31):
        for first in range(0, 0x7F800001, length):
            yield from_bits(sign + first, min(length + 1, 0x7F800001 - first))


def check(name: str, runs: Iterator[Array]) -> int:
    """Check everything that is promised of a function on runs of ascending numbers; return how many there were."""
    case = CASES[name]
    count = 0
    for run in runs:
        x = run[np.isfinite(run)] if np.isinf(run[[0, -1]]).any() else run
        if x.size == 0:
            continue
        y = apply(name, x)
        check_error(case, x, y)
        assert not (y < case.low).any()
        assert not (y > case.high).any()
        if case.backward_steps is not None:
            check_order(case, case.backward_steps, x, y)
        count += x.size
    return count


def check_error(case: Case, x: Array, y: Array) -> None:
    expected = case.truth(torch.from_numpy(x.astype(np.float64))).numpy()
    with np.errstate(over="ignore"):
        is_same = (y == expected.astype(np.float32)) | (np.isnan(y) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        error = np.abs(y - expected)
    wrong = np.flatnonzero(~(is_same | (error <= np.maximum(case.absolute, case.relative * np.abs(expected)))))
    assert wrong.size == 0, (x[wrong[0]], y[wrong[0]], error[wrong].max())


def check_order(case: Case, backward_steps: int, x: Array, y: Array) -> None:
    falls = np.flatnonzero(y[:-1] > y[1:])
    above, below = y[falls], y[falls + 1]
    bits = np.stack([above, below]).view(np.int32).astype(np.int64)
    order = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # consecutive float32 are consecutive integers
    wrong = falls[(order[0] - order[1] > backward_steps) & (above - below > case.backward)]
    assert wrong.size == 0, (x[wrong[0]], y[wrong[0]], y[wrong[0] + 1])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_error_range_and_order_at_every_exponent(name: str) -> None:
    assert check(name, runs_of_all_exponents(4, 512)) > 1_000_000
    near_one = np.linspace(-20, 20, 200_001).astype(np.float32)
    check(name, iter([near_one]))


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_error_range_and_order_of_every_float32(name: str) -> None:
    assert check(name, every_float32(1 << 14)) >= 2 * 0x7F800000


@pytest.mark.parametrize("name", CASES)
def test_nan_stays_nan(name: str) -> None:
    payloads = np.arange(0x7F800001, 0x80000000, 4093, dtype=np.uint32)
    for bits in (payloads, payloads | np.uint32(1 << 31)):
        assert np.isnan(apply(name, bits.view(np.float32))).all()


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_every_nan_stays_nan(name: str) -> None:
    for sign in (0, 1 << 31):
        for first in range(0x7F800001, 0x80000000, 1 << 22):
            numbers = np.arange(first, min(first + (1 << 22), 0x80000000), dtype=np.uint32) | np.uint32(sign)
            assert np.isnan(apply(name, numbers.view(np.float32))).all()


@pytest.mark.parametrize("name", CASES)
def test_infinities(name: str) -> None:
    case = CASES[name]
    found = apply(name, np.float32([-np.inf, np.inf]))
    np.testing.assert_array_equal(found, [case.at_minus_infinity, case.at_infinity])


@njit(**OPTIONS)
def _apply_exp(x: int, out: int, count: int) -> None:
    for i in range(0, count, LANES):
        store(out, i, functions.exp(load(x, i)))


@njit(**OPTIONS)
def _apply_log(x: int, out: int, count: int) -> None:
    for i in range(0, count, LANES):
        store(out, i, functions.log(load(x, i)))


def test_exp_at_every_exponent() -> None:
    for x in runs_of_all_exponents(4, 512):
        y = np.empty_like(x := np.ascontiguousarray(x))
        _apply_exp(x.ctypes.data, y.ctypes.data, x.size)
        normal = (x >= -87.3) & (x < 88.72)
        expected = np.exp(x[normal].astype(np.float64))
        assert (np.abs(y[normal] - expected) <= 2e-7 * expected).all()
        assert not y[x < -87.3].any()
        assert np.isposinf(y[x > 88.73]).all()


def test_log_at_every_exponent() -> None:
    for x in runs_of_all_exponents(4, 512):
        if not x[0] >= np.finfo(np.float32).tiny:
            continue
        y = np.empty_like(x)
        _apply_log(x.ctypes.data, y.ctypes.data, x.size)
        expected = np.log(x.astype(np.float64))
        assert (np.abs(y - expected) <= 1e-7 + 1e-7 * np.abs(expected)).all()


def test_power_of_two_numbers() -> None:
    """Also of those whose signs, zeros and infinities C's ``pow`` has rules for."""
    special = [0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 7.5, -7.5, 1e-30, 1e30, -1e30, 16777215, -16777215, 1 << 24, INF]
    x, y = (np.float32(part).ravel() for part in np.meshgrid(special, special))
    rng = np.random.default_rng(74)
    x = np.append(x, np.exp(rng.uniform(-80, 80, 100_000))).astype(np.float32)
    y = np.append(y, rng.normal(0, 3, 100_000)).astype(np.float32)
    count = x.size // LANES * LANES
    x, y, out = x[:count], y[:count], np.empty(count, np.float32)
    _apply_power(x.ctypes.data, y.ctypes.data, out.ctypes.data, count)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64))
        rounded = expected.astype(np.float32)
        is_same = (rounded == out) | (np.isnan(rounded) & np.isnan(out)) | ((np.abs(expected) < 1.3e-38) & (out == 0))
        assert (is_same | (np.abs(out - expected) <= 1.2e-7 * np.abs(expected))).all()
    np.testing.assert_array_equal(apply("pow 3", np.float32([np.nan])), [np.nan])


@njit(**OPTIONS)
def _apply_power(x: int, y: int, out: int, count: int) -> None:
    for i in range(0, count, LANES):
        store(out, i, mathematics.power(load(x, i), load(y, i)))


def test_angles_next_to_multiples_of_pi_keep_their_digits() -> None:
    """The numbers that Kahan and Muller found hardest: float32 next to multiples of pi / 2."""
    hardest = np.float32([16367173 * 2.0**72, 11, 22, 355, 710, 103993, 208341, 8.47e11, 5.419351e26, 3.4028235e38])
    angles = np.concatenate([hardest, np.float32(np.arange(1, 1_000) * (np.pi / 2))])
    exact = [math.sin(x) for x in angles.astype(np.float64)]  # libm reduces exactly
    np.testing.assert_allclose(apply("sin", angles), exact, rtol=2.5e-7, atol=1e-11)
    exact = [math.cos(x) for x in angles.astype(np.float64)]
    np.testing.assert_allclose(apply("cos", angles), exact, rtol=2.5e-7, atol=1e-11)


_softmax = njit(**OPTIONS)(normalize.softmax.py_func)
_log_softmax = njit(**OPTIONS)(normalize.log_softmax.py_func)


def apply_to_rows(kernel: Any, x: Array) -> Array:
    """Apply a kernel that reduces over the features of each row ``(rows, size)``."""
    rows, size = x.shape
    stride = -(-size // LANES) * LANES
    padded = np.full((rows, stride), 7.0, np.float32)
    padded[:, :size] = x
    out = np.empty_like(padded)
    kernel(Rows(padded.ctypes.data, padded.strides[0]), Rows(out.ctypes.data, out.strides[0]), size, rows)
    return out[:, :size]


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 100])
@pytest.mark.parametrize("scale", [1e-38, 1e-3, 1, 30, 1e4, 1e38])
def test_softmax_of_any_magnitude(size: int, scale: float) -> None:
    x = (np.random.default_rng(72).uniform(-1, 1, (2_000, size)) * scale).astype(np.float32)
    exact = torch.from_numpy(x.astype(np.float64))
    y = apply_to_rows(_softmax, x)
    assert (y >= 0).all()
    assert (y <= 1).all()
    assert np.abs(y.sum(axis=1, dtype=np.float64) - 1).max() < 1e-6
    np.testing.assert_allclose(y, torch.softmax(exact, 1).numpy(), rtol=5e-7, atol=2e-7)
    order = np.argsort(x, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(y, order, 1), axis=1) >= 0).all()  # no class overtakes one of a larger score
    log = apply_to_rows(_log_softmax, x)
    assert (log <= 0).all()
    np.testing.assert_allclose(log, torch.log_softmax(exact, 1).numpy(), rtol=5e-7, atol=1e-6)


@pytest.mark.parametrize("kernel", [_softmax, _log_softmax], ids=["softmax", "log_softmax"])
def test_softmax_of_what_is_not_finite(kernel: Any) -> None:
    x = np.float32([[0, -np.inf, 0, -np.inf], [0, np.nan, 0, 0], [np.inf, 0, 0, 0], [-np.inf] * 4])
    expected = np.array([[0.5, 0, 0.5, 0], [np.nan] * 4, [np.nan] * 4, [np.nan] * 4])
    with np.errstate(divide="ignore"):
        expected = expected if kernel is _softmax else np.log(expected)
    np.testing.assert_allclose(apply_to_rows(kernel, x), expected, rtol=1e-6)
