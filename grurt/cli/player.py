"""Plays recordings through a network sample by sample, and keeps the score: what `grurt demo` shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from grurt.array_types import Floats
from grurt.demo import Recordings
from grurt.model import Model


@dataclass(frozen=True)
class Verdict:
    """The network's answer after the last sample of a recording."""

    activity: str
    answer: str
    probability: float

    @property
    def right(self) -> bool:
        """Whether the network recognised the activity."""
        return self.answer == self.activity


@dataclass(frozen=True)
class Moment:
    """The network's answer after a sample."""

    number: int
    """Which recording it is, from 1, in the order in which they are played."""
    recording: int
    """Index into the recordings."""
    step: int
    """Index of the sample in the recording."""
    probabilities: Floats
    verdict: Verdict | None
    """At the last sample of the recording."""


@dataclass(frozen=True)
class Score:
    """What the demo ends with."""

    recordings: int
    right: int
    microseconds_per_sample: float
    """The median."""
    times_real_time: float


class Player:
    """Plays all recordings once, the activities in turn.

    Parameters
    ----------
    model
        Reads a sample, gives a probability for each activity.
    recordings
        What is played.
    """

    def __init__(self, model: Model, recordings: Recordings) -> None:
        self._model = model
        self.recordings = recordings
        self.order = _in_turn(recordings.labels)
        self.verdicts: list[Verdict] = []
        """On the recordings that have been played to their end, in that order."""

    def __iter__(self) -> Iterator[Moment]:
        stream = self._model.stream()
        for number, recording in enumerate(self.order, 1):
            samples = self.recordings.samples[recording]
            stream.reset()
            for step, sample in enumerate(samples):
                probabilities = stream.step(sample)
                verdict = self._verdict(recording, probabilities) if step == len(samples) - 1 else None
                if verdict:
                    self.verdicts.append(verdict)
                yield Moment(number, recording, step, probabilities, verdict)

    @property
    def right(self) -> int:
        """How many recordings the network has recognised so far."""
        return sum(verdict.right for verdict in self.verdicts)

    def score(self) -> Score:
        """Return the score so far; this takes the time to play all recordings once more, without showing them."""
        microseconds = _microseconds_per_sample(self._model, self.recordings)
        return Score(
            recordings=len(self.verdicts),
            right=self.right,
            microseconds_per_sample=microseconds,
            times_real_time=1e6 / self.recordings.sample_rate / microseconds,
        )

    def _verdict(self, recording: int, probabilities: Floats) -> Verdict:
        classes = self.recordings.classes
        best = int(probabilities.argmax())
        return Verdict(classes[self.recordings.labels[recording]], classes[best], float(probabilities[best]))


def _microseconds_per_sample(model: Model, recordings: Recordings) -> float:
    """Return the median time of one `Stream.step`, over all samples, with nothing done in between."""
    stream = model.stream()
    durations = []
    for samples in recordings.samples:
        stream.reset()
        for sample in samples:
            start = perf_counter_ns()
            stream.step(sample)
            durations.append(perf_counter_ns() - start)
    return median(durations) / 1000


def _in_turn(labels: NDArray[np.int64]) -> list[int]:
    """Return the indices of the recordings so that the activities alternate."""
    turns = [int((labels[:index] == label).sum()) for index, label in enumerate(labels)]
    return sorted(range(len(labels)), key=lambda index: (turns[index], labels[index]))
