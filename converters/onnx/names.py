"""Names for tensors that a file does not name, or names once for several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_LONGEST = 80
"""Characters of a name that a new one begins with."""


class Names:
    """Gives names that no tensor of a file has.

    Parameters
    ----------
    taken
        The names in the file.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._used: Counter[str] = Counter()

    def new(self, stem: str) -> str:
        """Return a new name that begins as another does."""
        stem = stem[:_LONGEST]
        name = stem
        while name in self._taken or not name:
            self._used[stem] += 1
            name = f"{stem}_{self._used[stem]}"
        self._taken.add(name)
        return name
