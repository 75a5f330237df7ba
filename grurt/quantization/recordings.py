"""Recordings of a model's inputs, to calibrate and to measure with: the user's own, or made at random."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grurt.array_types import Array
from grurt.errors import InputShapeError, InputTypeError, InputValueError, QuantizationError
from grurt.escaping import described, listed
from grurt.network.frames import Frame, frames_of
from grurt.network.inputs import AnyInput
from grurt.runtime import arrays
from grurt.runtime.foreign import was_raised_below

if TYPE_CHECKING:
    from grurt.network.layers.base import Shape
    from grurt.network.network import Network


Recording = Mapping[str, Array]
"""One sequence for every model input, by its name: the model's vectors ``(n_steps, size)`` float32, or tokens
``(n_steps,)``. Behind them, what the model is given once, its contexts by name."""

Data = Array | Mapping[str, Array] | Sequence[Array | Mapping[str, Array]]
"""What users give: one sequence ``(n_steps, size)`` or a batch ``(batch, n_steps, size)``, without the last axis for
tokens, and with both axes of a grid; for several inputs, or contexts, a mapping of those by name, in which a context is
one array for all sequences; or a list of such."""

SEED = 5
SEQUENCES = 8
STEPS = 200

MAX_NUMBERS = 1 << 28
"""Numbers of a long stream, of all inputs and outputs together: 1 GiB as float32."""

_MAX_RANDOM = 1 << 24
"""Numbers of all random sequences together; wide inputs have fewer timesteps for it."""


@dataclass(frozen=True)
class Recordings:
    """Sequences that a model is run on, each from its initial state."""

    sequences: tuple[Recording, ...]
    origin: str
    """Where they come from, as a report says it."""

    @property
    def steps(self) -> int:
        """Timesteps in all, of the first input."""
        return sum(len(next(iter(sequence.values()))) for sequence in self.sequences)

    def joined(self, n_steps: int, names: Collection[str]) -> Recording:
        """Return one long sequence of the inputs ``names``, and the contexts of the first one.

        It is these, end to end, again from the first one when they are through.
        """
        shortest = min(sum(len(sequence[name]) for sequence in self.sequences) for name in names)
        repeated = self.sequences * -(-n_steps // shortest)
        joined = {name: np.concatenate([sequence[name] for sequence in repeated])[:n_steps] for name in names}
        return {**self.sequences[0], **joined}


def random_recordings(model: Network) -> Recordings:
    """Return eight sequences from a fixed seed: standard normal features, uniform tokens.

    They have 200 timesteps, or fewer where these would hold more than 16 million numbers.
    """
    rng = np.random.default_rng(SEED)
    steps = max(1, min(STEPS, _MAX_RANDOM // (SEQUENCES * input_width(model))))
    contexts = model.context_shapes
    sequences = tuple(
        {port.name: _random(port, steps, rng) for port in model.inputs}
        | {name: rng.standard_normal(shape, np.float32) for name, shape in contexts.items()}
        for _ in range(SEQUENCES)
    )
    tokens = [port.tokens for port in model.inputs]
    kinds = ["standard normal features"] * (not all(tokens)) + ["uniform tokens"] * any(tokens)
    return Recordings(sequences, f"{SEQUENCES} random sequences of {steps} timesteps: {', '.join(kinds)}")


def input_width(model: Network) -> int:
    """Return how many numbers a timestep of all inputs has."""
    return sum(math.prod(port.vector_shape) for port in model.inputs)


def _random(port: AnyInput, steps: int, rng: np.random.Generator) -> Array:
    if port.tokens:
        return rng.integers(port.size, size=steps)
    return rng.standard_normal((steps, port.size), np.float32)


def recordings(model: Network, data: Data | Recordings, where: str = "calibration") -> Recordings:
    """Return what a user gave as recordings for a model; messages begin with ``where``.

    Raises
    ------
    QuantizationError
        If an array has not the shape or the dtype of the input, holds a NaN, an infinity or a token that does not
        exist, or there is nothing at all.
    """
    if isinstance(data, Recordings):
        return data
    parts = [data] if isinstance(data, np.ndarray | Mapping) else _listed(data, where)
    sequences = tuple(sequence for part in parts for sequence in _sequences(model, part, where))
    if not sequences:
        raise QuantizationError(f"{where}: expected at least one sequence, got none")
    found = Recordings(sequences, "")
    return Recordings(sequences, f"{len(sequences)} sequences given, {found.steps:,} timesteps in all")


def _listed(data: Iterable[Array | Mapping[str, Array]], where: str) -> list[Array | Mapping[str, Array]]:
    try:
        return list(data)
    except TypeError as error:
        if was_raised_below(error):
            raise
        raise QuantizationError(
            f"{where}: expected an array, a mapping, or a list of those, got {type(data).__name__}"
        ) from None


def _sequences(model: Network, part: Array | Mapping[str, Array], where: str) -> Iterator[Recording]:
    names = [*(port.name for port in model.inputs), *model.context_shapes]
    known = listed(map(repr, names))
    if not isinstance(part, Mapping):
        if len(names) != 1:
            raise QuantizationError(f"{where}: expected a mapping with the inputs [{known}], got an array")
        part = {names[0]: part}
    part = dict(part)
    if part.keys() != set(names):
        raise QuantizationError(f"{where}: expected the inputs [{known}], got [{listed(map(described, part))}]")
    frames = frames_of(model).inputs
    batches = {
        port.name: _batch(port, frames[port.name], part[port.name], f"{where}: input {port.name!r}")
        for port in model.inputs
    }
    contexts = {
        name: _context(part[name], shape, f"{where}: context {name!r}") for name, shape in model.context_shapes.items()
    }
    if len({len(batch) for batch in batches.values()}) > 1:
        found = listed(f"{len(batch)} of {name!r}" for name, batch in batches.items())
        raise QuantizationError(f"{where}: expected as many sequences of every input, got {found}")
    for row in zip(*batches.values(), strict=True):
        yield dict(zip(batches, row, strict=True)) | contexts


def _context(array: Array, shape: Shape, where: str) -> Array:
    """Return what all sequences are given once, checked."""
    try:
        checked: Array = arrays.features(where, array)
    except (InputShapeError, InputTypeError, InputValueError) as error:
        raise QuantizationError(str(error)) from error
    if checked.shape != shape:
        raise QuantizationError(f"{where}: expected shape {arrays.shape_text(shape)}, got {checked.shape}")
    return checked


def _batch(port: AnyInput, frame: Frame, array: Array, where: str) -> Array:
    """Return an input's array as a batch of sequences of vectors or tokens, checked."""
    try:
        checked: Array = (arrays.tokens if port.tokens else arrays.features)(where, array)
    except (InputShapeError, InputTypeError, InputValueError) as error:
        raise QuantizationError(str(error)) from error
    sequence: tuple[int | str, ...] = ("n_steps", *frame.shape_in(checked))
    batch = checked[np.newaxis] if checked.ndim == len(sequence) else checked
    if batch.ndim != len(sequence) + 1 or batch.shape[2:] != sequence[1:]:
        shapes = f"{arrays.shape_text(sequence)} or {arrays.shape_text(('batch', *sequence))}"
        raise QuantizationError(f"{where}: expected shape {shapes}, got {checked.shape}")
    if batch.size == 0:
        raise QuantizationError(f"{where}: expected at least one timestep, got shape {checked.shape}")
    if port.tokens:
        if batch.min() < 0 or batch.max() >= port.size:
            raise QuantizationError(f"{where}: expected tokens in [0, {port.size}), got others")
    elif not np.isfinite(batch).all():
        raise QuantizationError(f"{where}: expected finite numbers, got a NaN or an infinity")
    return frame.to_vectors(batch)
