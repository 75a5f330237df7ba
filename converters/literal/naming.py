"""Names of values and constants: the source's, where they are names, and are there once."""

from __future__ import annotations

from collections.abc import Iterable

from grurt.errors import ModelError
from grurt.network.text import check_name


class UniqueNames:
    """Gives names that are there once.

    Parameters
    ----------
    used
        Those that are taken.
    """

    def __init__(self, used: Iterable[str] = ()) -> None:
        self._used = set(used)
        self._counts: dict[str, int] = {}

    def new(self, wanted: str | None, otherwise: str = "value") -> str:
        """Return the name that is wanted, if it is one, with a number behind it where it is taken."""
        stem = wanted if wanted is not None and _is_name(wanted) else otherwise
        name = stem
        while name in self._used:
            self._counts[stem] = self._counts.get(stem, 1) + 1
            name = f"{stem}.{self._counts[stem]}"
        self._used.add(name)
        return name


def _is_name(text: str) -> bool:
    try:
        check_name(text + ".1000000")
    except ModelError:
        return False
    return True
