"""Rows of tokens in the making: the table that the kernels go on with, and the calls into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lowering.plan import aligned_zeros
from grurt.network.vectors import padded
from grurt.runtime.context import Context
from grurt.runtime.parts import parts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.network.generator_ports import GeneratorPorts
    from grurt.runtime.decoding.choice import Choice

WORK_ROWS = 3
"""Scores, weights, and those of the best."""


class StuckError(Exception):
    """Nothing can be chosen of the scores of a row: at its timestep, as the token of this number."""

    def __init__(self, timestep: int, row: int, number: int) -> None:
        super().__init__(timestep, row, number)
        self.timestep, self.row, self.number = timestep, row, number


class Generation:
    """Rows that read prompts and give tokens, as the streams of a context.

    Parameters
    ----------
    context
        Runs the model.
    ports, choice
        What it generates with, and how tokens are chosen.
    prompts
        What each row reads first: at least one token.
    prefixes
        What each row gives first, whatever the scores.
    seeds
        ``(n_rows,)``.
    max_tokens
        The most that a row gives.
    others
        The inputs that are the same at every timestep, ``(n_rows, size)`` or ``(n_rows,)``, by their places.

    Attributes
    ----------
    tokens
        What rows have given so far, ``(n_rows, max_tokens)``, and behind that zeros.
    counts
        How many tokens each has given, ``(n_rows,)``.
    """

    def __init__(
        self,
        context: Context,
        ports: GeneratorPorts,
        choice: Choice,
        prompts: Sequence[NDArray[np.int64]],
        prefixes: Sequence[NDArray[np.int64]],
        seeds: NDArray[np.int64],
        max_tokens: int,
        others: dict[int, Array],
    ) -> None:
        self._context = context
        self._ports = ports
        n_rows, size = len(prompts), ports.vocabulary_size
        row = padded(size)
        longest = max(len(prompt) + len(prefix) for prompt, prefix in zip(prompts, prefixes, strict=True))
        self.tokens = np.zeros((n_rows, max_tokens), np.int64)
        self.counts = np.zeros(n_rows, np.int64)
        self._rows = np.arange(n_rows)
        self._lengths = np.array([[len(each) for each in both] for both in zip(prompts, prefixes, strict=True)])
        self._read = np.zeros((n_rows, longest), np.int64)
        for given, prompt, prefix in zip(self._read, prompts, prefixes, strict=True):
            given[: len(prompt) + len(prefix)] = np.concatenate([prompt, prefix])
        self._previous = self._read[:, 0].copy()
        self._positions = np.zeros(n_rows, np.int64)
        self._seeds, self._choice = seeds, choice
        self._parameters = np.array([choice.temperature, choice.top_p, choice.repetition_penalty], np.float32)
        self._seen = aligned_zeros(n_rows * row).reshape(n_rows, row) if choice.repetition_penalty != 1 else None
        self._work = aligned_zeros(WORK_ROWS * row + 2 * size)
        self._inputs = [self._input(place, others) for place in range(len(context.plan.inputs))]
        self._outputs = [aligned_zeros(n_rows * port.size + row) for port in context.plan.outputs]
        self._table = np.zeros(codes.DECODING_SLOTS, np.int64)
        self._fill_table()

    def _input(self, place: int, others: dict[int, Array]) -> Array:
        if place in others:
            return others[place]
        if self._context.plan.inputs[place].tokens:
            return self._previous.copy()
        vectors = np.zeros((len(self._previous), self._ports.vocabulary_size), np.float32)
        vectors[np.arange(len(vectors)), self._previous] = 1
        return vectors

    def _fill_table(self) -> None:
        choice, size = self._choice, self._ports.vocabulary_size
        numbers = {
            codes.DECODING_N_ROWS: len(self._rows),
            codes.DECODING_ROWS: data_address(self._rows),
            codes.DECODING_INPUT: self._ports.input,
            codes.DECODING_OUTPUT: len(self._inputs) + self._ports.output,
            codes.DECODING_VOCABULARY_SIZE: size,
            codes.DECODING_ROW_BYTES: F32_BYTES * padded(size),
            codes.DECODING_OF_PROBABILITIES: self._ports.of_probabilities,
            codes.DECODING_PROMPTS: data_address(self._read),
            codes.DECODING_PROMPT_BYTES: I64_BYTES * self._read.shape[1],
            codes.DECODING_LENGTHS: data_address(self._lengths),
            codes.DECODING_POSITIONS: data_address(self._positions),
            codes.DECODING_PREVIOUS: data_address(self._previous),
            codes.DECODING_OUT: data_address(self.tokens),
            codes.DECODING_MAX_TOKENS: self.tokens.shape[1],
            codes.DECODING_COUNTS: data_address(self.counts),
            codes.DECODING_SEEDS: data_address(self._seeds),
            codes.DECODING_STOP: data_address(choice.stop),
            codes.DECODING_N_STOP: len(choice.stop),
            codes.DECODING_PARAMETERS: data_address(self._parameters),
            codes.DECODING_TOP_K: choice.top_k,
            codes.DECODING_WORK: data_address(self._work),
        }
        if choice.allowed is not None:
            numbers[codes.DECODING_ALLOWED] = data_address(choice.allowed)
            numbers[codes.DECODING_ALLOWED_STRIDE] = choice.allowed.strides[0] if len(choice.allowed) > 1 else 0
        if self._seen is not None:
            numbers[codes.DECODING_SEEN] = data_address(self._seen)
        for slot, number in numbers.items():
            self._table[slot] = number

    def see(self, row: int, tokens: NDArray[np.int64]) -> None:
        """Take note that a row has read tokens, which the penalty of repetitions counts."""
        if self._seen is not None:
            self._seen[row, tokens] = 1

    @property
    def goes_on(self) -> bool:
        """Whether a row has not ended."""
        return bool(self._table[codes.DECODING_N_ROWS])

    def run(
        self,
        n_steps: int,
        streams: NDArray[np.int64] | None = None,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run at most so many timesteps, in a context that nobody else uses.

        Parameters
        ----------
        n_steps
            How many.
        streams
            The slots of the rows' streams, which the kernels bring into the order of those that go on; the same array
            at every call. None for stream 0.
        is_interrupted
            Whether to end early.

        Raises
        ------
        StuckError
            If nothing can be chosen: then the states are those after some of the timesteps.
        """
        for part in parts_of(n_steps):
            if not self.goes_on or is_interrupted():
                return
            self._call(part, streams)

    def _call(self, n_steps: int, streams: NDArray[np.int64] | None) -> None:
        context = self._context
        context.bind(map(data_address, (*self._inputs, *self._outputs)), n_steps)
        if streams is not None:
            context.bind_streams(data_address(streams), int(self._table[codes.DECODING_N_ROWS]))
        status = enter(context, codes.DECODE, data_address(self._table))
        if status == codes.NOTHING_TO_CHOOSE:
            row = int(self._table[codes.DECODING_FAULT])
            raise StuckError(int(self._positions[row]), row, int(self.counts[row]))
        context.expect_sound(status, self._inputs)


def nothing_to_choose(number: int, row: int = 0) -> str:
    """Return what is wrong with scores that leave nothing to choose."""
    of_row = f" of row {row}" if row else ""
    return (
        f"expected a token that can be chosen as number {number}{of_row}, got scores that are all NaN, minus infinity "
        "or not allowed"
    )


def enter(context: Context, phase: int, table: int) -> int:
    """Enter the kernels in a phase of decoding, with its table at an address; return their status."""
    before = context.slots[codes.CONTEXT_PHASE]
    context.slots[codes.CONTEXT_DECODING] = table
    context.slots[codes.CONTEXT_PHASE] = phase
    try:
        return context.call()
    finally:
        context.slots[codes.CONTEXT_PHASE] = before
