"""An encoder and a decoder as one function: a sequence in, the best sequences of tokens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import msgspec
import numpy as np

from grurt.errors import InputTypeError, InputValueError, ModelError
from grurt.escaping import described, listed
from grurt.model import Model
from grurt.network.network import Network
from grurt.network.splitting import numbered_stages
from grurt.network.stages import handed_states
from grurt.runtime.batch import Batch
from grurt.runtime.decoding.choice import checked_choice, checked_count, checked_number, tokens_of
from grurt.runtime.decoding.ports import generator_ports
from grurt.runtime.decoding.search import Beams, Search
from grurt.runtime.making_contexts import context_for

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array

__all__ = ["Translation", "Translator"]

_MOST_BEAMS = 1024
_MOST_REQUESTS = 16
_PLAIN = {int, float, type(None)}
"""What may be looked up: of others, nothing says that they stay what they are."""
_MOST_SPARE = 4
"""Searches that are kept for later calls: as many as go on at the same time."""


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
    """

    tokens: NDArray[np.int64]
    score: float
    text: str | None = None


class _Request(msgspec.Struct, frozen=True):
    """What a translator is asked for, checked: what is read first, how it searches, and how many are wanted."""

    start: NDArray[np.int64]
    beams: Beams
    count: int


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

    Raises
    ------
    ModelError, StreamingError
        If something that is handed over is not there, or of another size, or the decoder does not generate.

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
    ) -> None:
        if not isinstance(encoder, Network) or not isinstance(decoder, Network | None):
            raise InputTypeError("Translator: expected models, got something else")
        if decoder is None:
            encoder, decoder, states, inputs = _parts(encoder, states, inputs)
        if len(encoder.inputs) != 1:
            names = listed(port.name for port in encoder.inputs)
            raise ModelError(f"Translator: expected an encoder of one input, got one of [{names}]")
        if reason := decoder.unstreamable_reason:
            raise ModelError(f"Translator: expected a decoder that streams, got one that cannot: {reason}")
        self._encoder, self._decoder = encoder, decoder
        self._ports = generator_ports("Translator", decoder, output)
        read = {port.name: (port.size,) for number, port in enumerate(decoder.inputs) if number != self._ports.input}
        self._states = _handed("states", states, decoder.state_shapes, encoder)
        self._inputs = _handed("inputs", inputs, read, encoder)
        self._contexts = _handed_contexts(contexts, decoder, encoder)
        self._vocabulary = decoder.vocabularies.get(decoder.inputs[self._ports.input].name)
        self._spare: dict[Any, list[Search]] = {}
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
        allowed: ArrayLike | None = None,
    ) -> Translation | list[Translation]:
        """Return the best sequence for a source, or the best ones.

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
        given = (start, stop, beam, length_penalty, max_tokens, n_best)
        types = tuple(map(type, given))
        key = (given, types) if _PLAIN.issuperset(types) else None
        request = None if key is None else self._requests.get(key)
        if request is None:
            request = self._checked(*given)
            if key is not None:
                self._keep(key, request)
        handed, memories = self._read(self._encoder.vocabulary.encode(source) if isinstance(source, str) else source)
        memory = {name: memories[output] for name, output in self._contexts.items()}
        context = context_for("Translator", self._decoder, memory or None, "propagate")
        search = self._take(request.beams, allowed)
        try:
            found = search.run(
                request.start,
                {name: handed[given] for name, given in self._states.items()},
                {name: handed[given] for name, given in self._inputs.items()},
                context,
            )
        except InputValueError as error:
            raise InputValueError(f"Translator: {error}") from None
        self._give_back(request.beams, allowed, search)
        known = self._vocabulary
        translations = [
            Translation(each.tokens, each.score, None if known is None else known.decode(each.tokens.tolist()))
            for each in found[: request.count]
        ]
        return translations[0] if n_best is None else translations

    def _checked(
        self,
        start: SupportsIndex | Sequence[int] | None,
        stop: Sequence[int] | int | None,
        beam: SupportsIndex,
        length_penalty: float,
        max_tokens: SupportsIndex,
        n_best: SupportsIndex | None,
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
        beams = Beams(
            count,
            checked_count(f"{where}: max_tokens", max_tokens),
            checked_number(f"{where}: length_penalty", length_penalty),
            tuple(tokens_of(f"{where}: stop", stop, size).tolist()),
        )
        return _Request(tokens_of(f"{where}: start", start, size, least=1), beams, wanted)

    def _keep(self, key: Any, request: _Request) -> None:
        """Keep what was checked, for later calls that ask for the same."""
        if len(self._requests) >= _MOST_REQUESTS:
            self._requests.clear()
        self._requests[key] = request

    def _take(self, beams: Beams, allowed: ArrayLike | None) -> Search:
        """Return memory for a search: of an earlier one of its kind, if there is some."""
        if allowed is None:
            try:
                return self._spare[beams].pop()
            except (KeyError, IndexError):
                pass
        table = None
        if allowed is not None:
            options: dict[str, Any] = {"temperature": 0, "top_k": None, "top_p": None, "repetition_penalty": 1}
            size = self._ports.vocabulary_size
            table = checked_choice("Translator", size, **options, allowed=allowed, stop=beams.stop).allowed
        return Search(self._decoder, self._ports, beams, table)

    def _give_back(self, beams: Beams, allowed: ArrayLike | None, search: Search) -> None:
        if allowed is not None:
            return
        if beams not in self._spare and len(self._spare) >= _MOST_SPARE:
            self._spare.clear()
        spare = self._spare.setdefault(beams, [])
        if len(spare) < _MOST_SPARE:
            spare.append(search)

    def _read(self, source: ArrayLike) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Return what the encoder makes of a source: its outputs at the end, and its final states; and all outputs."""
        names = {*self._states.values(), *self._inputs.values()}
        outputs = {port.name: port.value for port in self._encoder.outputs}
        if len(outputs) == 1 and names <= outputs.keys():  # the quick way
            answer = self._encoder.run(source)
            (name,) = outputs
            return {name: answer if answer.ndim == 1 else answer[-1]}, {name: answer}
        port = self._encoder.inputs[0]
        given: Any = np.asarray(source)
        expected = (1,) if port.tokens else (2,)
        if given.ndim not in expected:
            shape = "(n,)" if port.tokens else f"(n, {port.size})"
            raise InputTypeError(f"Translator: source: expected shape {shape}, got {given.shape}")
        self._encoder.run(source)  # which says what does not fit
        batch = Batch(self._encoder, "refuse", 1, len(given), None, [name for name in names if name not in outputs])
        batch.run([np.ascontiguousarray(given[np.newaxis], np.int64 if port.tokens else np.float32)], {})
        found: dict[str, Array] = {name: state[0] for name, state in batch.final_states.items()}
        memories: dict[str, Array] = {}
        for output, array in zip(self._encoder.outputs, batch.outputs, strict=True):
            found[output.name] = array[0] if array.ndim == 2 else array[0, -1]
            memories[output.name] = array[0]
        return found, memories


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


