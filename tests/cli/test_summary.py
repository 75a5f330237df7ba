"""The data behind `grurt inspect`."""

from __future__ import annotations

import json

import models
import numpy as np
import pytest

import grurt
from grurt.network.layers import AnyLayer
from grurt.summary import summarize


def whole_model() -> grurt.Model:
    rng = np.random.default_rng(1)
    return models.layer_model(
        grurt.Embedding(name="embed", vocabulary_size=30, size=6),
        grurt.Conv1d(name="conv", input_size=6, output_size=8, kernel_size=3, dilation=2, groups=2),
        grurt.GRU(name="gru", input_size=8, hidden_size=5, initial_state="learned"),
        grurt.LastStep(name="last"),
        grurt.Linear(name="fc", input_size=5, output_size=4),
        rng=rng,
    )


def test_each_layer_and_the_totals_are_counted() -> None:
    summary = summarize(whole_model())
    embed, conv, gru, last, fc = summary.layers
    assert (embed.parameters, embed.multiply_adds) == (180, 0)
    assert (conv.parameters, conv.multiply_adds) == (8 * 3 * 3 + 8, 8 * 3 * 3)
    assert (gru.parameters, gru.multiply_adds) == (15 * (8 + 5) + 30 + 5, 15 * (8 + 5))
    assert (last.parameters, last.multiply_adds) == (0, 0)
    assert (fc.parameters, fc.multiply_adds) == (24, 20)
    assert [layer.state_shapes for layer in summary.layers] == [{}, {"conv": (4, 6)}, {"gru": (5,)}, {}, {}]
    assert [layer.output_size for layer in summary.layers] == [6, 8, 5, 5, 4]
    assert [layer.inputs for layer in summary.layers] == [("x",), ("embed",), ("conv",), ("gru",), ("last",)]
    assert summary.parameters == whole_model().parameter_count == 514
    assert summary.bytes == 4 * summary.parameters
    assert summary.multiply_adds == 72 + 195 + 20
    assert summary.state_bytes == 4 * (24 + 5)
    assert summary.to_dict()["costs"]["operations"] == summary.costs.operations > summary.multiply_adds


NOTES: list[tuple[AnyLayer, str]] = [
    (grurt.GRU(name="a", input_size=3, hidden_size=3), ""),
    (
        grurt.GRU(
            name="a",
            input_size=3,
            hidden_size=3,
            direction="reverse",
            linear_before_reset=False,
            bias=False,
            gate_activation=grurt.HardSigmoid(0.2, 0.5),
            clip=3.0,
        ),
        (
            "direction=reverse, linear_before_reset=False, bias=False, "
            "gate_activation=hard_sigmoid(slope=0.2, offset=0.5), clip=3.0"
        ),
    ),
    (grurt.Activation(name="a", function=grurt.Relu()), "relu"),
    (grurt.Activation(name="a", function=grurt.LeakyRelu(0.2)), "leaky_relu(negative_slope=0.2)"),
    (grurt.Conv1d(name="a", input_size=3, output_size=3, kernel_size=2, dilation=4), "kernel_size=2, dilation=4"),
    (grurt.LayerNorm(name="a", size=3, epsilon=1e-3, bias=False), "epsilon=0.001, bias=False"),
    (grurt.Embedding(name="a", vocabulary_size=9, size=3), "vocabulary_size=9"),
    (grurt.Linear(name="a", input_size=3, output_size=3), ""),
]


@pytest.mark.parametrize(("layer", "note"), NOTES)
def test_notes_name_the_options_that_are_not_the_default(layer: AnyLayer, note: str) -> None:
    inputs = () if isinstance(layer, grurt.Embedding) else (grurt.Input("x", 3),)
    assert summarize(models.layer_model(layer, rng=np.random.default_rng(2), inputs=inputs)).layers[0].note == note


def test_the_verdict_on_streaming_has_a_reason() -> None:
    summary = summarize(whole_model())
    assert summary.streams
    assert summary.unstreamable_reason is None
    reverse = models.gru_model(3, 3, np.random.default_rng(3), direction="reverse")
    assert not summarize(reverse).streams
    assert summarize(reverse).unstreamable_reason == reverse.unstreamable_reason


def test_the_summary_is_json() -> None:
    model = whole_model()
    described = summarize(model).to_dict()
    assert json.loads(json.dumps(described)) == described
    texts = {"texts": None, "text_length": None}
    assert described["inputs"] == [{"name": "x", "size": 30, "tokens": True, "frame_shape": [], **texts}]
    assert described["outputs"] == [{"name": "y", "value": "fc", "size": 4, "per_step": False, "frame_shape": [4]}]
    assert described["layers"][2]["state_shapes"] == {"gru": [5]}
    assert described["signature"]["inputs"][0]["axes"] == ["batch", "time"]
    assert described["source"] == {"format": "grurt", "producer": "", "file": "", "notes": []}
    assert described["reference_run"] is None
    assert described["fingerprint"] == model.fingerprint.hex()


def test_a_reference_run_is_named() -> None:
    run = grurt.ReferenceRun(
        {"x": np.zeros((1, 2, 1), np.float32)}, {"y": np.zeros((1, 2, 1), np.float32)}, "torch 2.13.0"
    )
    layer = grurt.Linear(name="fc", input_size=1, output_size=1, bias=False)
    model = grurt.Model(layers=[layer], weights={"fc.weight": [[1.0]]}, reference_run=run)
    assert summarize(model).reference_run == "torch 2.13.0"
