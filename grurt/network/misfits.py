"""What msgspec says of data that do not fit their declaration, in grurt's words: with all that was allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import msgspec.inspect as declared

from grurt.escaping import described, listed, shown

_MAX_LISTED = 50
_MAX_VALUE = 100
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_INVALID = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)

_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "named fields",
}

_ABSENT = object()


def misfit(error: msgspec.ValidationError, wanted: Any, given: object = _ABSENT) -> str:
    """Return what does not fit: where, what was expected, and what was found.

    Parameters
    ----------
    error
        What msgspec raised.
    wanted
        The type that it was to convert to, or to decode as.
    given
        What it was to convert, if that is there.

    Examples
    --------
    >>> from typing import Literal
    >>> try:
    ...     msgspec.convert({"fruit": ["fig"]}, dict[str, list[Literal["apple", "pear"]]])
    ... except msgspec.ValidationError as error:
    ...     print(misfit(error, dict[str, list[Literal["apple", "pear"]]]))
    [...][0]: expected one of apple, pear, got 'fig'
    """
    fault, _, path = str(error).rpartition(" - at `$")
    fault, path = (fault, path.removesuffix("`")) if fault else (path, "")
    types, value = _at(path, [declared.type_info(wanted)], given)
    place = path.removeprefix(".")
    return f"{place}: {_said(fault, types, value)}" if place else _said(fault, types, value)


def _said(fault: str, types: list[Any], value: object) -> str:
    if match := _UNKNOWN.fullmatch(fault):
        names = [field.encode_name for kind in _structs(types) for field in kind.fields]
        return f"expected some of the fields {_all(names)}, got {shown(match[1], _MAX_VALUE)!r}"
    if match := _MISSING.fullmatch(fault):
        return f"expected a field {match[1]}, got none"
    allowed = list(_values(types))
    if match := _INVALID.fullmatch(fault):
        return f"expected one of {_all(allowed)}, got {shown(match[1], _MAX_VALUE)}"
    if match := _EXPECTED.fullmatch(fault):
        words = [_WORDS.get(part, part) for part in match[1].split(" | ") if part != "null"]
        expected = f"one of {_all(allowed)}" if allowed else " or ".join(words)
        scalar = isinstance(value, str | int | float)
        found = shown(described(value), _MAX_VALUE) if scalar else _WORDS.get(match[2], match[2] or "something else")
        return f"expected {expected}, got {found}"
    return fault


def _all(names: Iterable[object]) -> str:
    return listed(dict.fromkeys(names), _MAX_LISTED)


def _at(path: str, types: list[Any], value: object) -> tuple[list[Any], object]:
    """Return the types that are allowed at a place, and what stands there."""
    for name, index in _STEP.findall(path):
        types = [inner for kind in _fitting(types, value) for inner in _inside(kind, name, index)]
        value = _value_inside(value, name, index)
    return _fitting(types, value), value


def _fitting(types: list[Any], value: object) -> list[Any]:
    """Return the types without unions; of structs that differ by a tag, the one whose tag the value has."""
    flat = [part for kind in types for part in (kind.types if isinstance(kind, declared.UnionType) else (kind,))]
    tagged = [
        kind
        for kind in flat
        if isinstance(kind, declared.StructType) and isinstance(value, dict) and value.get(kind.tag_field) == kind.tag
    ]
    return tagged or flat


def _inside(kind: Any, name: str, index: str) -> Iterator[Any]:
    if isinstance(kind, declared.StructType) and name:
        if name == kind.tag_field:
            yield declared.LiteralType((kind.tag,))
        yield from (field.type for field in kind.fields if field.encode_name == name)
    elif isinstance(kind, declared.DictType):
        yield kind.value_type
    elif isinstance(kind, declared.TupleType) and index.isdecimal():
        yield from kind.item_types[int(index) : int(index) + 1]
    elif isinstance(kind, declared.CollectionType):
        yield kind.item_type


def _value_inside(value: object, name: str, index: str) -> object:
    if isinstance(value, dict) and name:
        return value.get(name, _ABSENT)
    if isinstance(value, list | tuple) and index.isdecimal() and int(index) < len(value):
        return value[int(index)]
    return _ABSENT


def _structs(types: list[Any]) -> list[Any]:
    return [kind for kind in types if isinstance(kind, declared.StructType)]


def _values(types: list[Any]) -> Iterator[object]:
    for kind in types:
        if isinstance(kind, declared.LiteralType):
            yield from kind.values
