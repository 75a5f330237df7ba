"""A trained network and real sensor recordings to try grurt with: what `grurt demo` plays.

The recordings come from the data set BasicMotions; ``README.md`` in this folder says who made it, and how the network
was trained.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grurt.array_types import Floats
from grurt.loading import load
from grurt.model import Model
from grurt.regular_files import open_regular_file

_FOLDER = Path(__file__).parent

MODEL_PATH = _FOLDER / "activity.grurt"
"""A GRU that reads the watch's raw samples and gives a probability for each activity."""

RECORDINGS_PATH = _FOLDER / "recordings.npz"


@dataclass(frozen=True)
class Recordings:
    """Recordings of a smart watch's accelerometer (channels 0 to 2) and gyroscope (channels 3 to 5)."""

    samples: Floats
    """Shape ``(n_recordings, n_steps, 6)``."""
    labels: NDArray[np.int64]
    """Which of ``classes`` each recording shows, ``(n_recordings,)``."""
    classes: tuple[str, ...]
    """The activities, in the order of the network's probabilities."""
    sample_rate: float
    """Samples a second."""


def load_model() -> Model:
    """Return the network that tells the activities apart."""
    return load(MODEL_PATH)


def load_recordings() -> Recordings:
    """Return the 40 test recordings, ten of each activity; the network has not been trained with them.

    Examples
    --------
    >>> from grurt.demo import load_recordings
    >>> recordings = load_recordings()
    >>> recordings.samples.shape, recordings.classes
    ((40, 100, 6), ('Standing', 'Running', 'Walking', 'Badminton'))
    """
    with open_regular_file(RECORDINGS_PATH) as file, np.load(file, allow_pickle=False) as arrays:
        return Recordings(
            samples=arrays["samples"],
            labels=arrays["labels"],
            classes=tuple(str(name) for name in arrays["classes"]),
            sample_rate=float(arrays["sample_rate"]),
        )
