"""Proves that a contender computes the GRU, before anything is timed."""

import numpy as np

from benchmarks.contenders import Contender, Prepared, Weights, Workload
from benchmarks.network import Doubles, Floats, Network, timestep
from benchmarks.timing import looped

TOLERANCE = 1e-5
"""Allowed difference to float64. Rounding to float32 gives 1e-6 at most here, computing in bfloat16 more than 1e-3."""

TOLERANCES: dict[Weights, float] = {"float32": TOLERANCE, "float16": 1e-3, "int8": 0.05, "int4": 0.2}
"""By format of the weights: rounding those is meant, and a mistake costs more."""

STEPS = {Workload.STEP: 100, Workload.SEQUENCE: 1, Workload.STREAMS: 20}
"""How many answers are compared: of steps, with the state carried from each to the next."""


class DisagreementError(Exception):
    """A contender's answers are not those of the network."""


def prove(contender: Contender, prepared: Prepared, network: Network) -> float:
    """Compare a contender's answers to random inputs with the float64 GRU, and return the largest difference.

    Parameters
    ----------
    contender, prepared
        The contender, and what it was prepared to; it has answered nothing yet.
    network
        What it should compute.

    Raises
    ------
    DisagreementError
        If a difference is above the tolerance, or an answer is not a number.
    """
    rng = np.random.default_rng(1)
    loop = looped(prepared)
    rows = prepared.x.size // network.input_size
    h = np.zeros((rows, network.hidden_size))
    largest = 0.0
    for _ in range(STEPS[contender.workload]):
        xs = rng.standard_normal((rows, network.input_size)).astype(np.float32)
        prepared.x[...] = xs.reshape(prepared.x.shape)
        loop(1)
        if contender.workload is Workload.SEQUENCE:
            expected = whole_sequence(network, xs)
        else:
            expected = h = timestep(network, xs, h)
        difference = float(np.abs(prepared.last_answer() - expected.reshape(-1)).max())
        if not difference <= TOLERANCES[contender.weights]:
            raise DisagreementError(f"{contender.name} at {network.size}: differs from float64 by {difference:.1e}")
        largest = max(largest, difference)
    return largest


def whole_sequence(network: Network, xs: Floats) -> Doubles:
    """Return the answers ``(..., n_steps, hidden_size)`` to sequences ``(..., n_steps, input_size)``, in float64."""
    h = np.zeros((*xs.shape[:-2], network.hidden_size))
    return np.stack([h := timestep(network, x, h) for x in np.moveaxis(xs, -2, 0)], axis=-2)
