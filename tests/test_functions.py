"""The elementary functions of the kernels, over the whole range of float32, against PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from grurt.kernels import codes
from grurt.kernels.options import OPTIONS
from grurt.kernels.rows import function as function_kernel

Array = np.ndarray[Any, np.dtype[np.float32]]
Truth = Callable[[torch.Tensor], torch.Tensor]

_kernel = njit(**OPTIONS)(function_kernel.py_func)

F = torch.nn.functional

# Function, its parameters, the truth, and the bounds of the absolute and of the relative error: one of them holds.
CASES: dict[str, tuple[int, tuple[float, float], Truth, float, float]] = {
    "gate_sigmoid": (codes.GATE_SIGMOID, (0, 0), torch.sigmoid, 1.8e-7, 0),
    "tanh": (codes.TANH, (0, 0), torch.tanh, 2.5e-7, 2.5e-7),
    "sigmoid": (codes.SIGMOID, (0, 0), torch.sigmoid, 1e-38, 4e-7),
    "relu": (codes.RELU, (0, 0), torch.relu, 0, 0),
    "leaky_relu": (codes.LEAKY_RELU, (0.01, 0), lambda x: F.leaky_relu(x, float(np.float32(0.01))), 1e-45, 6e-8),
    "thresholded_relu": (codes.THRESHOLDED_RELU, (0.5, 0), lambda x: torch.where(x > 0.5, x, 0 * x), 0, 0),
    "elu": (codes.ELU, (1.5, 0), lambda x: F.elu(x, 1.5), 1e-44, 4e-7),
    "gelu": (codes.GELU, (0, 0), F.gelu, 1.5e-7, 1.5e-7),
    "gelu_tanh": (codes.GELU_TANH, (0, 0), lambda x: F.gelu(x, approximate="tanh"), 2e-7, 2e-7),
    "hard_sigmoid": (codes.HARD_SIGMOID, (0.25, 0.5), lambda x: torch.clamp(0.25 * x + 0.5, 0, 1), 6e-8, 0),
    "scaled_tanh": (codes.SCALED_TANH, (1.5, 0.75), lambda x: 1.5 * torch.tanh(0.75 * x), 4.5e-7, 4.5e-7),
    "softsign": (codes.SOFTSIGN, (0, 0), F.softsign, 1e-45, 2e-7),
    "softplus": (codes.SOFTPLUS, (0, 0), F.softplus, 1.3e-38, 5e-7),
    "affine": (codes.AFFINE, (0.5, 0.25), lambda x: 0.5 * x + 0.25, 0, 6e-8),
    "clip": (codes.CLIP, (-0.5, 2.0), lambda x: torch.clamp(x, -0.5, 2.0), 0, 0),
}


def apply(name: str, x: Array) -> Array:
    """Apply the kernel of a case to numbers ``(n,)``."""
    code, parameters = CASES[name][:2]
    padded = np.zeros(-(-x.size // 16) * 16, np.float32)
    padded[: x.size] = x
    out = np.empty_like(padded)
    floats = np.array(parameters, np.float32)
    _kernel(code, floats.ctypes.data, padded.ctypes.data, out.ctypes.data, padded.size, 1)
    return out[: x.size]


def all_exponents(per_exponent: int) -> Array:
    """Return float32 of every exponent, from denormal to the largest, of both signs, in ascending order."""
    bits = np.linspace(0, 0x7F7FFFFF, 255 * per_exponent).astype(np.uint32)
    positive = np.unique(bits).view(np.float32)
    return np.concatenate([-positive[::-1], positive])


@pytest.fixture(scope="module")
def numbers() -> Array:
    near_one = np.linspace(-20, 20, 200_001).astype(np.float32)
    return np.sort(np.concatenate([all_exponents(2_000), near_one]))


@pytest.mark.parametrize("name", CASES)
def test_error_is_bounded_for_every_exponent(name: str, numbers: Array) -> None:
    _, _, truth, absolute, relative = CASES[name]
    x = numbers[np.abs(numbers) < 1e38]
    expected = truth(torch.from_numpy(x.astype(np.float64))).numpy()
    error = np.abs(apply(name, x) - expected)
    excess = error - np.maximum(absolute, relative * np.abs(expected))
    worst = int(excess.argmax())
    assert excess[worst] <= 0, (x[worst], error[worst], expected[worst])


@pytest.mark.parametrize("name", CASES)
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(apply(name, np.float32([np.nan, -np.nan]))).all()


@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity"),
    [
        ("gate_sigmoid", 0, 1),
        ("tanh", -1, 1),
        ("sigmoid", 0, 1),
        ("relu", 0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("thresholded_relu", 0, np.inf),
        ("elu", -1.5, np.inf),
        ("gelu", 0, np.inf),
        ("gelu_tanh", 0, np.inf),
        ("hard_sigmoid", 0, 1),
        ("scaled_tanh", -1.5, 1.5),
        ("softplus", 0, np.inf),
        ("affine", -np.inf, np.inf),
        ("clip", -0.5, 2),
    ],
)
def test_infinities(name: str, at_minus_infinity: float, at_infinity: float) -> None:
    assert apply(name, np.float32([-np.inf, np.inf])).tolist() == [at_minus_infinity, at_infinity]


@pytest.mark.parametrize(("name", "low", "high"), [("tanh", -1, 1), ("gate_sigmoid", 0, 1), ("sigmoid", 0, 1)])
def test_results_stay_in_range(name: str, low: float, high: float, numbers: Array) -> None:
    results = apply(name, numbers)
    assert results.min() >= low
    assert results.max() <= high
