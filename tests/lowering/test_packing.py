"""Weights in the order of the kernels."""

from __future__ import annotations

import every_layer
import numpy as np
import pytest

from grurt.lowering import packing
from grurt.lowering.lower import lower

MODELS = every_layer.all_models()


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_packed_alike_however_few_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in MODELS[name].stages:
        expected = lower(stage).weights
        for chunk in (1, 100, 1000):
            monkeypatch.setattr(packing, "_CHUNK", chunk)
            np.testing.assert_array_equal(lower(stage).weights.view(np.uint8), expected.view(np.uint8))
