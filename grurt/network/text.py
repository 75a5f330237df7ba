"""Text in models: names, and remarks about where a model came from, both possibly written by a stranger."""

import re

from grurt.errors import ModelError

_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
"""Control characters, which a terminal would obey, and surrogates, which UTF-8 cannot encode."""

_PRINTABLE = f"[^{_UNPRINTABLE}]*"
MAX_NAME = 200


def check_name(name: str) -> None:
    """Raise ModelError unless the name is one that files and terminals can hold."""
    if not (0 < len(name) <= MAX_NAME and (name.isprintable() or re.fullmatch(_PRINTABLE, name))):
        raise ModelError(f"expected a name of 1 to 200 printable characters, got {name!r}")


def printable(text: str) -> str:
    """Return the text with a replacement character for each that a file or a terminal cannot hold."""
    if text.isprintable():  # which most are, and a regular expression takes a while to be compiled
        return text
    return re.sub(f"[{_UNPRINTABLE}]", "\N{REPLACEMENT CHARACTER}", text)
