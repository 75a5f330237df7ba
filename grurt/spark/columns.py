"""From what a user asks for, and the columns that there are, to settings; nothing here needs a running Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from grurt.errors import InputTypeError, InputValueError
from grurt.escaping import described, listed
from grurt.network.frames import frames_of
from grurt.spark.settings import FAULT, Column, KeyKind, OrderKind, Port

if TYPE_CHECKING:
    from grurt.network.network import Network

Features: TypeAlias = "str | Sequence[str] | Mapping[str, str | Sequence[str]]"

_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_INTEGERS, "float", "double", "boolean")
_KEY_KINDS: dict[str, KeyKind] = {"string": "string", "binary": "binary", **dict.fromkeys(_INTEGERS, "integer")}
_ORDER_KINDS: dict[str, OrderKind] = {
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
    **dict.fromkeys(_INTEGERS, "integer"),
}


class Source(NamedTuple):
    """Where an input of the model comes from.

    Parameters
    ----------
    columns
        Columns of numbers, or one.
    is_array
        Whether that is an array of them.
    """

    columns: tuple[str, ...]
    is_array: bool


class Columns:
    """The columns of a DataFrame.

    Parameters
    ----------
    where
        What messages begin with.
    types
        The type of each by name, as Spark writes it: ``{"device": "string"}``.
    """

    def __init__(self, where: str, types: Mapping[str, str]) -> None:
        self._where = where
        self._types = types

    def key(self, name: object) -> Column:
        """Return the column of the key; raise unless it is there, and is text, bytes or integers."""
        kind = self._typed(name, "key")
        if kind not in _KEY_KINDS:
            raise InputTypeError(
                f"{self._where}: key {name!r}: expected text, bytes or integers, got {kind}: cast it, or join several "
                "columns into one text"
            )
        return Column(str(name), _KEY_KINDS[kind], kind)

    def order(self, names: object) -> tuple[Column, ...]:
        """Return one or two columns of order values; raise unless they are there, and can be compared."""
        given = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Sequence) else ()
        if not 1 <= len(given) <= 2:
            raise InputTypeError(
                f"{self._where}: order: expected the name of a column, or of two, got {described(names)}"
            )
        found = []
        for name in given:
            kind = self._typed(name, "order")
            if kind not in _ORDER_KINDS:
                raise InputTypeError(
                    f"{self._where}: order {name!r}: expected a timestamp or integers, which compare exactly, got "
                    f"{kind}: cast it"
                )
            found.append(Column(str(name), _ORDER_KINDS[kind], kind))
        return tuple(found)

    def sources(self, features: Any, ports: Sequence[Port]) -> tuple[Source, ...]:
        """Return where each input comes from; raise unless its columns are there, and are as many numbers as it has."""
        by_name = features if isinstance(features, Mapping) else {ports[0].name: features}
        if set(by_name) != {port.name for port in ports}:
            expected = listed([port.name for port in ports])
            raise InputValueError(
                f"{self._where}: features: expected columns for each of the model's inputs, {expected}, as a mapping, "
                f"got {listed(list(by_name))}"
            )
        return tuple(self._source(port, by_name[port.name]) for port in ports)

    def _source(self, port: Port, given: Any) -> Source:
        names = (given,) if isinstance(given, str) else tuple(given)
        kinds = [self._typed(name, "features") for name in names]
        where = f"{self._where}: input {port.name!r}"
        if port.tokens:
            if len(names) != 1 or kinds[0] not in _INTEGERS:
                raise InputTypeError(f"{where}: expected one column of integers, token ids, got {listed(kinds)}")
            return Source(names, is_array=False)
        if len(names) == 1 and kinds[0].removeprefix("array<").removesuffix(">") in _NUMBERS and "<" in kinds[0]:
            return Source(names, is_array=True)
        for name, kind in zip(names, kinds, strict=True):
            if kind not in _NUMBERS:
                raise InputTypeError(f"{where}: column {name!r}: expected numbers, or an array of them, got {kind}")
        if len(names) != port.size:
            raise InputValueError(f"{where}: expected {port.size} columns, or one of arrays, got {len(names)}")
        return Source(names, is_array=False)

    def _typed(self, name: object, role: str) -> str:
        if name not in self._types:
            there = listed(list(self._types))
            raise InputValueError(f"{self._where}: {role}: there is no column {described(name)}; there are {there}")
        return self._types[str(name)]

    def expect_distinct(self, names: Sequence[str]) -> None:
        """Raise InputValueError if what is given out would have two columns of a name."""
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise InputValueError(
                f"{self._where}: expected a key, an order and outputs of different names, beside {FAULT!r}, got "
                f"{listed(twice)} twice: rename the column"
            )


def ports_of(network: Network) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return the inputs and outputs of a model, in its order."""
    frames = frames_of(network)
    inputs = [Port(port.name, frames.inputs[port.name].shape, port.tokens, port.size) for port in network.inputs]
    outputs = [Port(name, frame.shape, tokens=False, size=frame.size) for name, frame in frames.outputs.items()]
    return tuple(inputs), tuple(outputs)
