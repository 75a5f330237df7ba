"""What the source of a model gives behind the ends of padded sequences, where its GRUs give zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from grurt.layers import GRU, AnyInput, AnyLayer, Input, Output, weights_of

if TYPE_CHECKING:
    from grurt.model import Model, Nonfinite

Array = NDArray[Any]


def fill_padding(
    model: Model, inputs: Mapping[str, Array], lengths: Array, outputs: Mapping[str, Array], nonfinite: Nonfinite
) -> None:
    """Write the answers behind the ends of sequences: what the layers after the GRUs make of zeros.

    Parameters
    ----------
    model
        A model whose source takes the lengths of padded sequences.
    inputs
        The model's inputs by name, ``(batch, n_steps, size)``, and tokens ``(batch, n_steps)``.
    lengths
        Valid timesteps of each sequence, ``(batch,)``.
    outputs
        The model's outputs by name. Those of ``(batch, n_steps, size)`` are written to, behind the ends only.
    nonfinite
        What a NaN or an infinity in an input does: see `Model.stream`.
    """
    n_steps = max((array.shape[1] for array in inputs.values()), default=0)
    if np.all(lengths == n_steps):
        return
    if model not in _SILENT:
        _SILENT[model] = _silent(model)
    silent = _SILENT[model]
    if silent is None:
        return
    from grurt.sequences import run_mapping

    feed = {
        port.name: np.zeros((len(lengths), n_steps, port.size), np.float32)
        for port in silent.inputs
        if isinstance(port, Input) and port.name not in inputs
    }
    given = {port.name: inputs[port.name] for port in silent.inputs if port.name in inputs}
    answers = run_mapping(silent, feed | given, lengths=None, nonfinite=nonfinite)
    for name, answer in answers.items():
        for row, length in enumerate(lengths):
            outputs[name][row, length:] = answer[row, length:]


_SILENT: WeakKeyDictionary[Model, Model | None] = WeakKeyDictionary()


def _silent(model: Model) -> Model | None:
    """Return the layers after the GRUs, whose values are inputs; None if no layer gives an output for each timestep."""
    from grurt.model import Model

    layers = {layer.name: layer for layer in model.layers}
    shown = [
        output
        for output in model.outputs
        if model.values[output.value].per_step and not isinstance(layers.get(output.value), GRU | None)
    ]
    needed = _needed(layers, shown)
    if not shown:
        return None
    kept = [layer for layer in model.layers if layer.name in needed and not isinstance(layer, GRU)]
    inputs: list[AnyInput] = [port for port in model.inputs if port.name in needed]
    inputs += [Input(name, model.values[name].size) for name in needed if isinstance(layers.get(name), GRU)]
    return Model(layers=kept, weights=weights_of(kept, model.weights), inputs=inputs, outputs=shown)


def _needed(layers: Mapping[str, AnyLayer], outputs: list[Output]) -> list[str]:
    """Return the names of the values that the outputs need, but for those that only GRUs read."""
    needed: list[str] = []
    open_values = [output.value for output in outputs]
    while open_values:
        value = open_values.pop()
        if value not in needed:
            needed.append(value)
            layer = layers.get(value)
            if layer is not None and not isinstance(layer, GRU):
                open_values.extend(layer.inputs)
    return needed
