"""An encoder and a decoder as one function: a sequence in, the best sequences of tokens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict, Unpack

import msgspec
import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError, ModelError
from grurt.escaping import described, listed
from grurt.model import Model
from grurt.network.generator_ports import generator_ports
from grurt.network.network import Network
from grurt.network.splitting import numbered_stages
from grurt.network.stages import handed_states
from grurt.runtime.decoding.choice import (
    Choice,
    checked_choice,
    checked_count,
    checked_number,
    checked_seeds,
    tokens_of,
)
from grurt.runtime.decoding.encoding import Encoded, Encoder
from grurt.runtime.decoding.handing import attention_output, handed, handed_contexts
from grurt.runtime.decoding.search import Beams, Found, Search, Source
from grurt.runtime.making_contexts import context_for, refuse_contexts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Floats
    from grurt.runtime.stream_context import StreamContext

    class Options(TypedDict, total=False):
        """How sequences are searched for: the arguments of `grurt.Translator.__call__` by keyword, but for the seed."""

        start: SupportsIndex | Sequence[int] | None
        stop: Sequence[int] | int | None
        beam: SupportsIndex
        length_penalty: float
        max_tokens: SupportsIndex
        n_best: SupportsIndex | None
        temperature: float
        top_k: SupportsIndex | None
        top_p: float | None


__all__ = ["Translation", "Translator"]

_MOST_BEAMS = 1024
_MOST_REQUESTS = 16
_PLAIN = {int, float, type(None)}
"""What may be looked up: of others, nothing says that they stay what they are."""
_MOST_SPARE = 4
"""Searches that are kept for later calls: as many as go on at the same time."""
_ROWS = 256
"""Sequences that go on together: enough that those which end early leave whole blocks, each a read of the weights."""
_DEFAULTS: dict[str, Any] = {
    "start": None,
    "stop": None,
    "beam": 1,
    "length_penalty": 1.0,
    "max_tokens": 100,
    "n_best": None,
    "temperature": 0.0,
    "top_k": None,
    "top_p": None,
}
_NO_SEED = np.zeros(1, np.int64)


class Translation(msgspec.Struct, frozen=True):
    """A sequence that a `Translator` has found.

    Parameters
    ----------
    tokens
        Its tokens, int64 ``(n,)``: a stop token, if it ends with one, is the last.
    score
        The sum of the logarithms of their probabilities, divided by ``n ** length_penalty``.
    text
        What they stand for, if the decoder has a vocabulary.
    attention
        How much each token attends to each timestep of the source, float32 ``(n, n_steps)``, if the translator has
        been told which of the decoder's outputs that is.
    """

    tokens: NDArray[np.int64]
    score: float
    text: str | None = None
    attention: Floats | None = None


class _Request(msgspec.Struct, frozen=True):
    """What a translator is asked for, checked: what is read first, how it searches, and how many are wanted."""

    start: list[int]
    beams: Beams
    count: int
    listed: bool
    """Whether the answer is a list, also of one."""


class Translator:
    """Turns sequences into sequences of tokens: an encoder reads, and a decoder generates from what it is handed.

    A translator holds no state of a sequence, and threads may share it.

    Parameters
    ----------
    encoder
        A model with one input; or a model of two stages, whose second one is the decoder, which is left out then.
    decoder
        A model that generates: see `grurt.Model.generate`. It must be able to stream, the encoder need not.
    states
        What the decoder's states are at first: outputs or states of the encoder, by the names of the decoder's states.
        Of an output that the encoder gives at every timestep, it is the last one. By default what has the same name
        and size, or else the only output, if the decoder has one state.
    inputs
        What the decoder reads beside tokens, the same at every timestep, likewise.
    contexts
        What the decoder is given once, such as the memory that it attends to: outputs that the encoder gives at every
        timestep, all of them, by the names of the decoder's contexts. By default what has the same name, or else the
        only such output, if the decoder has one context.
    output
        The decoder's output with the scores, where several could be it.
    attention
        The decoder's output with the weights of its attention, one for each place of a context: what is to be
        `Translation.attention`.

    Raises
    ------
    ModelError, StreamingError
        If something that is handed over is not there, or of another size, the decoder does not generate, or the encoder
        needs contexts.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> rng = np.random.default_rng(0)
    >>> def model(*layers):
    ...     weights = {
    ...         f"{layer.name}.{name}": rng.normal(size=shape)
    ...         for layer in layers
    ...         for name, shape in layer.weight_shapes().items()
    ...     }
    ...     return grurt.Model(layers=layers, weights=weights)
    >>> encoder = model(
    ...     grurt.Embedding(name="letters", vocabulary_size=26, size=4),
    ...     grurt.GRU(name="encoder", input_size=4, hidden_size=8),
    ... )
    >>> decoder = model(
    ...     grurt.Embedding(name="sounds", vocabulary_size=10, size=4),
    ...     grurt.GRU(name="decoder", input_size=4, hidden_size=8),
    ...     grurt.Linear(name="scores", input_size=8, output_size=10),
    ... )
    >>> translator = grurt.Translator(encoder, decoder)
    >>> found = translator([7, 4, 11, 11, 14], start=1, stop=0, beam=4, max_tokens=6)
    >>> found.tokens.dtype, len(found.tokens) <= 6, found.score < 0
    (dtype('int64'), True, True)
    >>> [each.score for each in translator([7, 4], start=1, beam=4, n_best=2, max_tokens=6)] == sorted(
    ...     [each.score for each in translator([7, 4], start=1, beam=4, n_best=2, max_tokens=6)], reverse=True
    ... )
    True
    """

    def __init__(
        self,
        encoder: Model,
        decoder: Model | None = None,
        *,
        states: Mapping[str, str] | None = None,
        inputs: Mapping[str, str] | None = None,
        contexts: Mapping[str, str] | None = None,
        output: str | None = None,
        attention: str | None = None,
    ) -> None:
        if not isinstance(encoder, Network) or not isinstance(decoder, Network | None):
            raise InputTypeError("Translator: expected models, got something else")
        if decoder is None:
            encoder, decoder, states, inputs = _parts(encoder, states, inputs)
        if len(encoder.inputs) != 1:
            names = listed(port.name for port in encoder.inputs)
            raise ModelError(f"Translator: expected an encoder of one input, got one of [{names}]")
        refuse_contexts("Translator", encoder)
        if reason := decoder.unstreamable_reason:
            raise ModelError(f"Translator: expected a decoder that streams, got one that cannot: {reason}")
        self._decoder, self._ports = decoder, generator_ports("Translator", decoder, output)
        places = {port.name: number for number, port in enumerate(decoder.inputs) if number != self._ports.input}
        read = {port.name: (port.size,) for port in decoder.inputs if port.name in places}
        self._states = handed("states", states, decoder.state_shapes, encoder)
        given = handed("inputs", inputs, read, encoder)
        self._inputs = {places[name]: source for name, source in given.items()}
        self._contexts = handed_contexts(contexts, decoder, encoder)
        self._attention = None if attention is None else attention_output(attention, self._contexts, decoder)
        self._encoder = Encoder(encoder, (*self._states.values(), *self._inputs.values()))
        self._vocabulary = decoder.vocabularies.get(decoder.inputs[self._ports.input].name)
        self._spare: dict[Beams, list[Search]] = {}
        self._requests: dict[Any, _Request] = {}

    def __call__(
        self,
        source: ArrayLike | str,
        *,
        start: SupportsIndex | Sequence[int] | None = None,
        stop: Sequence[int] | int | None = None,
        beam: SupportsIndex = 1,
        length_penalty: float = 1.0,
        max_tokens: SupportsIndex = 100,
        n_best: SupportsIndex | None = None,
        temperature: float = 0.0,
        top_k: SupportsIndex | None = None,
        top_p: float | None = None,
        seed: SupportsIndex = 0,
        allowed: ArrayLike | None = None,
    ) -> Translation | list[Translation]:
        """Return the best sequence for a source, or the best ones, or one that is drawn.

        Of all ways in which the sequences so far can go on, so many are gone on with as ``beam`` says: with 1, always
        the likeliest token. Of equal ones, the lower token comes first. It is over when as many sequences have ended
        as there are beams, and the best that goes on is no better, for its length, than the worst of them.

        Parameters
        ----------
        source
            What the encoder reads: token ids ``(n,)``, or features ``(n, size)``, at least one timestep; or a text,
            if the encoder has a vocabulary.
        start
            The token, or tokens, that the decoder reads first: they are not part of the answer. By default the start
            of the decoder's vocabulary.
        stop
            The token, or tokens, that end a sequence. By default the end of the decoder's vocabulary, if it has one.
        beam
            How many sequences are gone on with at a time, 1 to 1024.
        length_penalty
            The power of the number of tokens that sums of logarithms are divided by: 1 is their mean, 0 the sum.
        max_tokens
            The most tokens of a sequence.
        n_best
            How many sequences to return, in a list, the best first. By default one, not in a list.
        temperature
            Above 0, tokens are drawn, with one beam, as `grurt.Model.generate` draws them. The score is that of the
            model, whatever the temperature.
        top_k, top_p
            Of which tokens one is drawn: see `grurt.Model.generate`.
        seed
            An integer. What is drawn is a function of it, and of how many tokens the decoder has read.
        allowed
            Which tokens may be chosen: see `grurt.Model.generate`.

        Returns
        -------
        A `Translation`, or with ``n_best`` a list of as many, or fewer if there are no more.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If the source does not fit, an option makes no sense, or nothing can be chosen.
        """
        where = "Translator"
        request = self._request(start, stop, beam, length_penalty, max_tokens, n_best, temperature, top_k, top_p)
        encoded = self._encoder.read(f"{where}: source", source)
        seeds = checked_seeds(where, seed, 1) if request.beams.temperature else _NO_SEED
        search = self._take(request.beams, allowed)
        (found,) = search.run(request.start, [self._source(where, encoded)], request.count, seeds)
        if allowed is None:
            self._give_back(request.beams, search)
        translations = self._translations(found)
        return translations if request.listed else translations[0]

    def batch(
        self,
        sources: Sequence[ArrayLike | str],
        *,
        seed: SupportsIndex | ArrayLike = 0,
        allowed: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> list[Translation] | list[list[Translation]]:
        """Return the best sequences for many sources, decoded together, so that they share each read of the weights.

        Sources may be of different lengths. Those whose sequences have ended leave, and others do not wait for them.

        Parameters
        ----------
        sources
            What is translated, each as in a call of the translator.
        seed
            One for each source; or one number: the sources have that and the following ones.
        allowed
            Which tokens may be chosen: see `grurt.Model.generate`.
        options
            Those of a call of the translator.

        Returns
        -------
        A list of what a call of the translator returns for each source, bit for bit.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            As a call of the translator, for the first source that does not fit: all are looked at before one is read.
        """
        where = "Translator.batch"
        if unknown := options.keys() - _DEFAULTS.keys():
            raise TypeError(f"{where}: expected some of the options {[*_DEFAULTS]}, got [{listed(unknown)}]")
        request = self._request(*(_DEFAULTS | options).values())
        if isinstance(sources, str) or not isinstance(sources, Sequence | np.ndarray):
            raise InputTypeError(f"{where}: expected a list of sources, got {described(sources)}")
        checked = [
            self._encoder.checked(f"{where}: sources[{number}]", source) for number, source in enumerate(sources)
        ]
        seeds = checked_seeds(where, seed, len(checked))
        order = sorted(range(len(checked)), key=lambda number: len(checked[number]))
        size = max(1, _ROWS // request.beams.size)
        search = self._new_search(request.beams, min(size, max(1, len(checked))), allowed)
        answers: list[Any] = [None] * len(checked)
        for begin in range(0, len(order), size):
            members = order[begin : begin + size]
            encoded = self._encoder.read_many([checked[number] for number in members])
            begun = [self._source(f"{where}: sources[{n}]", each) for n, each in zip(members, encoded, strict=True)]
            found = search.run(request.start, begun, request.count, seeds[members])
            for number, each in zip(members, found, strict=True):
                translations = self._translations(each)
                answers[number] = translations if request.listed else translations[0]
        return answers

    def _source(self, where: str, encoded: Encoded) -> Source:
        """Return what the decoder begins with for what the encoder has made of a source."""
        last, context, places = encoded.last, None, 0
        if self._contexts:
            memory = {name: encoded.every[output] for name, output in self._contexts.items()}
            context, places = self._memory(where, memory), len(next(iter(memory.values())))
        states = {name: last[source] for name, source in self._states.items()}
        inputs = {place: last[source] for place, source in self._inputs.items()} if self._inputs else {}
        return Source(where, states, inputs, context, places)

    def _memory(self, where: str, memory: Mapping[str, Floats]) -> StreamContext | None:
        try:
            return context_for(where, self._decoder, memory, "propagate")
        except InputShapeError as error:
            raise InputShapeError(f"{where}: {error}") from None

    def _translations(self, found: list[Found]) -> list[Translation]:
        known = self._vocabulary
        return [
            Translation(tokens, score, None if known is None else known.decode(tokens.tolist()), shown)
            for tokens, score, shown in found
        ]

    def _request(self, *given: Any) -> _Request:
        """Return what is asked for, checked: what was checked before is not looked at again."""
        types = tuple(map(type, given))
        if not _PLAIN.issuperset(types):
            return self._checked(*given)
        key = (given, types)
        request = self._requests.get(key)
        if request is None:
            request = self._checked(*given)
            if len(self._requests) >= _MOST_REQUESTS:
                self._requests.clear()
            self._requests[key] = request
        return request

    def _checked(
        self,
        start: SupportsIndex | Sequence[int] | None,
        stop: Sequence[int] | int | None,
        beam: SupportsIndex,
        length_penalty: float,
        max_tokens: SupportsIndex,
        n_best: SupportsIndex | None,
        temperature: float,
        top_k: SupportsIndex | None,
        top_p: float | None,
    ) -> _Request:
        where, size, known = "Translator", self._ports.vocabulary_size, self._vocabulary
        if start is None and known is not None:
            start = known.start
        if start is None:
            raise InputTypeError(f"{where}: start: expected the token that the decoder reads first, got none")
        stop = (() if known is None or known.end is None else known.end) if stop is None else stop
        count = checked_count(f"{where}: beam", beam)
        if count > _MOST_BEAMS:
            raise InputValueError(f"{where}: beam: expected at most {_MOST_BEAMS}, got {count}")
        wanted = 1 if n_best is None else checked_count(f"{where}: n_best", n_best)
        if wanted > count:
            raise InputValueError(f"{where}: n_best: expected at most {count}, as there are beams, got {wanted}")
        choice = self._choice(temperature, top_k, top_p, None, stop)
        if choice.temperature and count > 1:
            raise InputValueError(f"{where}: temperature: expected 0 with {count} beams, got {choice.temperature}")
        beams = Beams(
            size=count,
            max_tokens=checked_count(f"{where}: max_tokens", max_tokens),
            length_penalty=checked_number(f"{where}: length_penalty", length_penalty),
            stop=tuple(choice.stop.tolist()),
            temperature=choice.temperature,
            top_k=choice.top_k,
            top_p=choice.top_p,
        )
        return _Request(tokens_of(f"{where}: start", start, size, least=1).tolist(), beams, wanted, n_best is not None)

    def _choice(self, temperature: Any, top_k: Any, top_p: Any, allowed: ArrayLike | None, stop: Any) -> Choice:
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": 1}
        return checked_choice("Translator", self._ports.vocabulary_size, **options, allowed=allowed, stop=stop)

    def _new_search(self, beams: Beams, n_sources: int, allowed: ArrayLike | None) -> Search:
        table = None if allowed is None else self._choice(0, None, None, allowed, beams.stop).allowed
        return Search(self._decoder, self._ports, beams, n_sources, table, self._attention)

    def _take(self, beams: Beams, allowed: ArrayLike | None) -> Search:
        """Return memory for a search from one source: of an earlier one of its kind, if there is some."""
        if allowed is None:
            try:
                return self._spare[beams].pop()
            except (KeyError, IndexError):
                pass
        return self._new_search(beams, 1, allowed)

    def _give_back(self, beams: Beams, search: Search) -> None:
        if beams not in self._spare and len(self._spare) >= _MOST_SPARE:
            self._spare.clear()
        spare = self._spare.setdefault(beams, [])
        if len(spare) < _MOST_SPARE:
            spare.append(search)


def _parts(
    model: Model, states: Mapping[str, str] | None, inputs: Mapping[str, str] | None
) -> tuple[Model, Model, Mapping[str, str], Mapping[str, str]]:
    """Return the encoder and the decoder that a model of two stages consists of, and what the one hands the other."""
    stages = numbered_stages(model)
    if len(stages) != 2:
        raise ModelError(
            f"Translator: expected an encoder and a decoder, or a model of two stages, got one of {len(stages)}"
        )
    if states is not None or inputs is not None:
        raise ModelError("Translator: expected no states and inputs: a model of two stages says what is handed over")
    encoder, decoder = stages.values()
    shown = {output.value: output.name for output in encoder.outputs}
    handed = {name: shown[value] for name, value in handed_states(model.layers).items() if name in decoder.state_shapes}
    read = {port.name: shown[port.name] for port in decoder.inputs if port.name in shown}
    return encoder, decoder, handed, read
