"""What a model answers, and what its layers write, on recordings."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.array_types import Floats
from grurt.network.frames import frames_of
from grurt.network.inputs import Output
from grurt.network.layers import Flatten
from grurt.network.network import N, Network, once_per_network
from grurt.runtime.sequences import run_mapping
from grurt.runtime.stream import Stream

if TYPE_CHECKING:
    from grurt.quantization.recordings import Recording


Answers = dict[str, Floats]
"""By output ``(n, size)``: n is 1 for what a model that cannot stream says once, at the end of a sequence."""


def answers(model: Network, recording: Recording) -> Answers:
    """Return what the model answers to a recording, from its initial state.

    A model that can stream answers at every timestep, also where its head reads only the last one, unless the recording
    is longer than a stream of it may be.
    """
    names = [output.name for output in model.outputs]
    n_steps = len(recording[model.inputs[0].name])
    if model.unstreamable_reason is None and n_steps <= (model.most_steps or n_steps):
        context = {name: recording[name] for name in model.context_shapes} or None
        xs: Any = {port.name: recording[port.name] for port in model.inputs}
        if len(xs) == 1:
            (xs,) = xs.values()
        ys = Stream(model if frames_of(model).are_vectors else _plain(model), context=context).run(xs)
        return dict(ys) if len(names) > 1 else {names[0]: ys}
    batched: Any = run_mapping(
        _plain(model), {name: xs[np.newaxis] for name, xs in recording.items()}, lengths=None, nonfinite="refuse"
    )
    return {name: np.atleast_2d(batched[name][0]) for name in names}


def exposed(model: N, values: Collection[str]) -> N:
    """Return the model with values, which must be layers', as its outputs of the same names; grids are flattened."""
    outputs, flat = [], []
    for name in values:
        value = name
        if model.values[value].positions > 1:
            value = unused_name(model, f"{name} flat")
            flat.append(Flatten(name=value, inputs=(name,)))
        outputs.append(Output(name, value))
    return model.replaced(layers=[*model.layers, *flat], outputs=outputs, signature=None, reference_run=None)


def unused_name(model: Network, name: str) -> str:
    """Return a name that nothing in the model has: this one, or a longer one."""
    while name in model.values:
        name += "_"
    return name


@once_per_network
def _plain(model: Network) -> Network:
    """Return the model without its source's signature: batch first, and under its own names."""
    return model.replaced(signature=None, reference_run=None)
