"""Which rows of a bucket are timesteps, in what order, and where a key begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.spark.settings import Ties

    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

_LARGEST = np.iinfo(np.int64).max


class Ordered(NamedTuple):
    """Rows, by their places among those that were handed in."""

    steps: Integers
    """Those that are timesteps: one key after the other, each in order."""
    episodes: Integers
    """Of each of them, how often its key has begun anew up to there, in these rows."""
    late: Integers
    """Those that are behind what their key has answered already."""
    repeated: Integers
    """Those whose order value their key has had."""


def in_order(
    slots: Integers, orders: Integers, last: Integers, is_known: Flags, *, ties: Ties, idle: int | None
) -> Ordered:
    """Sort the rows of many keys.

    Parameters
    ----------
    slots
        ``(n_rows,)``: which key each is of.
    orders
        ``(n_rows, n_orders)``: compared from the first column to the last.
    last
        ``(n_keys, n_orders)``: of the last row that each key has answered,
    is_known
        ``(n_keys,)``: if it has answered any.
    ties
        ``"skip"``: a row whose order value its key has had is repeated. ``"keep"``: it is one more timestep, behind
        those that came before it.
    idle
        By how much the first order value may rise from one row to the next before the key begins anew.
    """
    by_key = np.lexsort((*orders.T[::-1], slots))
    slots, orders = slots[by_key], orders[by_key]
    behind = _compared(orders, last[slots])
    behind[~is_known[slots]] = 1
    late = behind < 0
    repeated = np.zeros(len(slots), bool)
    if ties == "skip":
        follows_equal = np.zeros(len(slots), bool)
        follows_equal[1:] = (slots[1:] == slots[:-1]) & (orders[1:] == orders[:-1]).all(axis=1)
        repeated = ((behind == 0) | follows_equal) & ~late
    steps = ~(late | repeated)
    episodes = _episodes(slots[steps], orders[steps, 0], last[:, 0], is_known, idle)
    return Ordered(by_key[steps], episodes, by_key[late], by_key[repeated])


def _compared(orders: Integers, others: Integers) -> NDArray[np.int8]:
    """Return -1, 0 or 1 for each row of order values that is before, at or behind the other one."""
    result = np.zeros(len(orders), np.int8)
    for order, other in zip(orders.T, others.T, strict=True):
        sign = (order > other).astype(np.int8) - (order < other).astype(np.int8)
        result = np.where(result == 0, sign, result)
    return result


def _episodes(slots: Integers, orders: Integers, last: Integers, is_known: Flags, idle: int | None) -> Integers:
    """Return of each sorted row how often its key has begun anew because of a gap longer than ``idle``."""
    if idle is None or not len(slots):
        return np.zeros(len(slots), np.int64)
    is_first = np.ones(len(slots), bool)
    is_first[1:] = slots[1:] != slots[:-1]
    before = np.where(is_first, last[slots], np.concatenate([[0], orders[:-1]]))
    begins = passed(before, idle, orders) & (~is_first | is_known[slots])
    counts: Integers = np.cumsum(begins)
    first_of_key = np.flatnonzero(is_first)
    before_key: Integers = (counts - begins)[first_of_key]
    return counts - np.repeat(before_key, np.diff(first_of_key, append=len(slots)))


def passed(moments: Integers, wait: int, now: Integers | int) -> Flags:
    """Return whether more than ``wait`` has passed since some moments; nothing overflows."""
    latest = np.where(moments > _LARGEST - wait, _LARGEST, moments + np.int64(wait))
    return latest < now


def beginnings(numbers: Integers) -> Integers:
    """Return where runs of equal numbers begin.

    Examples
    --------
    >>> beginnings(np.array([7, 7, 3, 7])).tolist()
    [0, 2, 3]
    """
    is_first = np.ones(len(numbers), bool)
    is_first[1:] = numbers[1:] != numbers[:-1]
    return np.flatnonzero(is_first)


def codes_of(keys: Any) -> Integers:
    """Return a number for each of an Arrow array's keys, equal for equal ones; -1 for null."""
    codes: Integers = keys.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes
