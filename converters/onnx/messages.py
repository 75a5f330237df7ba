"""Counts the messages in protobuf's wire format, before protobuf makes an object of each.

An empty message takes two bytes in a file and some hundred in memory. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from grurt.errors import ConversionError

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_MESSAGES = 1 << 20
SMALL = 4 << 20
"""Bytes of a file that is not looked through: it cannot hold more than a few times as many messages."""

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types, and the sizes of those that have one."""
_LONGEST_VARINT = 10


def check_parts(data: bytes, kind: type[Message]) -> None:
    """Raise ConversionError if the bytes of a message hold more messages than there may be, at any depth.

    What is no message at all is left to protobuf to refuse.
    """
    if len(data) <= SMALL:
        return
    todo: list[tuple[int, int, Any]] = [(0, len(data), kind.DESCRIPTOR)]
    count = 0
    while todo:
        found = list(_messages(data, *todo.pop(), MAX_MESSAGES - count))
        count += len(found)
        if count >= MAX_MESSAGES:
            raise ConversionError(
                f"expected a model of at most {MAX_MESSAGES} nodes, tensors, attributes and so on, got more"
            )
        todo.extend(each for each in found if each[0] < each[1])


def _messages(data: bytes, position: int, end: int, descriptor: Any, most: int) -> Iterator[tuple[int, int, Any]]:
    """Yield where the messages in a message lie, and of what kind they are; not more than so many."""
    inner = _inner(descriptor)
    while position < end and most > 0:
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == _BYTES:
            length, position = _varint(data, position)
            if (kind := inner.get(tag >> 3)) is not None:
                most -= 1
                yield position, min(position + length, end), kind
            position += length
        elif wire == _VARINT:
            _, position = _varint(data, position)
        elif wire in _FIXED:
            position += _FIXED[wire]
        else:
            return


@cache
def _inner(descriptor: Any) -> dict[int, Any]:
    """Return the kinds of messages that a message holds, by the numbers of the fields."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and where the next thing begins."""
    if position < len(data) and (first := data[position]) < 128:
        return first, position + 1
    number = 0
    for index, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        number |= (byte & 127) << (7 * index)
        if byte < 128:
            return number, position + index + 1
    return number, len(data)
