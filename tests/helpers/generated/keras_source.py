"""Random networks of Keras 3, on its backend of PyTorch: built, written to files, and asked."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch

from generated.routes import quiet
from generated.truth import Answer, Arrays, Source, answers_of, number_of, widened
from generated.writer import Program

ROUTES = {"keras": "keras", "h5": "h5"}


@dataclass(frozen=True)
class KerasSource(Source):
    """A functional model of Keras."""

    program: Program

    @cached_property
    def model(self) -> Any:
        model = built(self.program, "float32")
        rng = np.random.default_rng(number_of(self.program.seed))
        for weight in model.weights:
            low = 0.3 if "variance" in weight.path else -0.6
            weight.assign(rng.uniform(low, low + 1.2, weight.shape))
        return model

    @cached_property
    def wide(self) -> Any:
        """The same model, which computes in float64."""
        model = built(self.program, "float64")
        model.set_weights(self.model.get_weights())
        return model

    def answers(self, inputs: Arrays) -> list[Answer]:
        return answers_of(_called(self.model, inputs), _called(self.wide, widened(inputs)))


def built(program: Program, dtype: str) -> Any:
    names: dict[str, Any] = {}
    exec(program.source, names)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        return names["build"](keras, keras.layers, keras.ops)
    finally:
        keras.config.set_dtype_policy(before)


def export(source: KerasSource, route: str, folder: Path) -> Path:
    """Write a model's file."""
    path = folder / f"{source.program.family.replace(' ', '_')}.{ROUTES[route]}"
    with quiet():  # about the older format of files
        source.model.save(path)
    return path


def _called(model: Any, inputs: Arrays) -> list[torch.Tensor]:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of softmax of one number
        answers = model([inputs[tensor.name] for tensor in model.inputs])
    return [answer.detach() for answer in (answers if isinstance(answers, list | tuple) else [answers])]
