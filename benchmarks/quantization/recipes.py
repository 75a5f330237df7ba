"""Recipes of int8 quantization beside the plainest one: decibels from signal to error of a GRU's states."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

import grurt
from benchmarks.quantization.cases import cases
from benchmarks.quantization.simulation import (
    Case,
    Doubles,
    Recipe,
    clipped,
    decibels,
    largest_of_rows,
    row_scale,
)
from benchmarks.tables import markdown_table
from grurt.quantization import loss
from grurt.quantization.rounding import LARGEST_INT4, to_int4, to_int8, to_integers


def error_feedback(matrix: Doubles, seen: Doubles) -> Doubles:
    """Round as `Model.quantize` does with calibration data (Frantar et al. 2022, arXiv:2210.17323)."""
    return _of_integers(to_int8(matrix.astype(np.float32), seen.T @ seen / len(seen)))


def _of_integers(rounded: tuple[NDArray[np.int8], NDArray[np.float32]]) -> Doubles:
    integers, scale = rounded
    return integers * scale[:, np.newaxis].astype(np.float64)


def least_squares_of_weights(matrix: Doubles, seen: Doubles, bits: int = 8) -> Doubles:
    """Of 26 bounds of a row, from half its largest weight on, take the one with the least squared error."""
    return _best_bound(matrix, np.eye(matrix.shape[1]), bits)


def least_squares_of_products(matrix: Doubles, seen: Doubles) -> Doubles:
    """Take the one with the least squared error of the row's products with the calibration data."""
    return _best_bound(matrix, seen.T @ seen / len(seen))


def _best_bound(matrix: Doubles, moments: Doubles, bits: int = 8) -> Doubles:
    scale = row_scale(matrix, bits)
    candidates = np.stack([clipped(matrix, scale * part, bits) for part in np.linspace(0.5, 1, 26)])
    errors = np.einsum("kri,ij,krj->kr", candidates - matrix, moments, candidates - matrix)
    best: Doubles = candidates[errors.argmin(axis=0), np.arange(len(matrix))]
    return best


def percentile(matrix: Doubles, seen: Doubles) -> Doubles:
    """Cut each row off at the 99.5th percentile of its weights' magnitudes."""
    return clipped(matrix, np.quantile(np.abs(matrix), 0.995, axis=1, keepdims=True) / 127)


def blocks(matrix: Doubles, seen: Doubles, bits: int = 8, width: int = 32) -> Doubles:
    """One scale for every 32 weights of a row."""
    parts = [largest_of_rows(matrix[:, i : i + width], seen, bits) for i in range(0, matrix.shape[1], width)]
    return np.concatenate(parts, axis=1)


def spread_only(x: Doubles) -> tuple[Doubles, Doubles]:
    """Map features to [-1, 1] by a factor."""
    return np.zeros(x.shape[1]), np.abs(x).max(axis=0)


def centre_and_spread(x: Doubles) -> tuple[Doubles, Doubles]:
    """Map features from their range to [-1, 1]."""
    lowest, highest = x.min(axis=0), x.max(axis=0)
    return (highest + lowest) / 2, (highest - lowest) / 2


def int4_together(matrix: Doubles, seen: Doubles) -> Doubles:
    """Round to int4 without cutting rows off."""
    return _of_integers(to_integers(matrix.astype(np.float32), LARGEST_INT4, 1.0, seen.T @ seen / len(seen)))


def int4_both(matrix: Doubles, seen: Doubles) -> Doubles:
    """Round as `Model.quantize` does GRUs to int4."""
    return _of_integers(to_int4(matrix.astype(np.float32), seen.T @ seen / len(seen)))


int4 = partial(largest_of_rows, bits=4)
int4_blocks = partial(blocks, bits=4)
int4_cut_off = partial(least_squares_of_weights, bits=4)

PLAIN = Recipe("plain: the largest weight of a row becomes 127")

KEPT = (
    Recipe("weights rounded together (GPTQ)", error_feedback, error_feedback),
    Recipe("inputs mapped from their range to [-1, 1]", mapping=centre_and_spread),
)
DROPPED = (
    Recipe("inputs divided by their largest magnitude", mapping=spread_only),
    Recipe("biases corrected by the mean error", corrects_bias=True),
    Recipe("rows cut off where the squared error of the weights is least", *[least_squares_of_weights] * 2),
    Recipe("rows cut off where the squared error of the products is least", *[least_squares_of_products] * 2),
    Recipe("rows cut off at the 99.5th percentile", percentile, percentile),
    Recipe("a scale for every 32 weights", blocks, blocks),
    Recipe("states bounded by their largest magnitude even below 1", least_h=0.0),
)
LIMITS = (
    Recipe("weights in float, features in int8", None, None),
    Recipe("features in float, weights in int8", x_bits=None, h_bits=None),
    Recipe("input's product in float, the state's in int8", None, x_bits=None),
    Recipe("state's product in float, the input's in int8", round_r=None, h_bits=None),
)
INT4 = (
    Recipe("the largest weight of a row becomes 7", int4, int4),
    Recipe("a scale for every 32 weights", int4_blocks, int4_blocks),
    Recipe("rows cut off where the squared error of the weights is least", int4_cut_off, int4_cut_off),
    Recipe("weights rounded together", int4_together, int4_together),
    Recipe('together, and rows cut off: `quantize("int4", calibration=...)`', int4_both, int4_both),
)


def recipes_table() -> str:
    """Return the table: rows are recipes, columns networks; decibels, and gains over the plain recipe."""
    columns = cases()
    plain = {case.name: decibels(case, PLAIN) for case in columns}
    head = ["recipe", *(case.name for case in columns)]
    lines = [[PLAIN.name, *(f"{plain[case.name]:.1f} dB" for case in columns)]]
    gains = [f"**{_calibrated(case) - plain[case.name]:+.1f}**" for case in columns]
    lines.append(["**`quantize(..., calibration=...)`**", *gains])
    for title, recipes in (("kept", KEPT), ("not kept", DROPPED), ("what limits", LIMITS), ("int4", INT4)):
        lines.append([f"*{title}*", *([""] * len(columns))])
        lines += [[recipe.name, *(_gain(case, recipe, plain[case.name]) for case in columns)] for recipe in recipes]
    return markdown_table(head, lines)


def _calibrated(case: Case) -> float:
    """Return what `Model.quantize` itself reaches with calibration data, on the kernels."""
    rows, size = case.gru.w.shape
    model = grurt.Model(
        layers=[grurt.GRU(name="gru", input_size=size, hidden_size=rows // 3)],
        weights={
            "gru.weight_ih": case.gru.w,
            "gru.weight_hh": case.gru.r,
            "gru.bias_ih": case.gru.b,
            "gru.bias_hh": case.gru.c,
        },
    )
    quantized = model.quantize("int8", calibration=case.calibration)
    return loss(model, quantized, case.test, steps=1).worst.decibels


def _gain(case: Case, recipe: Recipe, plain: float) -> str:
    return f"{decibels(case, recipe) - plain:+.1f}"
