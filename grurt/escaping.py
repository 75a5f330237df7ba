"""Text of strangers as it is shown: one line, no character that a terminal would obey, no longer than a screen.

Names, file names and remarks may hold anything. Where they leave grurt as text for people, in an exception or on a
terminal, they go through here: once more changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

__all__ = ["described", "escaped", "listed", "shown"]

MAX_MESSAGE = 2000
"""Characters of a message: a screen of 25 lines and 80 columns."""

MAX_LISTED = 8
"""Items of a list that a message names."""

_OMISSION = " [... of {:,} characters ...] "
_END = 600
"""Characters of a long message that are kept of its end, which says what to do."""


def escaped(text: str) -> str:
    r"""Return the text with the escapes that `repr` writes for whatever is not printable.

    That is what `str.isprintable` says: control characters and line ends, the marks that turn the direction of writing
    round, characters without a width, surrogates, and what Unicode has not assigned.

    Examples
    --------
    >>> print(escaped("a\x1b[2Jb\n\u202eé"))
    a\x1b[2Jb\n\u202eé
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shown(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return the text as one line: escaped, and with its middle left out where that has more characters than the limit.

    The limit is 100 or more; a text that is cut says how long it was.
    """
    if len(text) <= limit and len(line := escaped(text)) <= limit:
        return line
    omission = _OMISSION.format(len(text))
    end = min(_END, limit // 3)
    begin = limit - end - len(omission)
    return escaped(text[:begin])[:begin] + omission + escaped(text[-end:])[-end:]


def described(value: object) -> str:
    """Return what `repr` writes of an object that may be anything, or, where that fails, what kind of object it is.

    Examples
    --------
    >>> described("a"), described(10**5000)
    ("'a'", 'an int of 16,610 bits')
    """
    try:
        return str.__str__(repr(value))
    except Exception:  # of the object's own code, or of an integer that has more digits than Python writes
        kind = type(value).__name__
        return f"an {kind} of {int.bit_length(value):,} bits" if isinstance(value, int) else f"an object of type {kind}"


def listed(items: Iterable[object], limit: int = MAX_LISTED, separator: str = ", ") -> str:
    """Return the first items, and how many there are beside them; "none" if there are none.

    Examples
    --------
    >>> listed(range(4000), 3)
    '0, 1, 2 and 3,997 more'
    """
    rest = iter(items)
    first = separator.join(map(str, islice(rest, limit)))
    left = sum(1 for _ in rest)
    return f"{first} and {left:,} more" if left else first or "none"
