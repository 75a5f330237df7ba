"""The recipes that docs/quantization.md compares: what NumPy simulates is what the kernels compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import grurt
from benchmarks.quantization.accuracy import demo_table
from benchmarks.quantization.recipes import INT4, PLAIN
from benchmarks.quantization.simulation import Case, Gru, Recipe, decibels
from grurt.quantization import loss

PLAIN_INT4, *_, CALIBRATED_INT4 = INT4


@pytest.fixture(scope="module")
def case() -> Case:
    rng = np.random.default_rng(12)
    shapes = ((60, 7), (60, 20), (60,), (60,))
    gru = Gru(*(rng.uniform(-0.5, 0.5, shape) for shape in shapes))
    return Case("small", gru, *rng.standard_normal((2, 8, 60, 7)))


@pytest.mark.parametrize(
    ("weights", "recipe", "calibrated"),
    [("int8", PLAIN, False), ("int4", PLAIN_INT4, False), ("int4", CALIBRATED_INT4, True)],
)
def test_the_simulation_loses_what_the_kernels_lose(case: Case, weights: Any, recipe: Recipe, calibrated: bool) -> None:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    matrices = (case.gru.w, case.gru.r, case.gru.b, case.gru.c)
    model = grurt.Model(
        layers=[grurt.GRU(name="gru", input_size=7, hidden_size=20)],
        weights={f"gru.{name}": array for name, array in zip(names, matrices, strict=True)},
    )
    small = model.quantize(weights, calibration=case.calibration if calibrated else None)
    measured = loss(model, small, case.test, steps=1).worst.decibels
    assert decibels(case, recipe) == pytest.approx(measured, abs=0.5)


def test_the_demos_table_has_a_line_for_every_format() -> None:
    lines = [line.split("|")[1].strip() for line in demo_table().splitlines()]
    assert lines[2:] == ["float32", "float16", "int8", "int8, calibrated", "int4", "int4, calibrated"]
