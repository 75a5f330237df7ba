"""Numbers that stand for the sizes that a file leaves open, and messages without them: nobody else knows these."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from grurt.converters.graph.tracing.axes import OpenFeaturesError
from grurt.errors import ConversionError

_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]\w)")
_QUOTED = re.compile(r"'[^']*'")

_LONGEST_NAME = 50
"""Characters of the name of an open size that a message shows."""

_UNKNOWN = "an open number"

_APART = 62
"""Between the numbers that stand for open sizes: a timestep shortly before the end of one of them is none of these."""


class OpenSizes:
    """Gives numbers for sizes that the file leaves open, each name its own."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._sizes: dict[str, int] = {}
        self._names: dict[str, str] = {}

    def __call__(self, name: str) -> int:
        """Return the number for a size."""
        if name not in self._sizes:
            self._sizes[name] = self._start + _APART * len(self._sizes)
            is_name = len(name) <= _LONGEST_NAME and " of input " not in name
            self._names[str(self._sizes[name])] = name if is_name else _UNKNOWN
        return self._sizes[name]

    def name(self, size: int) -> str:
        """Return the name of the open size that a number stands for; nothing if it stands for none."""
        return next((name for name, number in self._sizes.items() if number == size), "")

    def named(self, message: str) -> str:
        """Return a message with the names of open sizes in place of the numbers."""
        return _NUMBER.sub(lambda found: self._names.get(found[0], found[0]), message)


@contextmanager
def open_sizes_named(probes: Sequence[OpenSizes]) -> Iterator[None]:
    """Put the names of open sizes into errors in place of the numbers that stand for them."""
    try:
        yield
    except ConversionError as error:
        named = [str(line) for line in error.args]
        for sizes in probes:
            named = list(map(sizes.named, named))
        if isinstance(error, OpenFeaturesError):
            error.name = probes[0].name(error.stand_in)
        raise _reworded(error, named) from error.__cause__


def has_numbers(error: ConversionError) -> bool:
    """Say whether a message holds numbers that may have been computed of those that stand for open sizes."""
    return re.search(r"\d\d", _QUOTED.sub("", str(error))) is not None


def without_stand_ins(error: ConversionError, other: ConversionError | None) -> ConversionError:
    """Return an error without the numbers in which it differs from that of other stand-ins: they mean nothing."""
    message = str(error)
    if other is None or _NUMBER.sub("", message) != _NUMBER.sub("", str(other)):
        return error
    others = iter(_NUMBER.findall(str(other)))
    return _reworded(error, [_NUMBER.sub(lambda found: found[0] if found[0] == next(others) else _UNKNOWN, message)])


def _reworded(error: ConversionError, lines: Sequence[str]) -> ConversionError:
    """Return an error of the same kind, and with the same reason, that says something else."""
    reworded = copy.copy(error)
    reworded.args = tuple(lines)
    return reworded
