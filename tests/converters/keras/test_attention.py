"""``Attention``, ``AdditiveAttention`` and ``MultiHeadAttention`` of Keras: what streams of them, and what is refused.

What they answer, `test_models.py` compares, as of all files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import DATA, answers, edited, layer_of

import grurt
from grurt.converters import convert
from grurt.errors import ConversionError, UnsupportedError

RNN = {
    "class_name": "__keras_tensor__",
    "config": {"shape": [None, 6, 4], "dtype": "float32", "keras_history": ["gru", 0, 0]},
}

Change = Callable[[dict[str, Any]], object]
CAUSAL, SINGLE, CONCAT, ADDITIVE, HEADS = (
    *("attention_2", "attention", "attention_1"),
    *("additive_attention", "multi_head_attention"),
)


def setting(layer: str, **values: Any) -> Change:
    return lambda config: layer_of(config, layer)["config"].update(values)


def calling(layer: str, **named: Any) -> Change:
    return lambda config: layer_of(config, layer)["inbound_nodes"][0]["kwargs"].update(named)


def reading(layer: str, change: Callable[[list[Any]], Any]) -> Change:
    """Return a change of what a layer reads."""

    def changed(config: dict[str, Any]) -> None:
        node = layer_of(config, layer)["inbound_nodes"][0]
        node["args"] = change(node["args"])

    return changed


@pytest.mark.parametrize(
    ("output", "n_answers"), [("flatten", 1), ("global_average_pooling1d", 1), ("multi_head_attention_1", 6)]
)
def test_what_looks_back_streams(output: str, n_answers: int) -> None:
    path = DATA / "k3_attention.keras"
    model = convert(path, reference=False)
    names = [port.name for port in model.signature.outputs]
    alone = model.replaced(
        outputs=[each for each in model.outputs if each.name == output],
        layers=needed(model, output),
        weights={
            name: array
            for name, array in model.weights.items()
            if any(name.startswith(f"{layer.name}.") for layer in needed(model, output))
        },
        signature=None,
    )
    inputs, expected = answers(path)
    stream = alone.stream()
    for xs, wanted in zip(next(iter(inputs.values())), expected[names.index(output)], strict=True):
        stream.reset()
        found: Any = stream.run(xs)
        np.testing.assert_allclose(found[-n_answers:], wanted.reshape(n_answers, -1), rtol=0, atol=2e-6)


def needed(model: grurt.Model, output: str) -> list[Any]:
    """Return the layers that an output is made of."""
    wanted = {each.value for each in model.outputs if each.name == output}
    kept = []
    for layer in reversed(model.layers):
        if layer.name in wanted:
            wanted.update(layer.inputs)
            kept.append(layer)
    return kept[::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting(SINGLE, score_mode="cosine"), "got score_mode=cosine; use one of Keras's own"),
        (setting(HEADS, sliding_window=2), "got sliding_window=2; attend to all timesteps"),
        (setting(HEADS, use_gate=True), "got use_gate=True; leave the gate out"),
        (setting(HEADS, attention_axes=[1, 2]), "; attend over the timesteps"),
        (setting(HEADS, output_shape=[2, 3]), r"got output_shape=\[2, 3\]; give one number of features"),
        (
            calling(CONCAT, return_attention_scores=True),
            "return_attention_scores=True, which asks for a number for each",
        ),
        (calling(SINGLE, use_causal_mask=True), "a sequence in reverse order, or a causal mask of a single query"),
        (calling(CONCAT, mask=[None]), "got a mask that the call names; use Masking or mask_zero, whose masks"),
        (calling(CONCAT, colour=1), "got the call argument 'colour'"),
        (reading(CONCAT, lambda args: [args[0] * 2]), r"got 4 inputs; expected \[query, value\] or"),
        (reading(HEADS, lambda args: args[:1]), "other arguments than query, value and key; call the layer with these"),
    ],
)
def test_refusals(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        convert(edited(tmp_path, "k3_attention", change), reference=False)


def test_masks_of_several_heads(tmp_path: Path) -> None:
    """Keras takes them off the tensors, so that what is run later does not see them."""

    def change(config: dict[str, Any]) -> None:
        layer = layer_of(config, "additive_attention")
        layer.update(class_name="MultiHeadAttention")
        layer["inbound_nodes"][0]["args"] = layer["inbound_nodes"][0]["args"][0]

    with pytest.raises(UnsupportedError, match="a masked sequence, whose mask Keras takes away from whatever reads it"):
        convert(edited(tmp_path, "k3_masked_attention", change), reference=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting(HEADS, key_dim=4), r"expected weights of 4 by 8, got the shape \(4, 2, 3\)"),
        (setting("multi_head_attention_1", value_dim=4), "expected weights of 3 by 8, got the shape"),
        (setting(ADDITIVE, use_scale=False), "expected 0|got 1|that nothing reads|no layer reads"),
        (
            reading(ADDITIVE, lambda args: [[args[0][0], args[0][1], args[0][1]]]),
            r"expected a scale of size 4, got the shape \(3,\)",
        ),
        (
            reading("additive_attention_1", lambda args: [[args[0][0], *[RNN] * 2]]),
            "expected a query of size 4, got 3; the file is damaged",
        ),
    ],
)
def test_weights_that_do_not_fit(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(edited(tmp_path, "k3_attention", change), reference=False)
