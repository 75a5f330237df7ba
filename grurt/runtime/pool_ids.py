"""Ids of a pool's streams, as callers hand them in: read once, checked, and described where they do not fit."""

from __future__ import annotations

import operator
import sys
from collections.abc import Hashable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, cast

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError, StreamIdError
from grurt.escaping import described
from grurt.runtime import arrays
from grurt.runtime.foreign import was_raised_below

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array

Ids: TypeAlias = "Sequence[Hashable] | NDArray[np.integer[Any]] | Any"
Taken: TypeAlias = "NDArray[np.int64] | tuple[Hashable, ...]"
"""Ids as they were when a call began: numbers of streams, or their names."""

_NO_IDS = np.zeros(0, np.int64)


def taken(where: str, ids: Ids, *, are_names: bool) -> Taken:
    """Return ids as they are now: an array of int64 ``(n_streams,)`` that is nobody else's, or a tuple of names."""
    found: Any = _copied(where, ids)
    if found is None:
        raise StreamIdError(f"{where}: expected a sequence of ids, got {type(ids).__name__}")
    if are_names:
        return tuple(found)
    if len(found) == 0:
        return _NO_IDS
    try:
        numbers = arrays.integers(where, found, "integers, as this pool numbers its streams")
    except (InputTypeError, InputValueError) as error:
        raise StreamIdError(str(error)) from None
    if numbers.ndim != 1:
        raise InputShapeError(f"{where}: expected ids of shape (n_streams,), got {numbers.shape}")
    return numbers


def number_or_names(streams: SupportsIndex | Iterable[Hashable]) -> tuple[int, Iterable[Hashable] | None]:
    """Return how many streams there are to be, and None; or 0, and their names."""
    names: Any = _copied("Model.pool", streams)
    if names is not None:
        return 0, names
    number = integer(streams)
    if number is not None:
        if number < 0:
            found = described(number)
            raise InputValueError(f"Model.pool: expected a number of streams of at least 0, got {found}")
        return number, None
    try:
        return 0, iter(streams)  # type: ignore[arg-type]
    except TypeError as error:
        if was_raised_below(error):
            raise
        found = type(streams).__name__
        raise InputTypeError(f"Model.pool: expected a number of streams, or their ids, got {found}") from None


def integer(value: Any) -> int | None:
    """Return what stands for an integer as one; None for anything else."""
    try:
        return operator.index(value)
    except TypeError as error:
        if was_raised_below(error):
            raise
        return None


def no_stream(where: str, stream_id: object) -> StreamIdError:
    """Return the exception for an id that no stream has."""
    return StreamIdError(f"{where}: there is no stream {described(stream_id)}")


def _copied(where: str, ids: Any) -> Array | tuple[Hashable, ...] | None:
    """Return ids as they are now; None unless they are a sequence."""
    if issubclass(type(ids), np.ndarray):
        if arrays.is_masked(ids):
            raise StreamIdError(f"{where}: expected an id everywhere, got masked elements: leave them out first")
        found = arrays.own_copy(cast("Array", ids))
        return found if found.ndim else None
    if isinstance(ids, str | bytes | bytearray | memoryview):  # each is a sequence, of letters or of bytes
        found_ids = described(ids)
        raise StreamIdError(f"{where}: expected a sequence of ids, got {found_ids}: a single id stands in a list")
    if not isinstance(ids, Sequence):
        return None
    if type(ids) in (list, tuple):
        return tuple(ids)
    try:
        length = len(ids)
    except (ValueError, OverflowError, TypeError) as error:
        if was_raised_below(error):
            raise
        raise StreamIdError(f"{where}: expected a sequence of ids that has a length: {error}") from None
    taken_ids = tuple(islice(ids, min(length, sys.maxsize - 1) + 1))
    if len(taken_ids) > length:
        raise StreamIdError(f"{where}: expected as many ids as their sequence says, {length}, got more")
    return taken_ids
