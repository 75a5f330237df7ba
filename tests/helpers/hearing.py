"""How much of a recording is speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def noise_ratio(heard: Samples, speech: Samples) -> float:
    """Return the dB of the speech that is heard over all else that is heard."""
    heard, speech = heard.astype(np.float64), speech.astype(np.float64)
    kept = speech * (heard @ speech) / (speech @ speech)
    return float(10 * np.log10(np.sum(kept**2) / np.sum((heard - kept) ** 2)))
