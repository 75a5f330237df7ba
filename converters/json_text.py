"""Decodes JSON of strangers: a text of a few bytes can stand for objects of hundreds, so they are counted first."""

from __future__ import annotations

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
    """Return what a JSON text says.

    Raises
    ------
    ConversionError
        If it is damaged, nested too deeply, or stands for more than the file can hold.
    """
    encoded = data.encode("utf-8", "replace") if isinstance(data, str) else data
    check_json(encoded, file_size, where)
    try:
        return msgspec.json.decode(encoded)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ConversionError(f"{where}: expected JSON, got damage: {error}") from error
