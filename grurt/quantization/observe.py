"""What a model answers, and what its layers write, on recordings."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grurt.layers import Flatten, Output
from grurt.model import Model

if TYPE_CHECKING:
    from grurt.quantization.recordings import Recording

Floats = NDArray[np.float32]

Answers = dict[str, Floats]
"""By output ``(n, size)``: n is 1 for what a model that cannot stream says once, at the end of a sequence."""


def answers(model: Model, recording: Recording) -> Answers:
    """Return what the model answers to a recording, from its initial state.

    A model that can stream answers at every timestep, also where its head reads only the last one.
    """
    names = [output.name for output in model.outputs]
    if model.unstreamable_reason is None:
        xs: Any = recording if len(model.inputs) > 1 else recording[model.inputs[0].name]
        ys = model.stream().run(xs)
        return dict(ys) if len(names) > 1 else {names[0]: ys}
    batched: Any = _plain(model).run({name: xs[np.newaxis] for name, xs in recording.items()})
    return {name: np.atleast_2d(batched[name][0]) for name in names}


def exposed(model: Model, values: Collection[str]) -> Model:
    """Return the model with values, which must be layers', as its outputs of the same names; grids are flattened."""
    outputs, flat = [], []
    for name in values:
        value = name
        if model.values[value].positions > 1:
            value = unused_name(model, f"{name} flat")
            flat.append(Flatten(name=value, inputs=(name,)))
        outputs.append(Output(name, value))
    return Model(inputs=model.inputs, layers=[*model.layers, *flat], outputs=outputs, weights=model.weights)


def unused_name(model: Model, name: str) -> str:
    """Return a name that nothing in the model has: this one, or a longer one."""
    while name in model.values:
        name += "_"
    return name


def _plain(model: Model) -> Model:
    """Return the model without its source's signature: batch first, and under its own names."""
    return Model(inputs=model.inputs, layers=model.layers, outputs=model.outputs, weights=model.weights)
