"""An encoder and its decoder."""

from __future__ import annotations

from typing import Any

import models
import numpy as np

import grurt
from grurt.network.layers import AnyLayer

HIDDEN = 6
INPUTS = (grurt.Input("source", 5), grurt.TokenInput("target", 9))


def encoder_decoder(rng: np.random.Generator, **options: Any) -> grurt.Model:
    """Return a bidirectional encoder whose bridge is a decoder's initial state, and its context at every timestep."""
    layers: list[AnyLayer] = [
        grurt.GRU(name="forward", inputs=("source",), input_size=5, hidden_size=HIDDEN, initial_state="learned"),
        grurt.GRU(name="backward", inputs=("source",), input_size=5, hidden_size=HIDDEN, direction="reverse"),
        grurt.LastStep(name="end", inputs=("forward",)),
        grurt.FirstStep(name="begin", inputs=("backward",)),
        grurt.Concat(name="both", inputs=("end", "begin")),
        grurt.Linear(name="bridge", input_size=2 * HIDDEN, output_size=HIDDEN),
        grurt.Activation(name="context", function=grurt.Tanh()),
        grurt.Embedding(name="embedding", inputs=("target",), vocabulary_size=9, size=4),
        grurt.Concat(name="fed", inputs=("embedding", "both")),
        grurt.GRU(
            name="decoder",
            inputs=("fed", "context"),
            input_size=4 + 2 * HIDDEN,
            hidden_size=HIDDEN,
            initial_state="value",
        ),
        grurt.Linear(name="logits", input_size=HIDDEN, output_size=9),
    ]
    return models.layer_model(*layers, rng=rng, inputs=INPUTS, **options)
