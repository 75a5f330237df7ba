"""Weights in the order of the kernels."""

from __future__ import annotations

import every_layer
import models
import msgspec
import numpy as np
import pytest

import grurt
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


def test_no_more_is_packed_than_there_is_room_for() -> None:
    model = models.gru_model(3, 20, np.random.default_rng(0))
    vars(model)["costs"] = msgspec.structs.replace(model.costs, packed_weights=model.plan.weights.nbytes - 64)
    with pytest.raises(grurt.ModelError, match=r"a layer has more packed weights than its packed_bytes\(\) says"):
        lower(model)
