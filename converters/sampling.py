"""Seeded inputs for reference runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grurt.network.inputs import AnyInput

SEED = 20240229
BATCH = 2
STEPS = 24


def sample_input(port: AnyInput, index: int = 0) -> NDArray[np.generic]:
    """Return a batch of sequences for a model input: ``(2, 24, size)`` float32, or ``(2, 24)`` int64 tokens.

    Features are standard normal numbers, tokens uniform; ``index`` tells the inputs of one model apart.
    """
    random = np.random.default_rng([SEED, index])
    if port.tokens:
        return random.integers(port.size, size=(BATCH, STEPS))
    return random.standard_normal((BATCH, STEPS, port.size), np.float32)
