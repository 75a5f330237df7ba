"""A snapshot that must stay readable, and the stream that it was taken from.

``python tests/helpers/golden_snapshot.py`` writes ``tests/data/snapshot/stream.hex``: to be done again only when the
format or what identifies a model changes on purpose, because every snapshot that users keep becomes unreadable then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from paths import DATA

import grurt

FILE = DATA / "snapshot" / "stream.hex"

N_STEPS = 11


def model() -> grurt.Model:
    """Return a model whose weights are exact in float32 and made without a random generator."""
    layers = (
        grurt.Conv1d(name="conv", input_size=2, output_size=3, kernel_size=3, dilation=2),
        grurt.GRU(name="gru", input_size=3, hidden_size=5),
        grurt.Linear(name="head", input_size=5, output_size=2),
    )
    weights = {
        f"{layer.name}.{name}": sixteenths(shape) for layer in layers for name, shape in layer.weight_shapes().items()
    }
    return grurt.Model(layers=layers, weights=weights)


def inputs(n_steps: int) -> Any:
    """Return inputs ``(n_steps, 2)``."""
    return sixteenths((n_steps, 2))


def sixteenths(shape: tuple[int, ...]) -> Any:
    """Return multiples of 1/16 in [-15/16, 15/16], in an irregular order."""
    return ((np.arange(np.prod(shape)) * 12 % 31 - 15) / 16).astype(np.float32).reshape(shape)


if __name__ == "__main__":
    stream = model().stream()
    stream.run(inputs(N_STEPS))
    FILE.write_text(stream.snapshot().hex("\n", -32) + "\n")
