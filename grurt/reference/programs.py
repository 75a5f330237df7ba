"""What a step program computes, one operator after the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grurt.array_types import Doubles
from grurt.network.contexts import given_values
from grurt.network.layers import Program
from grurt.reference.operators import OPERATORS

Arrays = dict[str, Doubles]


def program(
    layer: Program, constants: Mapping[str, Doubles], given: Mapping[str, Doubles], *sources: Doubles
) -> tuple[Doubles, Arrays]:
    """Return what a program writes, ``(n_steps, size)``, and its states after the last timestep by name.

    States that are not given begin as the program says; contexts are among what is given. Inputs are
    ``(n_steps, size)``.
    """
    states = {
        state.name: np.zeros(state.shape) if state.initial is None else constants[state.initial]
        for state in layer.states
    }
    states |= {name: array for name, array in given.items() if name in states}
    known = {**constants, **given_values(layer, given)}
    outputs = []
    for vectors in zip(*sources, strict=True):
        shaped = zip(layer.inputs, vectors, layer.input_shapes, strict=True)
        values = one_timestep(layer, {**known, **states, **{name: x.reshape(shape) for name, x, shape in shaped}})
        states = {state.name: values[state.result] for state in layer.states}
        outputs.append(np.concatenate([values[name].ravel() for name in layer.results]))
    return np.array(outputs), {name: np.array(state) for name, state in states.items()}


def one_timestep(layer: Program, values: Arrays) -> Arrays:
    """Return all values of a timestep by name, from its inputs, states and constants."""
    for operator in layer.operators:
        result = OPERATORS[type(operator)](operator, *(values[name] for name in operator.inputs))
        written = result if isinstance(result, tuple) else (result,)
        values |= {name: np.asarray(array) for name, array in zip(operator.outputs, written, strict=True) if name}
    return values
