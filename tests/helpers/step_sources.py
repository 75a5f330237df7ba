"""Sources of one timestep of one sequence: tensors of static shapes whose axes have no meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grurt
from grurt.network.signature import DType, Port, Signature, StatePort, ValuePort

Shapes = Mapping[str, tuple[int, ...]]


def shown_as_step(
    model: grurt.Model,
    inputs: Shapes,
    outputs: Shapes,
    *,
    dtypes: Mapping[str, DType] | None = None,
    keeps_states: bool = True,
) -> grurt.Model:
    """Return a model whose source has these tensors.

    Parameters
    ----------
    model
        Any that streams.
    inputs, outputs
        Shapes by the model's own names.
    dtypes
        Those that are not float32, by the source's names.
    keeps_states
        Whether its states are inputs ``{name}_in`` and outputs ``{name}_out``, of the shapes that they have.
    """

    model = model.replaced(signature=None, reference_run=None)

    def index(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            "name": name,
            "dtype": (dtypes or {}).get(name, "float32"),
            "axes": ("index",) * len(shape),
            "shape": shape,
        }

    def states(end: str) -> tuple[Port, ...]:
        shapes = model.state_shapes if keeps_states else {}
        return tuple(StatePort(states=(name,), **index(f"{name}_{end}", shape)) for name, shape in shapes.items())

    given = (*(ValuePort(value=name, **index(name, shape)) for name, shape in inputs.items()), *states("in"))
    answered = (*(ValuePort(value=name, **index(name, shape)) for name, shape in outputs.items()), *states("out"))
    return model.replaced(signature=Signature(given, answered))
