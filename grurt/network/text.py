"""Text in models: names, and remarks about where a model came from, both possibly written by a stranger."""

import re
from collections.abc import Iterable

from grurt.errors import ModelError

_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
"""Control characters, which a terminal would obey, and surrogates, which UTF-8 cannot encode."""

_NAME = re.compile(f"[^{_UNPRINTABLE}]{{1,200}}")


def check_name(name: str) -> None:
    """Raise ModelError unless the name is one that files and terminals can hold."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"expected a name of 1 to 200 printable characters, got {name!r}")


def printable(text: str) -> str:
    """Return the text with a replacement character for each that a file or a terminal cannot hold."""
    return re.sub(f"[{_UNPRINTABLE}]", "\N{REPLACEMENT CHARACTER}", text)


def clipped(text: str, longest: int) -> str:
    """Return the text, or as much of its beginning and its end as has the longest length that is allowed."""
    half = (longest - 5) // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def listed(names: Iterable[str], most: int = 20) -> str:
    """Return the first few names, and how many more there are; "none" if there are none."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return (", ".join(every[:most]) or "none") + more
