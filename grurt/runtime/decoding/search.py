"""Searches for sequences with a decoder, from several sources at once, in memory that is used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

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
from grurt.runtime.decoding.generation import WORK_ROWS, nothing_to_choose
from grurt.runtime.parts import parts_of
from grurt.runtime.states import States

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array, Floats
    from grurt.lowering.plan import Plan, PlanPort
    from grurt.network.generator_ports import GeneratorPorts
    from grurt.network.network import Network
    from grurt.runtime.stream_context import StreamContext


class Beams(msgspec.Struct, frozen=True):
    """How sequences are searched for: see `grurt.Translator.__call__`. ``top_k`` is the vocabulary's size at most."""

    size: int
    max_tokens: int
    length_penalty: float
    stop: tuple[int, ...]
    temperature: float
    top_k: int
    top_p: float


class Source(NamedTuple):
    """What a decoder begins with.

    ``states`` are its states by name, ``inputs`` what it reads beside tokens, the same at every timestep, by the places
    of its inputs, and ``context`` what it is given once, of so many ``places``. ``where`` begins messages about it.
    """

    where: str
    states: Mapping[str, Array]
    inputs: Mapping[int, Array]
    context: StreamContext | None
    places: int


class Found(NamedTuple):
    """A sequence ``(n,)``, its score, and what the decoder gave of the output that is kept, ``(n, places)``."""

    tokens: NDArray[np.int64]
    score: float
    shown: Floats | None


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
    n_sources
        The most sources of a search.
    allowed
        As `Choice.allowed`.
    shown
        Which of the decoder's outputs is kept for what is found.
    """

    def __init__(
        self,
        network: Network,
        ports: GeneratorPorts,
        beams: Beams,
        n_sources: int = 1,
        allowed: Floats | None = None,
        shown: int | None = None,
    ) -> None:
        plan = plan_of(network)
        n_rows = n_sources * beams.size
        self._ports, self._beams, self._shown = ports, beams, shown
        self._states = States.new(plan, n_rows)
        self._views = {name: place.of_streams(self._states.buffer) for name, place in plan.states.items()}
        self._context = context = streaming_context(network, self._states, "propagate")
        context.use_streams(n_rows)
        context.reserve_block(n_rows)
        self._inputs = [_zeros(port, n_rows) for port in plan.inputs]
        self._given = [_zeros(port, n_sources) for port in plan.inputs]
        self._outputs = [aligned_zeros(n_rows * port.size + padded(ports.vocabulary_size)) for port in plan.outputs]
        self._arrays = arrays = _arrays(plan, ports, beams, n_sources)
        arrays[codes.SEARCH_GIVEN] = np.array([data_address(array) for array in self._given], np.int64)
        kept = 0 if shown is None else plan.outputs[shown].size
        self._history = arrays[codes.SEARCH_HISTORY] = np.zeros((beams.max_tokens, n_rows, kept), np.float32)
        self._found, self._found_rows = arrays[codes.SEARCH_FOUND_TOKENS], arrays[codes.SEARCH_FOUND_ROWS]
        self._allowed = allowed
        # Of memory, Python reads and writes a number three times as fast as of an array.
        self._rows, self._previous = arrays[codes.DECODING_ROWS].data, arrays[codes.DECODING_PREVIOUS].data
        self._numbers, self._alive = arrays[codes.SEARCH_SOURCES].data, arrays[codes.SEARCH_ALIVE].data
        self._scores, self._n_ended = arrays[codes.SEARCH_SCORES].data, arrays[codes.SEARCH_N_ENDED].data
        self._ended, self._ended_scores = arrays[codes.SEARCH_ENDED].data, arrays[codes.SEARCH_ENDED_SCORES].data
        table = np.zeros(codes.SEARCH_SLOTS, np.int64)
        self._table = table.data
        for slot, number in self._numbers_of_table().items():
            self._table[slot] = number
        context.bind(map(data_address, (*self._inputs, *self._outputs)), 1)
        context.slots[codes.CONTEXT_DECODING] = data_address(table)
        context.slots[codes.CONTEXT_PHASE] = codes.SEARCH

    def _numbers_of_table(self) -> dict[int, int]:
        ports, n_inputs = self._ports, len(self._inputs)
        numbers = {slot: data_address(array) for slot, array in self._arrays.items()} | {
            codes.DECODING_INPUT: ports.input,
            codes.DECODING_OUTPUT: n_inputs + ports.output,
            codes.DECODING_VOCABULARY_SIZE: ports.vocabulary_size,
            codes.DECODING_ROW_BYTES: F32_BYTES * padded(ports.vocabulary_size),
            codes.DECODING_OF_PROBABILITIES: ports.of_probabilities,
            codes.DECODING_MAX_TOKENS: self._beams.max_tokens,
            codes.DECODING_N_STOP: len(self._beams.stop),
            codes.DECODING_TOP_K: self._beams.top_k,
            codes.SEARCH_BEAMS: self._beams.size,
            codes.SEARCH_MAX_ROWS: len(self._rows),
            codes.SEARCH_SHOWN: 0 if self._shown is None else n_inputs + self._shown,
        }
        if self._allowed is not None:
            numbers[codes.DECODING_ALLOWED] = data_address(self._allowed)
            numbers[codes.DECODING_ALLOWED_STRIDE] = self._allowed.strides[0] if len(self._allowed) > 1 else 0
        return numbers

    def run(
        self, start: Sequence[int], sources: Sequence[Source], wanted: int, seeds: NDArray[np.int64]
    ) -> list[list[Found]]:
        """Return the best sequences behind a start for each source, the best first: so many, or fewer.

        Parameters
        ----------
        start
            The tokens that are read first, at least one.
        sources
            What the decoder begins with: at least one.
        wanted
            How many sequences of each source, at most as many as there are beams.
        seeds
            Of what is drawn, one for each source; they do not count where nothing is.

        Raises
        ------
        InputValueError
            If no token can be chosen, or the decoder remembers no more timesteps.
        """
        n_sources, table, context = len(sources), self._table, self._context
        for number, source in enumerate(sources):
            self._begin(number, source)
        self._arrays[codes.DECODING_SEEDS][:n_sources] = seeds
        if len(start) > 1:
            self._read(start[:-1], n_sources)
        self._write(start[-1], n_sources)
        table[codes.DECODING_N_ROWS] = table[codes.SEARCH_N_SOURCES] = n_sources
        table[codes.SEARCH_STEP] = 0
        context.slots[codes.CONTEXT_STREAMS] = table[codes.DECODING_ROWS]
        for part in parts_of(self._beams.max_tokens):
            context.slots[codes.CONTEXT_N_STEPS] = part
            status = context.call()
            if status == codes.NOTHING_TO_CHOOSE:
                where = sources[table[codes.DECODING_FAULT]].where
                raise InputValueError(f"{where}: {nothing_to_choose(table[codes.SEARCH_STEP])}")
            context.expect_sound(status, self._inputs)
            if not table[codes.SEARCH_N_SOURCES]:
                break
        return [self._found_of(number, source.places, wanted) for number, source in enumerate(sources)]

    def _begin(self, number: int, source: Source) -> None:
        """Have the first of a source's rows stand where its sequences begin."""
        states, views, size = self._states, self._views, self._beams.size
        row = number * size
        if len(source.states) < len(views):
            states.buffer[row] = states.plan.initial_state
        for name, state in source.states.items():
            view = views[name]
            view[row] = state.reshape(view.shape[1:])
        states.steps[row] = 0
        if source.context is not None:
            states.give_many(slice(row, row + size), source.context)
        for place, array in source.inputs.items():
            self._given[place][number] = self._inputs[place][number] = array
        self._rows[number], self._numbers[number], self._alive[number] = row, number, 1
        self._scores[row] = self._n_ended[number] = 0

    def _read(self, tokens: Sequence[int], n_rows: int) -> None:
        """Have the first rows read tokens, of whose scores nothing is chosen."""
        context = self._context
        context.slots[codes.CONTEXT_PHASE], context.slots[codes.CONTEXT_N_STEPS] = codes.ALONE, 1
        for token in tokens:
            self._write(token, n_rows)
            context.bind_streams(self._table[codes.DECODING_ROWS], n_rows)
            context.expect_sound(context.call(), self._inputs)
        context.slots[codes.CONTEXT_PHASE] = codes.SEARCH

    def _write(self, token: int, n_rows: int) -> None:
        """Have the first rows read a token next."""
        inputs = self._inputs[self._ports.input]
        if inputs.ndim == 1:
            inputs[:n_rows] = token
        else:
            inputs[:n_rows] = 0
            inputs[:n_rows, token] = 1
        for row in self._rows[:n_rows]:
            self._previous[row] = token

    def _found_of(self, number: int, places: int, wanted: int) -> list[Found]:
        """Return the best sequences of a source that have ended."""
        first = number * self._beams.size
        found = []
        for place in range(first, first + min(wanted, self._n_ended[number])):
            n = self._ended[place, 0] + 1
            shown = None
            if self._shown is not None:
                shown = self._history[np.arange(n), self._found_rows[place, :n], :places]
            found.append(Found(self._found[place, :n].copy(), self._ended_scores[place], shown))
        return found


