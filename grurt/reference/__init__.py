"""What a model computes, in slow float64 NumPy: the definition that the engine is compared with.

Every layer stands here as its paper or ONNX operator has it, and shares no code with the engine. Weights in fewer bits
are taken for the numbers that they stand for: what the engine loses by rounding the features too is not part of it.

Examples
--------
>>> import numpy as np
>>> from grurt import reference
>>> from grurt.demo import load_model, load_recordings
>>> model, samples = load_model(), load_recordings().samples[0]
>>> expected = reference.step_outputs(model, {"samples": samples})["probabilities"]
>>> float(np.abs(model.stream().run(samples) - expected).max()) < 1e-6
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from grurt.array_types import Array, Doubles
from grurt.errors import InputShapeError, StreamingError
from grurt.network.layers import AnyLayer, Program
from grurt.network.network import Network
from grurt.network.represented import represented
from grurt.reference.checks import checked_inputs, checked_states
from grurt.reference.functions import function
from grurt.reference.layers import LAYERS, RECURRENT
from grurt.reference.programs import program

__all__ = ["function", "run", "step_outputs"]

States = dict[str, Doubles]


def run(
    model: Network, inputs: Mapping[str, ArrayLike], states: Mapping[str, ArrayLike] | None = None
) -> tuple[dict[str, Doubles], States]:
    """Run one whole sequence.

    Parameters
    ----------
    model
        A model of any kind, also one that cannot stream.
    inputs
        Features ``(n_steps, size)`` or tokens ``(n_steps,)`` by the model's input names; inputs that a layer reads
        together have one number of timesteps. Of a grid, one position after the other, as the layers have it.
    states
        Replaces the initial states that it names: shapes as `grurt.Stream.state` has them. Contexts are to be among
        them, all.

    Returns
    -------
    The outputs by name, ``(n_steps, size)`` or, behind LastStep and FirstStep, ``(size,)``; and the states after the
    last timestep by name. All are float64, new, and the caller's own.

    Raises
    ------
    InputShapeError, InputTypeError, InputValueError
        If an input or state does not fit.
    """
    pick = {"last_step": _last, "time_pooling": _last, "first_step": lambda xs: xs[0]}
    return _evaluate(model, inputs, states or {}, pick)


def step_outputs(
    model: Network, inputs: Mapping[str, ArrayLike], states: Mapping[str, ArrayLike] | None = None
) -> dict[str, Doubles]:
    """Run one sequence, and return the outputs ``(n_steps, size)`` as a stream gives them.

    Behind LastStep that is the latest timestep, the answer so far. Arguments and errors are those of `run`.

    Raises
    ------
    StreamingError
        If the model cannot stream.
    """
    if model.unstreamable_reason is not None:
        raise StreamingError(f"reference: the model cannot stream: {model.unstreamable_reason}; use reference.run")
    return _evaluate(model, inputs, states or {}, {"last_step": lambda xs: xs})[0]


def _last(xs: Doubles) -> Doubles:
    return xs[-1]


def _evaluate(
    model: Network,
    inputs: Mapping[str, ArrayLike],
    states: Mapping[str, ArrayLike],
    pick: Mapping[str, Callable[[Doubles], Doubles]],
) -> tuple[dict[str, Doubles], States]:
    values = checked_inputs(model, inputs)
    given = checked_states(model, states)
    final: States = {}
    for layer in model.layers:
        sources = _side_by_side(model, layer, [values[name] for name in layer.inputs])
        weights = represented(layer, model.weights)
        shapes = model.states_of(layer)
        if layer.rearranges and model.values[layer.inputs[0]].positions == model.values[layer.name].positions:
            values[layer.name] = sources[0]
        elif layer.kind in pick and not shapes:
            values[layer.name] = pick[layer.kind](sources[0])
        elif isinstance(layer, Program):
            values[layer.name], ends = program(layer, weights, given, *sources)
            final |= ends
        elif not shapes:
            values[layer.name] = LAYERS[type(layer)](layer, weights, *sources)
        else:
            initial = sources.pop() if layer.handed_state else weights.get("initial_state", np.zeros(()))
            start = {name: given.get(name, np.broadcast_to(initial, shape)) for name, shape in shapes.items()}
            value, ends = RECURRENT[type(layer)](layer, weights, *sources, start)
            values[layer.name] = pick[layer.kind](value) if layer.kind in pick else value
            final |= ends
    return {output.name: np.array(values[output.value]) for output in model.outputs}, final


def _side_by_side(model: Network, layer: AnyLayer, sources: list[Array]) -> list[Array]:
    """Repeat the vectors of other sequences at every timestep of the layer's own; but not a GRU's initial state."""
    if layer.begins_sequence or not model.values[layer.name].per_step:
        return sources
    lengths = {len(x) for name, x in zip(layer.inputs, sources, strict=True) if model.values[name].per_step}
    if len(lengths) > 1:
        raise InputShapeError(
            f"reference: layer {layer.name!r}: expected inputs of one number of timesteps, got {sorted(lengths)}"
        )
    (n_steps,) = lengths
    return [
        source
        if model.values[name].per_step or name == layer.handed_state
        else np.broadcast_to(source, (n_steps, *source.shape))
        for name, source in zip(layer.inputs, sources, strict=True)
    ]
