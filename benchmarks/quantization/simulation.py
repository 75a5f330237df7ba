"""A GRU in float64 NumPy, whose matrices and features are rounded by exchangeable functions: to try recipes quickly."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gru:
    """One GRU layer as `benchmarks.network.Network` describes it, in float64."""

    w: Doubles
    r: Doubles
    b: Doubles
    c: Doubles


@dataclass(frozen=True, eq=False)
class Case:
    """A network, and sequences ``(batch, n_steps, input_size)`` to calibrate and to measure with."""

    name: str
    gru: Gru
    calibration: Doubles
    test: Doubles


@dataclass(frozen=True, eq=False)
class Seen:
    """What a float network's matrices were multiplied with on the calibration data: ``(n, size)``."""

    x: Doubles
    h: Doubles


Rounding = Callable[[Doubles, Doubles], Doubles]
"""From a matrix ``(rows, columns)`` and what it is multiplied with, ``(n, columns)``, to the rounded matrix."""


def largest_of_rows(matrix: Doubles, seen: Doubles, bits: int = 8) -> Doubles:
    """Round with one scale a row: the largest weight becomes 127."""
    return clipped(matrix, row_scale(matrix, bits), bits)


def row_scale(matrix: Doubles, bits: int = 8) -> Doubles:
    """Return a scale for each row ``(rows, 1)``, with which its largest weight becomes the largest integer."""
    scale = np.abs(matrix).max(axis=1, keepdims=True) / _top(bits)
    return np.where(scale > 0, scale, 1.0)


def _top(bits: int) -> int:
    return int(2 ** (bits - 1)) - 1


def clipped(matrix: Doubles, scale: Doubles, bits: int = 8) -> Doubles:
    """Return the matrix in multiples of a scale, no larger than the largest integer."""
    rounded: Doubles = np.rint(matrix / scale).clip(-_top(bits), _top(bits)) * scale
    return rounded


@dataclass(frozen=True)
class Recipe:
    """How a network is quantized."""

    name: str
    round_w: Rounding | None = largest_of_rows
    """None leaves the matrix in float; so below."""
    round_r: Rounding | None = largest_of_rows
    x_bits: int | None = 8
    h_bits: int | None = 8
    least_h: float = 1.0
    """The least bound of a state."""
    mapping: Callable[[Doubles], tuple[Doubles, Doubles]] | None = None
    """From inputs ``(n, size)`` to a centre and a spread, by which they are mapped."""
    corrects_bias: bool = False


def run(gru: Gru, xs: Doubles, recipe: Recipe | None = None) -> tuple[Doubles, Doubles]:
    """Return all states, after and before each timestep, ``(batch, n_steps, hidden_size)``.

    The matrices are those of ``gru``; of the recipe only the rounding of features is applied.
    """
    size = gru.r.shape[1]
    h = np.zeros((len(xs), size))
    projected = (_features(xs, recipe.x_bits, 0.0) if recipe else xs) @ gru.w.T + gru.b
    before, after = np.empty((2, *xs.shape[:2], size))
    for t in range(xs.shape[1]):
        before[:, t] = h
        p, q = projected[:, t], (_features(h, recipe.h_bits, recipe.least_h) if recipe else h) @ gru.r.T + gru.c
        z, r = np.split(1 / (1 + np.exp(-(p + q)[:, : 2 * size])), 2, axis=1)
        n = np.tanh(p[:, 2 * size :] + r * q[:, 2 * size :])
        after[:, t] = h = (1 - z) * n + z * h
    return after, before


def decibels(case: Case, recipe: Recipe) -> float:
    """Return the energy of the float network's states on the test data over that of the recipe's error."""
    expected, _ = run(case.gru, case.test)
    _, before = run(case.gru, case.calibration)
    seen = Seen(case.calibration.reshape(-1, case.calibration.shape[-1]), before.reshape(-1, before.shape[-1]))
    gru, xs = case.gru, case.test
    if recipe.mapping is not None:
        centre, spread = recipe.mapping(seen.x)
        gru = replace(gru, w=gru.w * spread, b=gru.b + gru.w @ centre)
        xs, seen = (xs - centre) / spread, replace(seen, x=(seen.x - centre) / spread)
    found, _ = run(_quantized(gru, seen, recipe), xs, recipe)
    return float(10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()))


def _quantized(gru: Gru, seen: Seen, recipe: Recipe) -> Gru:
    w = gru.w if recipe.round_w is None else recipe.round_w(gru.w, seen.x)
    r = gru.r if recipe.round_r is None else recipe.round_r(gru.r, seen.h)
    if not recipe.corrects_bias:
        return replace(gru, w=w, r=r)
    x, h = _features(seen.x, recipe.x_bits, 0.0), _features(seen.h, recipe.h_bits, recipe.least_h)
    lost_x, lost_h = (seen.x @ gru.w.T - x @ w.T).mean(axis=0), (seen.h @ gru.r.T - h @ r.T).mean(axis=0)
    return Gru(w, r, gru.b + lost_x, gru.c + lost_h)


def _features(x: Doubles, bits: int | None, least: float) -> Doubles:
    if bits is None:
        return x
    scale = np.maximum(np.abs(x).max(axis=-1, keepdims=True), max(least, 1e-30)) / _top(bits)
    rounded: Doubles = np.rint(x / scale) * scale
    return rounded
