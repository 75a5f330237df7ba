"""NumPy with preallocated arrays: what a GRU written by hand reaches."""

from collections.abc import Callable

import numpy as np

from benchmarks.contenders.base import Contender, Prepared, Workload
from benchmarks.network import Floats, Network


def preallocated(network: Network, x: Floats) -> Prepared:
    """Call a function that computes a timestep in place, for one row or many."""
    h = np.zeros((*x.shape[:-1], network.hidden_size), np.float32)
    return Prepared("step(x)", "h", {"step": _timestep(network, h), "x": x, "h": h}, x)


def _timestep(network: Network, h: Floats) -> Callable[[Floats], None]:
    """Return a function of x that updates h; sigmoids are ``(1 + tanh(a / 2)) / 2``, halved in the weights."""
    size = network.hidden_size
    half = np.repeat(np.array([0.5, 0.5, 1.0], np.float32), size)
    w, b, c = np.ascontiguousarray(network.w.T * half), network.b * half, network.c * half
    r = np.ascontiguousarray(network.r.T * half)
    p, q = np.empty((2, *h.shape[:-1], 3 * size), np.float32)
    gates, candidate = p[..., : 2 * size], p[..., 2 * size :]
    z, reset = p[..., :size], p[..., size : 2 * size]
    q_gates, q_candidate = q[..., : 2 * size], q[..., 2 * size :]
    half_one = np.float32(0.5)

    def timestep(x: Floats) -> None:
        np.dot(x, w, out=p)
        np.dot(h, r, out=q)
        np.add(p, b, out=p)
        np.add(q, c, out=q)
        np.add(gates, q_gates, out=gates)
        np.tanh(gates, out=gates)
        np.multiply(gates, half_one, out=gates)
        np.add(gates, half_one, out=gates)
        np.multiply(reset, q_candidate, out=q_candidate)
        np.add(candidate, q_candidate, out=candidate)
        np.tanh(candidate, out=candidate)
        np.subtract(h, candidate, out=h)
        np.multiply(h, z, out=h)
        np.add(h, candidate, out=h)

    return timestep


CONTENDERS = (
    Contender("numpy, preallocated", Workload.STEP, preallocated),
    Contender("numpy, preallocated", Workload.STREAMS, preallocated),
)
