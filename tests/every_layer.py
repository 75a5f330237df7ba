"""Answers of models that hold every kind of layer: the same bytes wherever the kernels are compiled, and for which CPU.

``python tests/every_layer.py answers.npz`` writes them to a file.
"""

from __future__ import annotations

import sys
from typing import Any

import models
import numpy as np

import grurt

N_STEPS = 37


def all_models() -> dict[str, grurt.Model]:
    """Return models by name, made from fixed seeds."""
    found = {"functions": functions_model(), "gates": gates_model()}
    for hidden_size in (1, 17, 64):
        for linear_before_reset in (True, False):
            rng = np.random.default_rng(hidden_size)
            found[f"gru {hidden_size} {linear_before_reset}"] = models.gru_model(
                7, hidden_size, rng, n_layers=2, linear_before_reset=linear_before_reset
            )
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found[f"random {seed}"] = models.random_model(rng, n_layers=10, streams=seed % 4 != 0)
    return found | {
        f"{name} {weights}": model.quantize(weights)
        for name, model in found.items()
        for weights in ("float16", "int8")
        if any(models.can_be_quantized(layer) for layer in model.layers)
    }


def functions_model() -> grurt.Model:
    """Return a model that applies every function to the same features."""
    layers = [
        grurt.Activation(name=f"function{i}", inputs=("x",), function=function)
        for i, function in enumerate(models.ALL_FUNCTIONS)
    ]
    everything = grurt.Concat(name="everything", inputs=tuple(layer.name for layer in layers))
    return models.layer_model(*layers, everything, inputs=(grurt.Input("x", 21),), rng=np.random.default_rng(41))


def gates_model() -> grurt.Model:
    """Return a model with a GRU for every function that a gate may be."""
    grus = [
        grurt.GRU(
            name=f"gru{i}",
            inputs=("x",),
            input_size=5,
            hidden_size=6 + i,
            gate_activation=models.GATE_FUNCTIONS[i % len(models.GATE_FUNCTIONS)],
            candidate_activation=function,
            linear_before_reset=i % 3 > 0,
            clip=0.7 if i % 2 else None,
        )
        for i, function in enumerate(models.ELEMENTWISE_FUNCTIONS)
    ]
    everything = grurt.Concat(name="everything", inputs=tuple(gru.name for gru in grus))
    return models.layer_model(*grus, everything, inputs=(grurt.Input("x", 5),), rng=np.random.default_rng(42))


def answers() -> dict[str, Any]:
    """Return what every model answers to a sequence, by the names of model and output."""
    found: dict[str, Any] = {}
    for name, model in all_models().items():
        inputs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(43))
        outputs = model.run({input_name: xs[np.newaxis] for input_name, xs in inputs.items()})
        found |= {f"{name}, {output_name}": answer for output_name, answer in outputs.items()}
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **answers())
