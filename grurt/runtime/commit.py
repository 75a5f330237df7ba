"""Changes that belong together, made all or none, wherever an exception from outside comes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import starmap
from typing import Any, TypeAlias

Change: TypeAlias = tuple[Callable[..., None], *tuple[Any, ...]]
"""A function and its arguments."""


def commit(*changes: Change) -> None:
    """Make calls ``(function, *arguments)`` one after the other, of which only the first may fail, or run Python.

    They return None, so that ``any`` goes through all of them, in one call into C: neither a signal nor a trace
    function gets a word in between.
    """
    if len(changes) == 1:
        function, *arguments = changes[0]
        function(*arguments)
    else:
        any(starmap(operator.call, changes))


def handed_on(first: tuple[Callable[..., Any], *tuple[Any, ...]], *others: Callable[[Any], Any]) -> Iterator[Any]:
    """Return the call of a function, ``(function, *arguments)``, and of each of the others with the result before it.

    They are made by ``any``, as in `commit` in one call into C: only the first may run Python, the others only look up,
    and change. Any of them may refuse, before it changes anything; the last returns None.
    """
    results: Iterator[Any] = starmap(operator.call, (first,))
    for function in others:
        results = map(function, results)
    return results