def _handed(
    what: str, given: Mapping[str, str] | None, wanted: Mapping[str, tuple[int, ...]], encoder: Network
) -> dict[str, str]:
    """Return which of the encoder's outputs and states each state, or input, of the decoder is."""
    there: dict[str, tuple[int, ...]] = {**encoder.state_shapes}
    there |= {output.name: (encoder.values[output.value].size,) for output in encoder.outputs}
    if given is None:
        given = {name: name for name, shape in wanted.items() if name in there and _alike(there[name], shape)}
        outputs = [output.name for output in encoder.outputs]
        if not given and len(wanted) == len(outputs) == 1 and _alike(there[outputs[0]], *wanted.values()):
            given = dict.fromkeys(wanted, outputs[0])
        if given.keys() != wanted.keys():
            raise ModelError(
                f"Translator: {what}: expected for each of {_shapes(wanted)} one of the encoder's {_shapes(there)}: "
                f"say which, as {what}={{{next(iter(wanted))!r}: ...}}"
            )
    for name, source in given.items():
        if name not in wanted or source not in there:
            raise ModelError(
                f"Translator: {what}: expected {_shapes(wanted)} of the decoder as {_shapes(there)} of the encoder, "
                f"got {described(name)}: {described(source)}"
            )
        if not _alike(wanted[name], there[source]):
            raise ModelError(
                f"Translator: {what}: {name!r} has the shape {wanted[name]}, and {source!r} {there[source]}"
            )
    if what == "inputs" and given.keys() != wanted.keys():
        raise ModelError(f"Translator: inputs: expected all of {_shapes(wanted)}, got [{listed(given)}]")
    return dict(given)


def _alike(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for axes of size 1."""
    return [size for size in shape if size > 1] == [size for size in other if size > 1]


def _handed_contexts(given: Mapping[str, str] | None, decoder: Network, encoder: Network) -> dict[str, str]:
    """Return which of the encoder's outputs each context of the decoder is made of."""
    sizes = {
        port.name: encoder.values[port.value].size for port in encoder.outputs if encoder.values[port.value].per_step
    }
    wanted = decoder.context_shapes
    if given is None:
        given = {name: name for name in wanted if name in sizes}
        if not given and len(wanted) == len(sizes) == 1:
            given = dict(zip(wanted, sizes, strict=True))
    if given.keys() != wanted.keys() or not sizes.keys() >= set(given.values()):
        raise ModelError(
            f"Translator: contexts: expected for each of {_shapes(wanted)} one of the outputs that the encoder gives "
            f"at every timestep, [{listed(sizes)}], got {dict(given)}"
        )
    for name, source in given.items():
        axis, _ = decoder.open_contexts.get(name, (None, None))
        of_a_place = [size for place, size in enumerate(wanted[name]) if place != axis and size > 1]
        if axis is None or of_a_place != [size for size in (sizes[source],) if size > 1]:
            raise ModelError(
                f"Translator: contexts: expected {name!r} {wanted[name]} of vectors of {source!r}, {sizes[source]} "
                "numbers each, and as many as there are: convert the decoder with --context and --size"
            )
    return dict(given)


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name!r} {shape}" for name, shape in shapes.items()) or "nothing"
