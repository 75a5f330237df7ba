"""How well a network's answers are determined: how far they move if its weights and inputs are rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt import reference
from grurt.network.signature import StatePort
from grurt.runtime.replayed import sequences

if TYPE_CHECKING:
    from grurt.array_types import Array, Doubles
    from grurt.network.network import Network
    from grurt.network.reference_run import Arrays, ReferenceRun

UNITS = {"float64": 2.0**-24, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""The unit of a precision: half the distance of neighbouring numbers, in proportion. grurt's own is that of float32."""

_DRAWS = 4

_MAX_CALLS, _MAX_PRODUCTS = 1 << 14, 1 << 32
"""How many layers are computed, and numbers multiplied, at all timesteps together, for each draw: seconds in NumPy."""


def movement(network: Network, run: ReferenceRun, unit: float) -> float:
    """Return how far answers move, as `Verification.errors` are measured, if all numbers are moved by one unit.

    Weights, inputs and initial states are moved up or down at random, and the float64 reference computes what becomes
    of that; the farthest of some draws counts. Rounding them is such a movement, which every implementation does in its
    own way: a network that amplifies it is ill-conditioned, and its answers are known no better. An answer itself is
    rounded, too, so that it is one unit at least.
    """
    n_steps = sum(max(map(len, each.inputs.values())) for each in sequences(network, run.inputs)[1])
    if n_steps * len(network.layers) > _MAX_CALLS or n_steps * network.costs.multiply_adds > _MAX_PRODUCTS:
        return unit
    rng = np.random.default_rng(0)
    scales = {name: max(1.0, float(np.max(np.abs(array)))) for name, array in run.outputs.items()}

    def moved(array: Array) -> Array:
        if array.dtype.kind != "f":
            return array
        largest = np.finfo(np.float32).max
        signs = rng.integers(2, size=array.shape) * 2 - 1
        near: Array = (array * (1 + unit * signs)).clip(-largest, largest).astype(np.float32)
        return near

    with np.errstate(all="ignore"):  # hostile weights
        expected = _answers(network, run, run.inputs)
        farthest = unit
        for _ in range(_DRAWS):
            weights = {name: moved(array) for name, array in network.weights.items()}
            inputs = {name: moved(array) for name, array in run.inputs.items()}
            found = _answers(network.replaced(weights=weights, reference_run=None), run, inputs)
            farthest = max(farthest, *(np.max(np.abs(found[n] - expected[n])) / scales[n] for n in scales))
    return float(farthest)


def _answers(network: Network, run: ReferenceRun, given: Arrays) -> dict[str, Doubles]:
    """Return the reference's answers in all sequences, flat, by the names of the run's outputs."""
    found: dict[str, list[Doubles]] = {name: [] for name in run.outputs}
    for each in sequences(network, given)[1]:
        outputs, final = reference.run(network, each.inputs, each.states)
        for port in network.signature.outputs:
            if port.name in found:
                answers = (
                    [final[name] for name in port.states] if isinstance(port, StatePort) else [outputs[port.value]]
                )
                found[port.name] += [answer.ravel() for answer in answers]
    return {name: np.concatenate(answers) for name, answers in found.items()}
