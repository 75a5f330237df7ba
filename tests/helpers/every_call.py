"""Answers by every way to call a model: the same bytes whichever engine runs the kernels.

``python tests/helpers/every_call.py answers.npz model.grurt ...`` writes them to a file. It needs nothing but grurt.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import grurt

N_STREAMS = 3
N_STEPS = 40


def answers(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the answers and snapshots of models with one input and one output, by the names of file and call."""
    found: dict[str, Any] = {}
    for path in paths:
        found |= {f"{path.name}, {name}": answer for name, answer in _answers(grurt.load(path)).items()}
    return found


def _answers(model: grurt.Model) -> dict[str, Any]:
    (port,) = model.inputs
    xs = np.random.default_rng(7).normal(size=(N_STREAMS, N_STEPS, port.size)).astype(np.float32)
    stream = model.stream()
    steps = [np.array(stream.step(x)) for x in xs[0, : N_STEPS // 2]]
    saved = stream.snapshot()
    blocks = [stream.run(block) for block in np.array_split(xs[0, N_STEPS // 2 :], 3)]
    restored = model.stream()
    restored.restore(saved)
    pool = model.pool(N_STREAMS)
    ids = np.arange(N_STREAMS)
    together = [pool.step(ids, np.ascontiguousarray(xs[:, t])) for t in range(N_STEPS // 2)]
    return {
        "step": np.array(steps),
        "run": np.concatenate(blocks),
        "snapshot": np.frombuffer(saved, np.uint8),
        "restored": np.array([restored.step(x) for x in xs[0, N_STEPS // 2 :]]),
        "pool.step": np.stack(together),
        "pool.run": pool.run(ids, np.ascontiguousarray(xs[:, N_STEPS // 2 :])),
        "model.run": model.run(xs[:1]),
        "model.run of a mapping": next(iter(model.run({port.name: xs[:2, :5]}).values())),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **answers([Path(path) for path in sys.argv[2:]]))
