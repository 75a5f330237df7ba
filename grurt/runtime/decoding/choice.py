"""How a token is chosen from the scores that a model gives: the options of every generator, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import msgspec
import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described
from grurt.network.vectors import padded
from grurt.runtime import arrays
from grurt.runtime.pool_ids import integer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Floats

SEEDS = 1 << 64
"""Seeds are from 0 to this, modulo which others are taken."""


class Choice(msgspec.Struct, frozen=True):
    """How tokens are chosen: see `grurt.Model.generate`.

    ``top_k`` is the vocabulary's size where all count; ``allowed`` is float32, 0 where a token is allowed and minus
    infinity elsewhere, ``(1 or vocabulary_size, padded size)``, or None.
    """

    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    allowed: Floats | None
    stop: NDArray[np.int64]


def checked_choice(
    where: str,
    vocabulary_size: int,
    *,
    temperature: float,
    top_k: SupportsIndex | None,
    top_p: float | None,
    repetition_penalty: float,
    allowed: ArrayLike | None,
    stop: Sequence[int] | int,
) -> Choice:
    """Return the options if each of them makes sense.

    Raises
    ------
    InputTypeError, InputValueError, InputShapeError
        If one does not.
    """
    stops = tokens_of(f"{where}: stop", stop, vocabulary_size)
    return Choice(
        temperature=_number(f"{where}: temperature", temperature, "of at least 0", lambda t: t >= 0),
        top_k=vocabulary_size if top_k is None else _count(f"{where}: top_k", top_k),
        top_p=1.0 if top_p is None else _number(f"{where}: top_p", top_p, "above 0, up to 1", lambda p: 0 < p <= 1),
        repetition_penalty=_number(f"{where}: repetition_penalty", repetition_penalty, "above 0", lambda r: r > 0),
        allowed=None if allowed is None else _allowed(f"{where}: allowed", allowed, vocabulary_size, stops),
        stop=stops,
    )


def checked_count(where: str, count: SupportsIndex) -> int:
    """Return how many tokens or timesteps there are to be: at least 1."""
    number = _count(where, count)
    arrays.expect_timesteps(where, (number,))
    return number


def checked_seeds(where: str, seed: SupportsIndex | ArrayLike, n_rows: int) -> NDArray[np.int64]:
    """Return a seed for each row: of one number, that and the following ones."""
    number = integer(seed)
    if number is not None:
        seeds = [(number + row) % SEEDS for row in range(n_rows)]
    else:
        given = [integer(each) for each in seed] if isinstance(seed, Sequence | np.ndarray) else []
        if len(given) != n_rows or None in given:
            raise InputTypeError(
                f"{where}: expected seed to be an integer, or one for each of {n_rows} streams, got {described(seed)}"
            )
        seeds = [each % SEEDS for each in given if each is not None]
    return np.array(seeds, np.uint64).view(np.int64)


def checked_number(where: str, value: float) -> float:
    """Return a number if it is finite."""
    return _number(where, value, "that is finite", lambda number: True)


def tokens_of(where: str, tokens: Any, vocabulary_size: int, *, least: int = 0) -> NDArray[np.int64]:
    """Return token ids ``(n,)`` that all exist, as they are now.

    Raises
    ------
    InputShapeError, InputTypeError, InputValueError
        If they are no list of integers, there are fewer than ``least``, or one does not exist.
    """
    given = [tokens] if integer(tokens) is not None else tokens
    if isinstance(given, Sequence | np.ndarray) and len(given) == 0:
        found = np.zeros(0, np.int64)
    else:
        found = arrays.integers(where, given, "token ids of an integer dtype")
    arrays.expect_shape(where, found, ("n",))
    if len(found) < least:
        raise InputShapeError(f"{where}: expected at least {least} token, got {len(found)}")
    if (wrong := (found < 0) | (found >= vocabulary_size)).any():
        place = int(wrong.argmax())
        raise InputValueError(f"{where}[{place}]: expected a token id in [0, {vocabulary_size}), got {found[place]}")
    return found


def _number(where: str, value: Any, expected: str, fits: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputTypeError(f"{where}: expected a number {expected}, got {described(value)}") from None
    if not math.isfinite(number) or not fits(number) or not fits(float(np.float32(number))):
        raise InputValueError(f"{where}: expected a number {expected}, got {number}")
    return number


def _count(where: str, value: SupportsIndex) -> int:
    number = integer(value)
    if number is None:
        raise InputTypeError(f"{where}: expected an integer of at least 1, got {described(value)}")
    if number < 1:
        raise InputValueError(f"{where}: expected an integer of at least 1, got {number}")
    return min(number, arrays.MAX_TIMESTEPS + 1)


def _allowed(where: str, allowed: ArrayLike, size: int, stop: NDArray[np.int64]) -> Floats:
    table = np.asarray(allowed)
    if table.dtype.kind != "b":
        raise InputTypeError(f"{where}: expected booleans, got dtype {table.dtype}")
    if table.shape not in ((size,), (size, size)):
        raise InputShapeError(
            f"{where}: expected the shape ({size},), or ({size}, {size}) with a row for each token before, "
            f"got {table.shape}"
        )
    table = table.reshape(-1, size)
    stuck = np.logical_not(table).all(axis=1).reshape(-1)
    if len(table) > 1:
        stuck[stop] = False  # nothing comes behind them
    if stuck.any():
        before = f" behind token {int(stuck.argmax())}" if len(table) > 1 else ""
        raise InputValueError(f"{where}: expected at least one token that is allowed{before}, got none")
    rows = np.zeros((len(table), padded(size)), np.float32)
    rows[:, :size][~table] = -np.inf
    return rows
