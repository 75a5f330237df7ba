"""The network that every contender runs: one GRU layer with random weights, and what it should answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Network:
    """One GRU layer as PyTorch computes it, the reset gate applied to the recurrent product.

    Weights are rows of the gates z, r, n: ``w (3 * hidden_size, input_size)``, ``r (3 * hidden_size, hidden_size)``,
    and the biases ``b`` of the input and ``c`` of the recurrence, both ``(3 * hidden_size,)``.
    """

    w: Floats
    r: Floats
    b: Floats
    c: Floats

    @property
    def input_size(self) -> int:
        """Features of a timestep."""
        return int(self.w.shape[1])

    @property
    def hidden_size(self) -> int:
        """Units of the state, which is also the answer."""
        return int(self.r.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Input size and hidden size: what results are filed under."""
        return self.input_size, self.hidden_size

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products of one timestep, multiplications and additions."""
        return 2 * (self.w.size + self.r.size)


def random_network(input_size: int, hidden_size: int, seed: int = 0) -> Network:
    """Return a network as PyTorch initializes it: all uniform within ``1 / sqrt(hidden_size)``."""
    rng = np.random.default_rng([seed, input_size, hidden_size])
    bound = 1 / np.sqrt(hidden_size)
    rows = 3 * hidden_size
    shapes = ((rows, input_size), (rows, hidden_size), (rows,), (rows,))
    return Network(*(rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes))


def fading_network(input_size: int, hidden_size: int, seed: int = 0) -> Network:
    """Return a network whose state fades to zero while the input is zero, by about 2 % a timestep.

    Only z has a bias, which is large, as it is in networks with a long memory. A state that fades so ends among the
    denormal numbers: the smallest ones lose less than half a unit in the last place a timestep, and stay.
    """
    network = random_network(input_size, hidden_size, seed)
    b = np.zeros_like(network.b)
    b[:hidden_size] = 4.0
    return Network(network.w, 0.5 * network.r, b, np.zeros_like(network.c))


def timestep(network: Network, x: NDArray[np.floating], h: Doubles) -> Doubles:
    """Return the state after a timestep, in float64, in the form of Cho et al. 2014.

    x is ``(..., input_size)``, h and the result are ``(..., hidden_size)``.
    """
    size = network.hidden_size
    p = x.astype(np.float64) @ network.w.T.astype(np.float64) + network.b
    q = h @ network.r.T.astype(np.float64) + network.c
    z = 1 / (1 + np.exp(-(p[..., :size] + q[..., :size])))
    r = 1 / (1 + np.exp(-(p[..., size : 2 * size] + q[..., size : 2 * size])))
    n = np.tanh(p[..., 2 * size :] + r * q[..., 2 * size :])
    new: Doubles = (1 - z) * n + z * h
    return new


def halves(x: Floats) -> tuple[Floats, Floats]:
    """Return the two inputs of a network that joins them, as views of the features that it joins them to."""
    return x[: len(x) // 2], x[len(x) // 2 :]
