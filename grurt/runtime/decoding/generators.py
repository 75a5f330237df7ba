"""Prompts in, tokens out: of a stream, block by block, and of many streams of a pool together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict, Unpack

import numpy as np

from grurt.errors import ConcurrentUseError, InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described
from grurt.network.costs import MIN_BLOCK_ROWS
from grurt.network.frames import frames_of
from grurt.network.generator_ports import GeneratorPorts, generator_ports
from grurt.runtime import arrays
from grurt.runtime.decoding.choice import Choice, checked_choice, checked_count, checked_seeds, tokens_of
from grurt.runtime.decoding.generation import Generation, StuckError, nothing_to_choose

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.runtime.context import Context
    from grurt.runtime.pool_calls import Calls

    class Options(TypedDict, total=False):
        """How tokens are chosen: the arguments of `grurt.Model.generate` by keyword."""

        temperature: float
        top_k: SupportsIndex | None
        top_p: float | None
        repetition_penalty: float
        allowed: ArrayLike | None
        stop: Sequence[int] | int
        prefix: Any
        inputs: Mapping[str, ArrayLike] | None
        output: str | None


_PROMPT_BLOCK = 64
"""Timesteps of a prompt that are read at a time."""

_DEFAULTS = {"temperature": 1.0, "top_k": None, "top_p": None, "repetition_penalty": 1.0, "allowed": None, "stop": ()}


class Request:
    """What a generator is asked for, checked against its model."""

    def __init__(
        self, where: str, network: Network, max_tokens: SupportsIndex, n_rows: int | None, options: Options
    ) -> None:
        known = {*_DEFAULTS, "prefix", "inputs", "output"}
        if unknown := sorted(options.keys() - known):
            raise TypeError(f"{where}: expected some of {', '.join(sorted(known))}, got {', '.join(unknown)}")
        self.ports: GeneratorPorts = generator_ports(where, network, options.get("output"))
        self.max_tokens = checked_count(f"{where}: max_tokens", max_tokens)
        given: dict[str, Any] = {name: options.get(name, default) for name, default in _DEFAULTS.items()}
        self.choice: Choice = checked_choice(where, self.ports.vocabulary_size, **given)
        self._network = network
        self.others = _other_inputs(where, network, self.ports.input, options.get("inputs"), n_rows)

    def prompt(self, where: str, tokens: Any) -> NDArray[np.int64]:
        """Return a prompt, of at least one token; of a text, its tokens."""
        if isinstance(tokens, str):
            vocabulary = self._network.vocabularies.get(self._network.inputs[self.ports.input].name)
            tokens = (vocabulary or self._network.vocabulary).encode_part(tokens)
        return tokens_of(where, tokens, self.ports.vocabulary_size, least=1)

    def prefix(self, where: str, tokens: Any) -> NDArray[np.int64]:
        """Return tokens that are given first, not more than are wanted."""
        found = tokens_of(where, tokens, self.ports.vocabulary_size)
        if len(found) > self.max_tokens:
            raise InputShapeError(f"{where}: expected at most max_tokens={self.max_tokens} tokens, got {len(found)}")
        return found


def generate_of_stream(
    where: str,
    network: Network,
    context: Context,
    read: Callable[[Any], object],
    states: tuple[Callable[[], Array], Callable[[Array], None]],
    prompt: Any,
    max_tokens: SupportsIndex,
    seed: SupportsIndex,
    block_size: SupportsIndex,
    **options: Unpack[Options],
) -> Iterator[NDArray[np.int64]]:
    """Read a prompt, and return what yields the tokens behind it in blocks: see `grurt.Stream.generate`.

    Parameters
    ----------
    where
        What messages begin with.
    network, context
        The stream's.
    read
        Advances the stream by a block of inputs.
    states
        Returns a copy of the stream's state, its number of timesteps in front; and goes back to one.
    prompt, max_tokens, seed, block_size, options
        Those of the caller.
    """
    request = Request(where, network, max_tokens, None, options)
    tokens = request.prompt(f"{where}: prompt", prompt)
    prefix = request.prefix(f"{where}: prefix", options.get("prefix", ()))
    size = checked_count(f"{where}: block_size", block_size)
    others = {place: array[np.newaxis].copy() for place, array in request.others.items()}
    generation = Generation(
        context,
        request.ports,
        request.choice,
        [tokens[-1:]],
        [prefix],
        checked_seeds(where, seed, 1),
        request.max_tokens,
        others,
    )
    generation.see(0, tokens)
    saved, restore = states
    before = saved()
    try:
        _read_prompt(network, request, tokens[:-1], read)
    except BaseException:
        restore(before)
        raise
    return _blocks(where, context, generation, size, (saved, restore))


def _read_prompt(network: Network, request: Request, tokens: NDArray[np.int64], read: Callable[[Any], object]) -> None:
    for start in range(0, len(tokens), _PROMPT_BLOCK):
        part = tokens[start : start + _PROMPT_BLOCK]
        inputs: dict[str, Array] = {}
        for place, port in enumerate(network.inputs):
            if place != request.ports.input:
                given = request.others[place]
                inputs[port.name] = np.broadcast_to(given, (len(part), *given.shape))
            elif port.tokens:
                inputs[port.name] = part
            else:
                inputs[port.name] = (part[:, np.newaxis] == np.arange(port.size)).astype(np.float32)
        read(inputs)


def _blocks(
    where: str,
    context: Context,
    generation: Generation,
    size: int,
    states: tuple[Callable[[], Array], Callable[[Array], None]],
) -> Iterator[NDArray[np.int64]]:
    saved, restore = states
    expected = _steps(saved())
    while generation.goes_on:
        before, count = saved(), int(generation.counts[0])
        if _steps(before) != expected:
            raise ConcurrentUseError(
                f"{where}: expected the stream where the last block has left it, at timestep {expected}, got it at "
                f"{_steps(before)}: do not advance it before the last block"
            )
        try:
            context.exclusively(generation.run, size)
        except StuckError as error:
            restore(before)
            raise InputValueError(f"{where}: {nothing_to_choose(error.number)}") from None
        expected = _steps(saved())
        yield generation.tokens[0, count : int(generation.counts[0])].copy()


def _steps(state: Array) -> int:
    return int(state[:2].view(np.int64)[0])


def generate_of_pool(
    where: str,
    network: Network,
    calls: Calls,
    claim: Callable[[Callable[[NDArray[np.int64]], None]], None],
    prompts: Any,
    n_rows: int,
    max_tokens: SupportsIndex,
    seed: SupportsIndex | ArrayLike,
    **options: Unpack[Options],
) -> list[NDArray[np.int64]]:
    """Return the tokens that streams of a pool give behind their prompts: see `grurt.StreamPool.generate`.

    ``claim`` calls what it is given with the slots of the streams, in a pool that nobody else uses.
    """
    request = Request(where, network, max_tokens, n_rows, options)
    given = _rows(f"{where}: prompts", prompts, n_rows)
    read = [request.prompt(f"{where}: prompts[{row}]", tokens) for row, tokens in enumerate(given)]
    prefix = options.get("prefix", ())
    of_rows = _rows(f"{where}: prefix", prefix, n_rows) if _is_nested(prefix) else [prefix] * n_rows
    prefixes = [request.prefix(f"{where}: prefix", tokens) for tokens in of_rows]
    seeds = checked_seeds(where, seed, n_rows)
    if not n_rows:
        return []

    n_parts = min(len(calls.contexts), -(-n_rows // MIN_BLOCK_ROWS))
    parts = [np.arange(first, n_rows, n_parts) for first in range(n_parts)]
    generations = [
        _generation_of(context, request, rows, read, prefixes, seeds)
        for context, rows in zip(calls.contexts, parts, strict=False)
    ]
    longest = max(map(len, read)) + request.max_tokens
    claim(lambda streams: _run_side_by_side(where, calls, generations, parts, longest, streams))
    tokens: list[Any] = [None] * n_rows
    for generation, rows in zip(generations, parts, strict=True):
        for place, row in enumerate(rows.tolist()):
            tokens[row] = generation.tokens[place, : generation.counts[place]].copy()
    return tokens


def _generation_of(
    context: Context,
    request: Request,
    rows: NDArray[np.int64],
    prompts: Sequence[NDArray[np.int64]],
    prefixes: Sequence[NDArray[np.int64]],
    seeds: NDArray[np.int64],
) -> Generation:
    """Return what some of the rows of a request generate, as the streams of a context."""
    read = [prompts[row] for row in rows.tolist()]
    generation = Generation(
        context,
        request.ports,
        request.choice,
        read,
        [prefixes[row] for row in rows.tolist()],
        seeds[rows],
        request.max_tokens,
        {place: array[rows] for place, array in request.others.items()},
    )
    for place, tokens in enumerate(read):
        generation.see(place, tokens)
    return generation


def _run_side_by_side(
    where: str,
    calls: Calls,
    generations: Sequence[Generation],
    parts: Sequence[NDArray[np.int64]],
    n_steps: int,
    streams: NDArray[np.int64],
) -> None:
    """Run generations, each of some of the rows in a thread of its own; raise for the first row that is stuck."""
    stuck: list[tuple[int, int, int]] = []

    def run(generation: Generation, rows: NDArray[np.int64], is_interrupted: Callable[[], bool]) -> None:
        try:
            generation.run(n_steps, streams[rows], is_interrupted)
        except StuckError as error:
            stuck.append((error.timestep, int(rows[error.row]), error.number))

    calls.share([partial(run, generation, rows) for generation, rows in zip(generations, parts, strict=True)])
    if stuck:
        _, row, number = min(stuck)
        raise InputValueError(f"{where}: {nothing_to_choose(number, row)}")


def _rows(where: str, given: Any, n_rows: int) -> Any:
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str):
        raise InputTypeError(f"{where}: expected tokens for each of {n_rows} streams, got {described(given)}")
    if len(given) != n_rows:
        raise InputShapeError(f"{where}: expected tokens for each of {n_rows} streams, got {len(given)}")
    return given


def _is_nested(given: Any) -> bool:
    return isinstance(given, Sequence | np.ndarray) and any(isinstance(each, Sequence | np.ndarray) for each in given)


def _other_inputs(
    where: str, network: Network, place: int, given: Mapping[str, ArrayLike] | None, n_rows: int | None
) -> dict[int, Array]:
    """Return the inputs that are the same at every timestep, by their places: of rows ``(n_rows, size)``."""
    given = {} if given is None else dict(given)
    names = [port.name for number, port in enumerate(network.inputs) if number != place]
    if given.keys() != set(names):
        raise InputShapeError(
            f"{where}: inputs: expected what the model reads beside its tokens, {names}, "
            f"got [{', '.join(map(described, given))}]"
        )
    frames = frames_of(network)
    found: dict[int, Array] = {}
    for number, port in enumerate(network.inputs):
        if number == place:
            continue
        named = f"{where}: inputs: {port.name!r}"
        array: Any = (arrays.tokens if port.tokens else arrays.features)(named, given[port.name])
        shape = frames.inputs[port.name].shape
        if n_rows is not None and array.shape == shape:
            array = np.repeat(array[np.newaxis], n_rows, axis=0)
        arrays.expect_shape(named, array, shape if n_rows is None else (n_rows, *shape))
        if port.tokens and ((array < 0) | (array >= port.size)).any():
            raise InputValueError(f"{named}: expected token ids in [0, {port.size}), got {array.tolist()}")
        if not port.tokens and not np.isfinite(array).all():
            raise InputValueError(f"{named}: expected finite numbers, got NaN or infinity")
        found[number] = array
    return found
