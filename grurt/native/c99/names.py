"""What the parts of a model are called in C: each name once, also where all letters are capitals."""

from __future__ import annotations

import re
from collections.abc import Iterable

from grurt.native.c99.snippets import PREFIX
from grurt.native.c_source import identifier

_OF_HEADERS = "infinity nan fabsf sqrtf powf sinf cosf copysignf fmaf memcpy memset size_t"
"""What is used of the C library."""


class Names:
    """Names of one scope.

    Parameters
    ----------
    taken
        Names that are there already.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.upper() for name in [*taken, *_OF_HEADERS.split()]}

    def new(self, wanted: str) -> str:
        """Return an identifier like the name that is wanted, and like no other of the scope."""
        name = re.sub("_+", "_", identifier(wanted))  # two of them are the compiler's in C++
        if name.lower().startswith(PREFIX):
            name = f"model_{name}"
        found, number = name, 1
        while found.upper() in self._taken:
            number += 1
            found = f"{name.rstrip('_')}_{number}"
        self._taken.add(found.upper())
        return found
