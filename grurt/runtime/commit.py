"""Changes that belong together, made all or none, wherever an exception from outside comes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import starmap
from typing import Any


def commit(*changes: tuple[Callable[..., None], *tuple[Any, ...]]) -> None:
    """Make calls ``(function, *arguments)`` one after the other, of which only the first may fail, or run Python.

    They return None, so that ``any`` goes through all of them, in one call into C: neither a signal nor a trace
    function gets a word in between.
    """
    any(starmap(operator.call, changes))
