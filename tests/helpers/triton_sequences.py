"""What Triton's clients find of sequences, whichever way they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from grurt.demo import load_model, load_recordings

SAMPLES = load_recordings().samples
EXPECTED = load_model().run(SAMPLES)


def expect_a_sequence_keeps_its_state(infer: Callable[..., Any], sequence: int | str) -> None:
    """Check that a sequence of the demo's samples has the answers of a stream, twice, and does not begin by itself."""
    for _ in range(2):
        for t in range(20):
            answer = infer(SAMPLES[3, t : t + 1], sequence_id=sequence, sequence_start=t == 0, sequence_end=t == 19)
            np.testing.assert_array_equal(answer, EXPECTED[3, t : t + 1])
    with pytest.raises(InferenceServerException, match="must specify the START flag"):
        infer(SAMPLES[3, 0], sequence_id=sequence)
