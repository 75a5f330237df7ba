"""Weights that the lowering puts together."""

from __future__ import annotations

import models
import numpy as np
import pytest

import grurt


def test_biases_whose_sum_is_no_float32() -> None:
    model = models.gru_model(3, 5, np.random.default_rng(0))
    large = {f"gru0.bias_{part}": np.full(15, 3e38, np.float32) for part in ("ih", "hh")}
    model = model.replaced(weights={**model.weights, **large})
    with pytest.raises(
        grurt.ModelError, match=r"weights that belong together \(two biases, a scale and a variance\) are"
    ):
        model.stream()
