"""A model with everything that a ``.grurt`` file can hold, and its file with something changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import models
import numpy as np
from safetensors.numpy import load as decode_safetensors
from safetensors.numpy import save as encode_safetensors

import grurt


def small_model(seed: int = 3) -> grurt.Model:
    """Return a model of everything: a signature with states, a source, a reference run."""
    rng = np.random.default_rng(seed)
    layers = (
        grurt.Embedding(name="embed", vocabulary_size=5, size=3),
        grurt.GRU(name="gru.0", input_size=3, hidden_size=2, initial_state="learned", clip=2.5),
        grurt.Activation(name="täuschend", function=grurt.HardSigmoid(0.2, 0.5)),
    )
    signature = grurt.Signature(
        (
            grurt.ValuePort(name="ids", value="x", dtype="int64", axes=("time",)),
            grurt.StatePort(name="h0", states=("gru.0",), dtype="float64", axes=("feature",)),
        ),
        (grurt.ValuePort(name="answer/y", value="y", dtype="float16", axes=("time", "feature")),),
    )
    inputs = {"ids": np.array([0, 4, 2]), "h0": rng.normal(size=2)}
    run = grurt.ReferenceRun(inputs, {"answer/y": rng.normal(size=(3, 2)).astype(np.float16)}, "a framework 1.0")
    source = grurt.Source(format="onnx", producer="pytorch", file="model.onnx", notes=("repaired",))
    return grurt.Model(
        layers=layers,
        weights=models.random_weights(layers, rng),
        signature=signature,
        source=source,
        reference_run=run,
    )


def assert_equal(found: grurt.Model, expected: grurt.Model) -> None:
    for name in ("inputs", "layers", "outputs", "signature", "source", "fingerprint"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.weights.keys() == expected.weights.keys()
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], array, strict=True)
    if expected.reference_run is None:
        assert found.reference_run is None
        return
    assert found.reference_run is not None
    assert found.reference_run.produced_by == expected.reference_run.produced_by
    for side in ("inputs", "outputs"):
        for name, array in getattr(expected.reference_run, side).items():
            np.testing.assert_array_equal(getattr(found.reference_run, side)[name], array, strict=True)


def rewritten(
    content: bytes,
    edit: Callable[[dict[str, Any]], None] = lambda header: None,
    tensors: Callable[[dict[str, Any]], None] = lambda tensors: None,
) -> bytes:
    """Return the file with its description and its tensors edited, as older releases write it: without a digest."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["grurt"])
    arrays = decode_safetensors(content)
    edit(header)
    tensors(arrays)
    return encode_safetensors(arrays, metadata={"grurt": json.dumps(header)})
