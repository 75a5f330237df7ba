"""Blocks of different lengths, one after the other in memory, as blocks of streams that go on together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def even_blocks(lengths: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the parts of ragged blocks in which every stream has equally many rows, in the order of time.

    Where ``n`` streams have ``lengths[i]`` rows each, one stream after the other, the first part holds the first rows
    of all streams, as many as the shortest has; the next one those of all others, up to the next length; and so on.
    There are as many parts as different lengths: at most ``sqrt(2 * n_rows)``, since the sum of different lengths is no
    more than the number of rows.

    Parameters
    ----------
    lengths
        ``(n,)``, 0 or more. Streams without rows are in no part.

    Yields
    ------
    Which streams, ``(k,)``, and where their rows are, ``(k, n_steps)``.

    Examples
    --------
    >>> for streams, rows in even_blocks(np.array([1, 3, 0, 1])):
    ...     print(streams, rows.tolist())
    [1 0 3] [[1], [0], [4]]
    [1] [[2, 3]]
    """
    longest_first = np.argsort(-lengths, kind="stable")
    begins = (np.cumsum(lengths) - lengths)[longest_first]
    ends, counts = np.unique(lengths, return_counts=True)
    n_active, done = len(lengths), 0
    for end, count in zip(ends.tolist(), counts.tolist(), strict=True):
        if end > done:
            yield longest_first[:n_active], begins[:n_active, np.newaxis] + np.arange(done, end)
        n_active, done = n_active - count, end
