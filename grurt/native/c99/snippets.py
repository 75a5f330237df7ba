"""The functions of ``functions.c``: those that a text calls, and those that they call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

PREFIX = "grurt_"
"""What names begin with where the name of the model is to stand."""

_BLOCK = re.compile(r"(/\*(?:(?!\*/).)*\*/\nstatic (?:inline )?\w+ grurt_(\w+)\(.*?^}\n)", re.MULTILINE | re.DOTALL)


@cache
def functions() -> dict[str, str]:
    """Return the text of every function by its name without prefix, in an order in which each knows what it calls."""
    text = resources.files(__package__).joinpath("functions.c").read_text("utf-8")
    return {name: block for block, name in _BLOCK.findall(text)}


def called(texts: Iterable[str]) -> list[str]:
    """Return the functions that texts call, and those that these call, each behind what it calls."""
    known = functions()
    found: set[str] = set()
    waiting = list(texts)
    while waiting:
        for name in re.findall(rf"\b{PREFIX}(\w+)\(", waiting.pop()):
            if name in known and name not in found:
                found.add(name)
                waiting.append(known[name])
    return [block for name, block in known.items() if name in found]
