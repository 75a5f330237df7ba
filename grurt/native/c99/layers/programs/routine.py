"""A function in the making: the memory that it reads and writes are its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.native.c99.layers.products import loop
from grurt.native.c99.layers.programs.loops import loops_through
from grurt.native.c99.names import Names
from grurt.native.c99.text import indented, index, literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.lowering.programs.views import Storage
    from grurt.native.c99.unit import Unit

_INDICES = "ijklmnpqrstuvw"
_LOCALS = ("features", "work", "sum", "scale", "result", "row", "to", "mean", "variance", *_INDICES)

Wrap = Callable[[Sequence[str]], str]
"""Puts loops around statements."""


class Constants:
    """The read-only arrays of a program, equal ones once.

    Parameters
    ----------
    unit, owner
        The file, and the program's name.
    names
        What storages of numbers are called.
    """

    def __init__(self, unit: Unit, owner: str, names: Mapping[Storage, str]) -> None:
        self._unit = unit
        self._owner = owner
        self._names = names
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, what: str, array: Array) -> str:
        """Return the name of an array."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._unit.constant(self._owner, what, array)
        return self._known[key]

    def stored(self, storage: Storage) -> str:
        """Return the name of the numbers of a storage."""
        assert storage.numbers is not None, "memory is no constant"  # noqa: S101 - no file can cause it
        return self.add(self._names.get(storage, "numbers"), storage.numbers)


class Routine:
    """A function of C.

    Parameters
    ----------
    constants
        Where its arrays are put.
    name
        What it computes: the name of a value.
    names
        What storages are called.
    """

    def __init__(self, constants: Constants, name: str, names: Mapping[Storage, str]) -> None:
        self.name = name
        self.constants = constants
        self.storages: dict[Storage, str] = {}
        self.written: set[Storage] = set()
        self.features_size = 0
        self.statements: list[str] = []
        self._storage_names = names
        self._names = Names(_LOCALS)
        self._indices: Iterator[str] = iter(_INDICES)

    def begin_step(self) -> None:
        """Let loops be counted by the first letters again."""
        self._indices = iter(_INDICES)

    def constant(self, what: str, array: Array) -> str:
        """Return the name of a read-only array of its own."""
        return self.constants.add(f"{self.name}_{what}", array)

    def pointer(self, storage: Storage, *, writes: bool = False) -> str:
        """Return the name of a storage."""
        if storage.base == codes.BASE_WEIGHTS:
            return self.constants.stored(storage)
        if storage not in self.storages:
            self.storages[storage] = self._names.new(self._storage_names.get(storage, "memory"))
        if writes:
            self.written.add(storage)
        return self.storages[storage]

    def at(self, storage: Storage, place: str, *, writes: bool = False) -> str:
        """Return the pointer to a place of a storage."""
        name = self.pointer(storage, writes=writes)
        return name if place == "0" else f"{name} + {place}"

    def element(self, storage: Storage, place: str, *, writes: bool = False) -> str:
        """Return a number of a storage, an expression."""
        if storage.numbers is not None and storage.size == 1:
            return literal(storage.numbers[0])
        return f"{self.pointer(storage, writes=writes)}[{place}]"

    def add(self, text: str) -> None:
        """Add statements, which have a scope of their own if they declare something."""
        declares = re.search(r"^(const )?float ", text, re.MULTILINE)
        self.statements.append(f"{{\n{indented([text])}\n}}" if declares else text)

    def features(self, size: int) -> str:
        """Return the name of memory for so many features as integers."""
        self.features_size = max(self.features_size, size)
        return "features"

    def index(self) -> str:
        """Return a name to count with that no other loop of the step has: a letter, while there are any."""
        return next(self._indices, "") or self._names.new("index")

    def loops(self, *views: NDArray[np.int64]) -> tuple[list[str], Wrap]:
        """Return the places of views that are gone through together, as expressions, and what puts the loops around.

        Where there are no such loops, there is one through a table of the places.
        """
        places = np.stack(views, axis=1)
        loops = loops_through(places)
        if loops is None:
            table, i = self.constant("places", places.astype(np.int32)), self.index()
            return [f"{table}[{i}][{k}]" for k in range(len(views))], _around([(i, len(places))])
        names = [self.index() for _ in loops]
        indices = [index(int(start), [each.strides[k] for each in loops], names) for k, start in enumerate(places[0])]
        return indices, _around([(name, each.size) for name, each in zip(names, loops, strict=True)])

    @property
    def parameters(self) -> list[str]:
        """Its parameters."""
        found = [
            f"{'' if storage in self.written else 'const '}float *{name}" for storage, name in self.storages.items()
        ]
        return [*found, *(["int8_t *features"] if self.features_size else [])]


def _around(heads: Sequence[tuple[str, int]]) -> Wrap:
    def wrap(statements: Sequence[str]) -> str:
        found = "\n".join(statements)
        for name, size in reversed(heads):
            found = loop(name, size, [found])
        return found

    return wrap
