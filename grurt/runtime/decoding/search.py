"""Beam search with a decoder: memory that is used again from one search to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.errors import InputValueError
from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.lower import plan_of
from grurt.lowering.plan import aligned_zeros
from grurt.network.vectors import padded
from grurt.runtime.context import streaming_context
from grurt.runtime.decoding.generation import enter, parts_of
from grurt.runtime.states import States

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network
    from grurt.runtime.decoding.ports import GeneratorPorts
    from grurt.runtime.stream_context import StreamContext


class Beams(msgspec.Struct, frozen=True):
    """How sequences are searched for: see `grurt.Translator.__call__`."""

    size: int
    max_tokens: int
    length_penalty: float
    stop: tuple[int, ...]


class Found(msgspec.Struct, frozen=True):
    """A sequence, and its score."""

    tokens: NDArray[np.int64]
    score: float


class Search:
    """Finds the best sequences that a decoder gives, one search after the other.

    Parameters
    ----------
    network
        The decoder.
    ports
        What it generates with.
    beams
        How.
    allowed
        As `Choice.allowed`.
    """

    def __init__(self, network: Network, ports: GeneratorPorts, beams: Beams, allowed: Floats | None) -> None:
        self._network, self._ports, self._beams, self._allowed = network, ports, beams, allowed
        plan = plan_of(network)
        size, count, most = ports.vocabulary_size, beams.size, beams.max_tokens
        self._states = States.new(plan, count)
        self._views = {name: place.of_streams(self._states.buffer) for name, place in plan.states.items()}
        self._context = context = streaming_context(network, self._states, "propagate")
        context.use_streams(count)
        context.reserve_block(count)
        self._chosen, self._parents = (np.zeros((most, count), np.int64) for _ in range(2))
        self._scores, self._ended_scores = np.zeros(count), np.zeros(count)
        self._ended = np.zeros((count, 3), np.int64)
        self._previous = np.zeros(count, np.int64)
        self._candidates = [np.zeros(2 * count), *(np.zeros(2 * count, np.int64) for _ in range(2))]
        self._norms = np.arange(most + 1, dtype=np.float64) ** beams.length_penalty
        self._room = aligned_zeros(count * plan.initial_state.size)
        self._stop = np.array(beams.stop, np.int64)
        self._parameters = np.array([1, 1, 1], np.float32)
        self._work = aligned_zeros(2 * padded(size))
        self._inputs = [self._input(place, count) for place in range(len(plan.inputs))]
        self._outputs = [aligned_zeros(count * port.size + padded(size)) for port in plan.outputs]
        self._table = np.zeros(codes.BEAMS_SLOTS, np.int64)
        self._fill_table()

    def _input(self, place: int, count: int) -> Array:
        port = self._context.plan.inputs[place]
        return np.zeros(count, np.int64) if port.tokens else np.zeros((count, port.size), np.float32)

    def _fill_table(self) -> None:
        ports, candidates = self._ports, self._candidates
        numbers = {
            codes.DECODING_INPUT: ports.input,
            codes.DECODING_OUTPUT: len(self._inputs) + ports.output,
            codes.DECODING_VOCABULARY_SIZE: ports.vocabulary_size,
            codes.DECODING_ROW_BYTES: F32_BYTES * padded(ports.vocabulary_size),
            codes.DECODING_OF_PROBABILITIES: ports.of_probabilities,
            codes.DECODING_ROWS: data_address(self._context.first_streams),
            codes.DECODING_PREVIOUS: data_address(self._previous),
            codes.DECODING_OUT: data_address(self._chosen),
            codes.DECODING_MAX_TOKENS: self._beams.max_tokens,
            codes.DECODING_STOP: data_address(self._stop),
            codes.DECODING_N_STOP: len(self._stop),
            codes.DECODING_PARAMETERS: data_address(self._parameters),
            codes.DECODING_WORK: data_address(self._work),
            codes.BEAMS_SIZE: self._beams.size,
            codes.BEAMS_SCORES: data_address(self._scores),
            codes.BEAMS_PARENTS: data_address(self._parents),
            codes.BEAMS_CANDIDATE_SCORES: data_address(candidates[0]),
            codes.BEAMS_CANDIDATE_ROWS: data_address(candidates[1]),
            codes.BEAMS_CANDIDATE_TOKENS: data_address(candidates[2]),
            codes.BEAMS_ENDED_SCORES: data_address(self._ended_scores),
            codes.BEAMS_ENDED: data_address(self._ended),
            codes.BEAMS_LENGTH_NORMS: data_address(self._norms),
            codes.BEAMS_STATES: data_address(self._room),
        }
        if self._allowed is not None:
            numbers[codes.DECODING_ALLOWED] = data_address(self._allowed)
            numbers[codes.DECODING_ALLOWED_STRIDE] = self._allowed.strides[0] if len(self._allowed) > 1 else 0
        for slot, number in numbers.items():
            self._table[slot] = number

    def run(
        self,
        start: NDArray[np.int64],
        states: Mapping[str, Array],
        inputs: Mapping[str, Array],
        context: StreamContext | None,
    ) -> list[Found]:
        """Return the best sequences behind a start, the best first: as many as there are beams, or fewer.

        Parameters
        ----------
        start
            The tokens that are read first, at least one.
        states
            What the decoder begins with, by the names of its states.
        inputs
            What it reads beside tokens, the same at every timestep, by name.
        context
            What it is given once.

        Raises
        ------
        InputValueError
            If no token can be chosen.
        """
        self._begin(states, inputs)
        self._states.give_all(context)
        for token in start[:-1].tolist():
            self._read(token)
            self._bind(1)
            self._context.call()
        self._read(int(start[-1]))
        table = self._table
        table[codes.DECODING_N_ROWS], table[codes.BEAMS_STEP], table[codes.BEAMS_N_ENDED] = 1, 0, 0
        self._scores[0] = 0
        for part in parts_of(self._beams.max_tokens):
            self._bind(part)
            if enter(self._context, codes.SEARCH, data_address(table)) == codes.NOTHING_TO_CHOOSE:
                raise InputValueError(
                    f"expected a token that can be chosen as number {table[codes.BEAMS_STEP]}, got scores that are all "
                    "NaN, minus infinity or not allowed"
                )
            if not table[codes.DECODING_N_ROWS]:
                break
        return [self._sequence(place) for place in range(int(table[codes.BEAMS_N_ENDED]))]

    def _begin(self, states: Mapping[str, Array], inputs: Mapping[str, Array]) -> None:
        self._states.buffer[0] = self._context.plan.initial_state
        self._states.steps[0] = 0
        for name, state in states.items():
            self._views[name][0] = state.reshape(self._views[name].shape[1:])
        for place, port in enumerate(self._context.plan.inputs):
            if port.name in inputs:
                self._inputs[place][:] = inputs[port.name]

    def _read(self, token: int) -> None:
        """Have the first row read a token next."""
        place = self._ports.input
        self._previous[0] = token
        if self._context.plan.inputs[place].tokens:
            self._inputs[place][0] = token
        else:
            self._inputs[place][0] = 0
            self._inputs[place][0, token] = 1

    def _bind(self, n_steps: int) -> None:
        self._context.bind(map(data_address, (*self._inputs, *self._outputs)), n_steps)
        self._context.bind_first_streams(1)

    def _sequence(self, place: int) -> Found:
        """Return a sequence that has ended, read from its end."""
        step, row, token = self._ended[place].tolist()
        tokens = np.empty(step + 1, np.int64)
        tokens[step] = token
        for t in range(step - 1, -1, -1):
            tokens[t] = self._chosen[t, row]
            row = self._parents[t, row]
        return Found(tokens, float(self._ended_scores[place]))
