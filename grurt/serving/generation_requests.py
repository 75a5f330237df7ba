"""What a client asks a model to generate: a prompt, and options, in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError, InputTypeError
from grurt.escaping import described, listed
from grurt.serving.numbers import array_of_numbers, shaped_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.network.network import Network
    from grurt.serving.limits import Limits

DEFAULT_TOKENS = 200
DEFAULT_BLOCK = 16
_TOKEN = np.dtype(np.int64)


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What is to be generated.

    Parameters
    ----------
    prompt
        Token ids ``(n,)``, at least one.
    max_tokens, seed, block_size
        As `grurt.Stream.generate` has them.
    options
        Its others.
    stop
        The tokens that end the answer.
    as_text
        Whether the prompt was a text, and the answer is one, too.
    """

    prompt: NDArray[np.int64]
    max_tokens: int
    seed: int
    block_size: int
    stop: frozenset[int]
    options: dict[str, Any] = field(default_factory=dict)
    as_text: bool


def read_generation(given: Mapping[str, Any], network: Network, limits: Limits) -> GenerationRequest:
    """Read a request to generate.

    Parameters
    ----------
    given
        ``prompt``, a text or a list of token ids, and options of `grurt.Stream.generate`.
    network
        Whose tokens they are.
    limits
        How many tokens a request may have, those of the prompt among them.

    Raises
    ------
    InputShapeError, InputTypeError, InputValueError, ModelError
        If it is none: what depends on the model alone is checked when the generation begins.
    """
    if unknown := sorted(given.keys() - _OPTIONS.keys() - {"prompt"}):
        raise InputTypeError(
            f"generate: expected prompt, and some of {listed(_OPTIONS)}, got {listed(map(described, unknown))}"
        )
    prompt = given.get("prompt")
    options = {name: _OPTIONS[name](name, value) for name, value in given.items() if name != "prompt"}
    as_text = isinstance(prompt, str)
    tokens = network.vocabulary.encode(prompt) if isinstance(prompt, str) else _token_list("prompt", prompt)
    if as_text and "stop" not in options and network.vocabulary.end is not None:
        options["stop"] = [network.vocabulary.end]
    if isinstance(options.get("prefix"), str):
        options["prefix"] = network.vocabulary.encode(options["prefix"])
    max_tokens = options.pop("max_tokens", min(DEFAULT_TOKENS, max(1, limits.tokens - len(tokens))))
    if not 1 <= max_tokens <= limits.tokens - len(tokens):
        raise InputShapeError(
            f"generate: expected at least 1 token, and at most {limits.tokens} with the {len(tokens)} of the prompt, "
            f"got max_tokens={max_tokens}: see --max-tokens"
        )
    return GenerationRequest(
        prompt=tokens,
        max_tokens=max_tokens,
        seed=options.pop("seed", 0),
        block_size=min(options.pop("block_size", DEFAULT_BLOCK), max_tokens),
        stop=frozenset(options.get("stop", ())),
        options=options,
        as_text=as_text,
    )


def _number(name: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise InputTypeError(f"generate: {name}: expected a number, got {described(value)}")
    return float(value)


def _integer(name: str, value: Any) -> int:
    if type(value) is not int:
        raise InputTypeError(f"generate: {name}: expected an integer, got {described(value)}")
    return value


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputTypeError(f"generate: {name}: expected a text, got {described(value)}")
    return value


def _token_list(name: str, value: Any) -> NDArray[np.int64]:
    if not isinstance(value, list):
        raise InputTypeError(f"generate: {name}: expected a text, or a list of token ids, got {described(value)}")
    return array_of_numbers(f"generate: {name}", value, _TOKEN)


def _stop(name: str, value: Any) -> list[int]:
    return [int(token) for token in _token_list(name, value if isinstance(value, list) else [value])]


def _prefix(name: str, value: Any) -> Any:
    return value if isinstance(value, str) else _token_list(name, value)


def _allowed(name: str, value: Any) -> NDArray[np.bool_]:
    numbers, shape = shaped_numbers(f"generate: {name}", value)
    return array_of_numbers(f"generate: {name}", numbers, np.dtype(bool)).reshape(shape)


def _inputs(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputTypeError(f"generate: {name}: expected an object of inputs by name, got {described(value)}")
    return {key: _array(f"generate: {name}: {described(key)}", each) for key, each in value.items()}


def _array(where: str, value: Any) -> NDArray[Any]:
    numbers, shape = shaped_numbers(where, value)
    is_whole = all(type(number) is int for number in numbers)
    return array_of_numbers(where, numbers, _TOKEN if is_whole else np.dtype(np.float64)).reshape(shape)


_OPTIONS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_tokens": _integer,
    "seed": _integer,
    "block_size": _integer,
    "temperature": _number,
    "top_k": _integer,
    "top_p": _number,
    "repetition_penalty": _number,
    "stop": _stop,
    "prefix": _prefix,
    "allowed": _allowed,
    "inputs": _inputs,
    "output": _name,
}
