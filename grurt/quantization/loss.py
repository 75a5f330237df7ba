"""How much a model loses by quantization: its answers beside those of the float32 model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grurt.array_types import Doubles
from grurt.errors import QuantizationError
from grurt.quantization.observe import Answers, answers
from grurt.quantization.recordings import MAX_NUMBERS, Data, Recordings, input_width, random_recordings, recordings

if TYPE_CHECKING:
    from grurt.network.network import Network


LONG_STREAM = 10_000
"""Timesteps of the long stream."""


@dataclass(frozen=True)
class Difference:
    """What one value of a model differs by, over all timesteps and features."""

    name: str
    decibels: float
    """Energy of the float32 model's answers over that of the error: more is better, infinite if there is none."""
    largest: float
    """The largest absolute error."""
    mean: float
    """The mean absolute error."""
    agreement: float | None
    """At how many of the timesteps the largest feature is the same, from 0 to 1; None for a single feature."""


@dataclass(frozen=True)
class Span:
    """A span of the long stream: timesteps ``first`` to ``last``, counted from 1, and the outputs' errors there."""

    first: int
    last: int
    outputs: tuple[Difference, ...]


@dataclass(frozen=True)
class Loss:
    """What a quantized model loses."""

    outputs: tuple[Difference, ...]
    spans: tuple[Span, ...]
    """How the error moves over time on one long stream; empty for a model that cannot stream."""
    data: str
    """What it was measured on."""

    @property
    def worst(self) -> Difference:
        """The output with the least decibels."""
        return min(self.outputs, key=lambda output: output.decibels)


def loss(
    model: Network, quantized: Network, data: Data | Recordings | None = None, *, steps: int = LONG_STREAM
) -> Loss:
    """Compare a quantized model's answers with those of the float32 model that it was made from.

    Parameters
    ----------
    model, quantized
        The two models.
    data
        Sequences of the model's inputs: one ``(n_steps, size)``, a batch ``(batch, n_steps, size)``, for several inputs
        a mapping of those by name, or a list of such; without the last axis for tokens. By default eight random
        sequences of 200 timesteps from a fixed seed, of standard normal features and uniform tokens.
    steps
        Timesteps of one more, long stream, on which the error is followed: of the data end to end, over and over.

    Raises
    ------
    QuantizationError
        If the data do not fit the model, or the long stream would have more than 2^28 numbers.

    Examples
    --------
    >>> from grurt.demo import load_model, load_recordings
    >>> from grurt.quantization import loss
    >>> model, samples = load_model(), load_recordings().samples
    >>> found = loss(model, model.quantize("int8"), samples, steps=1000)
    >>> found.worst.name, found.worst.decibels > 40, found.worst.agreement > 0.98
    ('probabilities', True, True)
    >>> [(span.first, span.last) for span in found.spans]
    [(1, 10), (11, 100), (101, 1000)]
    """
    used = random_recordings(model) if data is None else recordings(model, data)
    outputs = compare((answers(model, sequence), answers(quantized, sequence)) for sequence in used.sequences)
    steps = min(steps, model.most_steps or steps)
    spans = () if model.unstreamable_reason else _spans(model, quantized, used, steps)
    return Loss(outputs, spans, used.origin)


def compare(pairs: Iterable[tuple[Answers, Answers]]) -> tuple[Difference, ...]:
    """Return the differences of all values, by name, over pairs of a float32 model's answers and a quantized one's."""
    sums: dict[str, _Sums] = {}
    for expected, found in pairs:
        for name, wanted in expected.items():
            sums.setdefault(name, _Sums()).add(wanted.astype(np.float64), found[name].astype(np.float64))
    return tuple(of_value.difference(name) for name, of_value in sums.items())


class _Sums:
    """What a `Difference` is made of, added up over arrays ``(n, size)``."""

    def __init__(self) -> None:
        self._signal = self._error = self._absolute = self._largest = 0.0
        self._timesteps = self._size = self._same = 0

    def add(self, wanted: Doubles, got: Doubles) -> None:
        error = np.abs(got - wanted)
        self._signal += float((wanted**2).sum())
        self._error += float((error**2).sum())
        self._absolute += float(error.sum())
        self._largest = float(np.maximum(self._largest, error.max()))
        self._timesteps += len(wanted)
        self._size = wanted.shape[1]
        self._same += int((wanted.argmax(axis=1) == got.argmax(axis=1)).sum())

    def difference(self, name: str) -> Difference:
        return Difference(
            name=name,
            decibels=_decibels(self._signal, self._error),
            largest=self._largest,
            mean=self._absolute / (self._timesteps * self._size),
            agreement=self._same / self._timesteps if self._size > 1 else None,
        )


def _decibels(signal: float, error: float) -> float:
    if error == 0:
        return math.inf
    # What is not a number is as bad as can be.
    return 10 * math.log10(signal / error) if signal > 0 and math.isfinite(error) else -math.inf


def _spans(model: Network, quantized: Network, data: Recordings, steps: int) -> tuple[Span, ...]:
    width = input_width(model) + sum(model.values[output.value].size for output in model.outputs)
    if steps * width > MAX_NUMBERS:
        raise QuantizationError(
            f"steps: expected a long stream of at most {MAX_NUMBERS // width:,} timesteps, as each has {width:,} "
            f"numbers of inputs and outputs, got {steps:,}"
        )
    xs = data.joined(steps, [port.name for port in model.inputs])
    expected, found = answers(model, xs), answers(quantized, xs)
    ends = [*(10**k for k in range(1, math.ceil(math.log10(steps)))), steps] if steps > 1 else [1]
    return tuple(
        Span(
            first + 1,
            last,
            compare([(_between(expected, first, last), _between(found, first, last))]),
        )
        for first, last in zip([0, *ends], ends, strict=False)
    )


def _between(answers: Answers, first: int, last: int) -> Answers:
    return {name: ys[first:last] for name, ys in answers.items()}
