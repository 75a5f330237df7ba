"""The names of tensors in state dicts, as modules gave them, without what wrappers put before each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from grurt.errors import ConversionError

MAX_NAME = 200
"""Characters of a tensor's name, and of the keys that lead to it."""

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_PARAMETER = re.compile(r"(.*\.)?(weight|bias)(_.*)?|.*\..*_(weight|bias)", re.DOTALL)
_WRAPPER_PREFIXES = ("module.", "model.")
_COMPILED = "_orig_mod."


MOST = 3
"""How much the name of a weight is like one in a state dict."""


def likeness(name: str) -> int:
    """Return how much a name is like one in a state dict: 3 as a weight's or bias's, 2 with dots as modules', or 0."""
    return MOST if _PARAMETER.fullmatch(name) else 2 * ("." in name)


def unwrapped(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return the names without the prefixes of wrappers, by the given ones, and the prefix that all of them had.

    Raises
    ------
    ConversionError
        If a name is none that a module gives, or two are the same.
    """
    plain = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConversionError(
                f"checkpoint: expected names of 1 to 200 printable characters, got {name[:200]!r}; the file is damaged"
            )
        plain[name] = name.replace(_COMPILED, "")
    if len(set(plain.values())) < len(plain):
        raise ConversionError(f"checkpoint: expected names that differ by more than {_COMPILED!r}, got two that do not")
    prefix = ""
    while wrapper := next(
        (w for w in _WRAPPER_PREFIXES if plain and all(n.startswith(w) for n in plain.values())), None
    ):
        prefix += wrapper
        plain = {name: short.removeprefix(wrapper) for name, short in plain.items()}
    return plain, prefix
