"""Decodes JSON of strangers: a text of a few bytes can stand for objects of hundreds, so they are counted first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from grurt.errors import ConversionError

FACTOR = 16
"""Bytes of objects for each byte of the file that a text is from. What frameworks write needs up to ten."""

FLOOR = 32 << 20

_LARGEST = 1 << 27
"""What counts of a file's size: it may be said to be any, and take no room on the disk."""

_BYTES = {b"{": 200, b"[": 80, b",": 40, b'"': 32}
"""What decoding takes at most for each of these characters: a mapping with an entry, a list, an item, half a text."""

_TEXT = re.compile(rb'"[^"]*"([ \t\r\n]*:)?')
"""A text without escaped quotes: the name of a field, if a colon follows."""

_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"?|-?\bInfinity\b|\bNaN\b', re.DOTALL)
"""A text, or what Python writes for a number that JSON has none for."""

_ONE_VALUE = "expected one value for each name of an object, got a name twice; the file is damaged or hostile"


def check_json(data: bytes, file_size: int, where: str) -> None:
    """Raise ConversionError if the objects that a text stands for are out of proportion to the file that it is from.

    Parameters
    ----------
    data
        The text.
    file_size
        Bytes of the file, which may have held the text compressed.
    where
        What errors call the text.
    """
    needed = len(data) + sum(data.count(character) * size for character, size in _BYTES.items())
    allowed = FACTOR * min(file_size, _LARGEST) + FLOOR
    if needed > allowed:
        raise ConversionError(
            f"{where}: expected JSON of at most {allowed:,} bytes when it is decoded, got up to {needed:,}; "
            "the file is damaged or hostile"
        )


def decode_json(data: str | bytes, file_size: int, where: str) -> Any:
    """Return what a JSON text says; ``Infinity`` and ``NaN``, as Python writes them, are texts.

    Raises
    ------
    ConversionError
        If it is damaged, nested too deeply, names a field twice, or stands for more than the file can hold.
    """
    encoded = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if b"Infinity" in encoded or b"NaN" in encoded:
        encoded = _NO_NUMBER.sub(lambda found: found[0] if found[0][:1] == b'"' else b'"%b"' % found[0], encoded)
    check_json(encoded, file_size, where)
    value = _decoded(encoded, Any, where)
    check_names(encoded, value, where)
    return value


def decode_fields(data: bytes, where: str) -> dict[str, msgspec.Raw]:
    """Return the fields of the object that a JSON text is, each as its text; errors are those of `decode_json`."""
    fields: dict[str, msgspec.Raw] = _decoded(data, dict[str, msgspec.Raw], where)
    check_fields(data, [fields], where)
    return fields


def check_names(data: bytes, value: Any, where: str) -> None:
    """Raise ConversionError if a text gives a name twice in one object: of those, the value has only the last."""
    if _names_of(data) != sum(map(len, _objects(value))):
        raise ConversionError(f"{where}: {_ONE_VALUE}")


def check_fields(data: bytes | msgspec.Raw, objects: Iterable[Mapping[str, msgspec.Raw]], where: str) -> None:
    """Raise ConversionError if an object gives a name twice, for a text that was cut into the fields of its objects.

    What is inside of the fields is left for when they are decoded.
    """
    if _names_of(data) != sum(len(fields) + sum(map(_names_of, fields.values())) for fields in objects):
        raise ConversionError(f"{where}: {_ONE_VALUE}")


def _decoded(data: bytes, wanted: Any, where: str) -> Any:
    try:
        return msgspec.json.decode(data, type=wanted)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ConversionError(f"{where}: expected JSON, got damage: {error}") from error


def _names_of(text: bytes | msgspec.Raw) -> int:
    """Return how many fields the objects in a sound text have together, with those that are there twice."""
    data = bytes(text)
    if b"\\" in data:
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    return sum(match.lastindex is not None for match in _TEXT.finditer(data))


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    stack = [value] if isinstance(value, dict | list) else []
    while stack:
        item = stack.pop()
        held: Iterable[Any] = item
        if isinstance(item, dict):
            yield item
            held = item.values()
        stack += [inner for inner in held if isinstance(inner, dict | list)]
