"""What a step costs beside its arithmetic: no memory, and no more time than so many calls of an empty function."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import models
import numpy as np
import pytest
import step_overhead


@pytest.mark.slow
def test_a_steps_overhead_has_not_grown_by_half() -> None:
    """In a process of its own: what a step costs is compared with an empty call, and not with what tests have left."""
    script = [sys.executable, step_overhead.__file__]
    found = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    assert not step_overhead.grown(found), f"expected about {step_overhead.RATIOS}, got {found}"


def peak_bytes(call: Callable[[], object]) -> int:
    """Return how much more memory there is at most during calls than before, as Python and NumPy account for it."""
    for _ in range(20):
        call()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_a_step_allocates_nothing() -> None:
    """That kernels call no allocator is seen in their object files: see test_export.py."""
    model = models.gru_model(3, 20, np.random.default_rng(101), n_layers=2, output_size=2)
    stream, pool = model.stream(), model.pool(8)
    x, out = np.zeros(3, np.float32), np.zeros(2, np.float32)
    xs, outs, ids = np.zeros((8, 3), np.float32), np.zeros((8, 2), np.float32), np.arange(8)
    nothing = peak_bytes(lambda: None)
    assert peak_bytes(lambda: stream.step(x, out)) == nothing
    assert peak_bytes(lambda: stream.advance()) == nothing
    assert peak_bytes(lambda: pool.step(ids, xs, outs)) == nothing
    assert nothing < peak_bytes(lambda: stream.step(x)) < nothing + 500  # the answer