def _zeros(port: PlanPort, count: int) -> Array:
    return np.zeros(count, np.int64) if port.tokens else np.zeros((count, port.size), np.float32)


def _arrays(plan: Plan, ports: GeneratorPorts, beams: Beams, n_sources: int) -> dict[int, Array]:
    """Return the memory of a search, by the slots of its table that have the addresses."""
    n_rows, most = n_sources * beams.size, beams.max_tokens
    integers: dict[int, tuple[int, ...]] = {
        codes.DECODING_ROWS: (n_rows,),
        codes.DECODING_PREVIOUS: (n_rows,),
        codes.DECODING_OUT: (most, n_rows),
        codes.DECODING_SEEDS: (n_sources,),
        codes.SEARCH_SOURCES: (n_sources,),
        codes.SEARCH_ALIVE: (n_sources,),
        codes.SEARCH_PARENTS: (most, n_rows),
        codes.SEARCH_CANDIDATE_ROWS: (2 * beams.size,),
        codes.SEARCH_CANDIDATE_TOKENS: (2 * beams.size,),
        codes.SEARCH_N_ENDED: (n_sources,),
        codes.SEARCH_ENDED: (n_rows, 3),
        codes.SEARCH_FOUND_TOKENS: (n_rows, most),
        codes.SEARCH_FOUND_ROWS: (n_rows, most),
    }
    return {slot: np.zeros(shape, np.int64) for slot, shape in integers.items()} | {
        codes.DECODING_STOP: np.array(beams.stop, np.int64),
        codes.DECODING_PARAMETERS: np.array([beams.temperature, beams.top_p, 1], np.float32),
        codes.DECODING_WORK: aligned_zeros(WORK_ROWS * padded(ports.vocabulary_size) + 2 * ports.vocabulary_size),
        codes.SEARCH_SCORES: np.zeros(n_rows),
        codes.SEARCH_CANDIDATE_SCORES: np.zeros(2 * beams.size),
        codes.SEARCH_ENDED_SCORES: np.zeros(n_rows),
        codes.SEARCH_LENGTH_NORMS: np.arange(most + 1, dtype=np.float64) ** beams.length_penalty,
        codes.SEARCH_STATES: aligned_zeros(beams.size * plan.initial_state.size),
    }
