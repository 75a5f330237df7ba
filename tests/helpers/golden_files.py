"""Model files that must stay readable, and keep their meaning.

``python tests/helpers/golden_files.py`` writes those of ``tests/data/grurt/*.grurt`` that are not there: a new version
of the format gets files of its own, beside those of the old one, which are never written again.
"""

from __future__ import annotations

from typing import Any

import models
import numpy as np
from encoders import encoder_decoder
from paths import DATA
from step_programs import random_step_program

import grurt
from grurt import reference
from grurt.network.versions import file_version

FOLDER = DATA / "grurt"

N_STEPS = 9


def golden_models() -> dict[str, grurt.Model]:
    """Return the models by the names of their files."""
    plain = {
        f"random{seed}": models.random_model(np.random.default_rng(seed), n_layers=14, max_size=6, streams=seed > 3)
        for seed in range(6)
    }
    plain["encoder_decoder"] = encoder_decoder(np.random.default_rng(8))
    formats: tuple[Any, ...] = ("float16", "int8", "int4")
    narrow = {f"random{i}_{weights}": plain[f"random{i}"].quantize(weights) for i in (0, 5) for weights in formats}
    later = {
        "version2": version_2(np.random.default_rng(10)),
        "mathematics": mathematics(),
        "windows": models.windows_model(np.random.default_rng(12)),
        "repeated": models.repeated_model(np.random.default_rng(15)),
        "scaled_state": scaled_state(np.random.default_rng(12)),
        "past_end": past_end(np.random.default_rng(13)),
        "pooling": models.pooling_model(np.random.default_rng(14)),
        "attention": models.attention_model(np.random.default_rng(15)),
        "whole_attention": models.attention_model(np.random.default_rng(15), streams=False),
        "program": random_step_program(13, n_operators=90),
        "sha256": models.gru_model(3, 5, np.random.default_rng(11)),
    }
    return plain | narrow | later


def version_2(rng: np.random.Generator) -> grurt.Model:
    """Return a model of the layers that came with version 2 of the format."""
    return models.layer_model(
        grurt.RMSNorm(name="norm", size=5, epsilon=1e-3),
        grurt.GRU(name="gru", input_size=5, hidden_size=6),
        grurt.RMSNorm(name="plain", size=6, weight=False),
        rng=rng,
        inputs=(grurt.Input("x", 5),),
    )


def scaled_state(rng: np.random.Generator) -> grurt.Model:
    """Return a model with an option of the GRU that came with version 2 of the format."""
    options = {"hidden_size": 6, "scaled_state": True}
    return models.layer_model(
        grurt.GRU(name="gru", inputs=("x", "keep"), input_size=5, **options),
        grurt.GRU(name="top", inputs=("gru", "keep", "keep"), input_size=6, masked=True, **options),
        rng=rng,
        inputs=(grurt.Input("x", 5), grurt.Input("keep", 1)),
    )


def past_end(rng: np.random.Generator) -> grurt.Model:
    """Return a model that masks and picks from padded sequences, with what came with version 2 of the format."""
    return models.layer_model(
        grurt.GRU(name="gru", input_size=5, hidden_size=6),
        grurt.PastEnd(name="masked", value=-1e9),
        grurt.LastStep(name="end", by_length=True, inputs=("gru",)),
        rng=rng,
        inputs=(grurt.Input("x", 5),),
        outputs=(grurt.Output("y", "masked"), grurt.Output("last", "end")),
    )


def mathematics() -> grurt.Model:
    """Return a model of the functions and operations that came with version 2 of the format."""
    layers: list[grurt.network.layers.AnyLayer] = [
        grurt.Activation(name="size", function=grurt.Abs()),
        grurt.Activation(name="positive", function=grurt.Affine(1.0, 0.5)),
    ]
    layers += [
        grurt.Activation(name=str(function), inputs=("positive",), function=function)
        for function in models.MATHEMATICAL_FUNCTIONS
    ]
    layers += [
        grurt.Constant(name="constant", inputs=("x",), size=5),
        grurt.Binary(name="less", inputs=("x", "constant"), operation="less"),
        grurt.Where(name="where", inputs=("less", "positive", "constant")),
        grurt.Reduce(name="sum", inputs=("where",), operation="log_sum_exp"),
        grurt.Concat(name="everything", inputs=("less", "where", "sum", *map(str, models.MATHEMATICAL_FUNCTIONS))),
    ]
    return models.layer_model(*layers, rng=np.random.default_rng(11), inputs=(grurt.Input("x", 5),))


def with_answers(model: grurt.Model) -> grurt.Model:
    """Return the model with a reference run."""
    inputs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(9))
    batch = {name: xs[np.newaxis] for name, xs in inputs.items()}
    formats = {layer.weight_format for layer in model.layers if isinstance(layer, grurt.network.layers.MatrixLayer)}
    if formats & {"int8", "int4"}:
        answers, by = model.run(batch), "grurt"
        assert isinstance(answers, dict)
    else:
        found = reference.run(model, inputs)[0]
        answers, by = {name: y[np.newaxis].astype(np.float32) for name, y in found.items()}, "the reference"
    return grurt.Model(
        **{name: getattr(model, name) for name in ("inputs", "layers", "outputs", "weights", "signature")},
        source=grurt.Source(
            format="tests", notes=(f"of format version {file_version(model.layers, model.inputs, model.signature)}",)
        ),
        reference_run=grurt.ReferenceRun(batch, answers, by),
    )


if __name__ == "__main__":
    for name, model in golden_models().items():
        if not (path := FOLDER / f"{name}.grurt").exists():
            with_answers(model).save(path)
