"""Reads the structures of an HDF5 file that hold other things: object headers, group trees and heaps.

The names are those of the HDF5 File Format Specification, version 3.0. Every address and size is checked against the
file before anything is read. What is read is charged: no two structures of a sound file share bytes, and a file whose
structures name each other's again and again is found out before that costs anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grurt.errors import ConversionError, DesignReason, UnsupportedError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = (1 << 64) - 1
"""The address of what does not exist."""

MAX_NAME = 1 << 12
READINGS = 4
"""How many times the file's size may be read as structures: names and texts are read once more than what holds them."""

ATTRIBUTE = 0x0C

_MAX_MESSAGES = 1 << 12
_MAX_KIND = 0x18
_MIN_ATTRIBUTE = 20
_CONTINUATION = 0x10
_SHARED = 0x02
_SYMBOLIC_LINK = 2
_OBJECT = struct.Struct("<H6xQ")
_MESSAGE = struct.Struct("<HHB3x")
_ENTRY = struct.Struct("<QQI20x")
"""An entry of a group: where its name is, the address of its object header, and what else is known of it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of an object header: where its data are."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """The messages of an object header: the attributes, and of each other kind the last one."""

    messages: Mapping[int, Message]
    attributes: tuple[Message, ...]


class FileBytes:
    """The bytes of a file, read as little-endian numbers inside of its bounds."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._bytes = data
        self._left = READINGS * len(data)
        self._heaps: dict[int, dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self._data)

    def charge(self, size: int) -> None:
        """Count bytes that are read as a structure; ConversionError if they are more than the file can hold."""
        self._left -= size
        if self._left < 0:
            raise damaged("structures that share their bytes over and over")

    def at(self, start: int, size: int) -> memoryview:
        """Return ``size`` bytes; ConversionError if the file does not have them."""
        if start < 0 or size < 0 or start + size > len(self._data):
            raise damaged(f"something of {size} bytes at {start}, outside of the file's {len(self._data)}")
        return self._data[start : start + size]

    def number(self, start: int, size: int) -> int:
        """Return an unsigned number of ``size`` bytes."""
        return int.from_bytes(self.at(start, size), "little")

    def numbers(self, layout: struct.Struct, start: int) -> tuple[Any, ...]:
        """Return the numbers of a structure."""
        return layout.unpack(self.at(start, layout.size))

    def expect(self, start: int, signature: bytes, what: str) -> None:
        """Raise ConversionError unless a structure begins with its signature."""
        if self.at(start, len(signature)) != signature:
            raise damaged(f"no {what} at {start}")

    def text(self, start: int, end: int) -> str:
        """Return a text of at most `MAX_NAME` bytes that ends with a zero byte, before ``end``."""
        found = self._bytes.find(b"\0", start, min(end, start + MAX_NAME)) if 0 <= start < len(self._data) else -1
        if found < 0:
            raise damaged(f"a name without an end at {start}")
        self.charge(found - start)
        return str(self._data[start:found], "utf-8", "replace")

    def heap_object(self, collection: int, index: int) -> tuple[int, int]:
        """Return where an object of the global heap starts, and its size: the bytes of a text, for example."""
        if collection not in self._heaps:
            self._heaps[collection] = dict(_heap_objects(self, collection))
        start = self._heaps[collection].get(index)
        if start is None:
            raise damaged(f"no object {index} in the global heap at {collection}")
        return start, self.number(start - 8, 8)


def damaged(found: str) -> ConversionError:
    """Return the error for a file that contradicts itself."""
    return ConversionError(f"HDF5: expected a sound file, got {found}; it is damaged, or was not written to the end")


def not_of_keras(found: str) -> UnsupportedError:
    """Return the error for what the format allows, but Keras does not write."""
    return UnsupportedError(
        f"HDF5: expected a file as Keras writes them, got {found}; load the model with Keras, and save it again",
        reason=DesignReason.OTHER_FORMAT,
    )


def root_address(file: FileBytes) -> int:
    """Return the address of the root group's object header, from the superblock."""
    file.expect(0, SIGNATURE, "HDF5 signature")
    version = file.number(8, 1)
    if version > 1:
        raise not_of_keras(f"a superblock of version {version}, that of HDF5's newer layouts")
    if (file.number(13, 1), file.number(14, 1)) != (8, 8):
        raise not_of_keras("addresses that are not 8 bytes long")
    start = 24 if version == 0 else 28
    if file.number(start, 8) != 0:
        raise not_of_keras("a base address")
    return file.number(start + 32 + 8, 8)


def read_header(file: FileBytes, address: int) -> Header:
    """Return the messages of an object header, with those of its continuation blocks."""
    if file.number(address, 1) != 1:
        raise not_of_keras(f"an object header at {address} that is not of version 1")
    blocks = [(address + 16, file.number(address + 8, 4))]
    messages: dict[int, Message] = {}
    attributes: list[Message] = []
    count = 0
    for start, size in blocks:  # grows while it is read
        for kind, message in _block(file, start, size):
            count += 1
            if count > _MAX_MESSAGES:
                raise damaged(f"an object header at {address} with more than {_MAX_MESSAGES} messages")
            if kind == _CONTINUATION:
                blocks.append((file.number(message.start, 8), file.number(message.start + 8, 8)))
            elif kind == ATTRIBUTE:
                attributes.append(message)
            elif kind <= _MAX_KIND:
                messages[kind] = message
    return Header(messages, tuple(attributes))


def _block(file: FileBytes, start: int, size: int) -> Iterator[tuple[int, Message]]:
    """Yield the messages in a part of an object header, each with its kind."""
    file.at(start, size)
    file.charge(16 + size)
    position, end = start, start + size
    while position + 8 <= end:
        kind, length, flags = file.numbers(_MESSAGE, position)
        position += 8
        if position + length > end or (kind == ATTRIBUTE and length < _MIN_ATTRIBUTE):
            raise damaged(f"a message at {position} that is longer than its object header, or too short for its parts")
        if flags & _SHARED:
            raise not_of_keras("messages shared between objects")
        yield kind, Message(position, length)
        position += length


def group_entries(file: FileBytes, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    """Yield the names in a group, in alphabetical order, with the addresses of their object headers.

    Parameters
    ----------
    file
        The file.
    tree
        The address of the group's B-tree, whose leaves list its symbol table nodes.
    heap
        The address of its local heap, which holds the names.
    """
    file.expect(heap, b"HEAP", "local heap")
    names = file.number(heap + 24, 8)
    names_end = names + file.number(heap + 8, 8)
    for node in _symbol_nodes(file, tree):
        file.expect(node, b"SNOD", "symbol table node")
        count = file.number(node + 6, 2)
        file.charge(8 + count * _ENTRY.size)
        for position in range(node + 8, node + 8 + count * _ENTRY.size, _ENTRY.size):
            start, header, cached = file.numbers(_ENTRY, position)
            name = file.text(names + start, names_end)
            if cached == _SYMBOLIC_LINK:
                raise not_of_keras(f"{name[:100]!r}, a link to somewhere else")
            yield name, header


def _heap_objects(file: FileBytes, collection: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of the objects in a global heap, each with where it starts; of two of a number the last."""
    file.expect(collection, b"GCOL", "global heap")
    size = file.number(collection + 8, 8)
    file.charge(size)
    position, end = collection + 16, collection + size
    while position + 16 <= end:
        index, length = file.numbers(_OBJECT, position)
        if index == 0:
            break
        yield index, position + 16
        position += 16 + (length + 7) // 8 * 8


def _symbol_nodes(file: FileBytes, tree: int) -> Iterator[int]:
    seen = {tree}
    stack = [tree]
    while stack:
        node = stack.pop()
        file.expect(node, b"TREE", "B-tree")
        if file.number(node + 4, 1) != 0:
            raise damaged(f"a B-tree at {node} that is not of a group")
        level, count = file.number(node + 5, 1), file.number(node + 6, 2)
        file.charge(32 + 16 * count)
        children = [file.number(node + 32 + 16 * index, 8) for index in range(count)]
        for child in children:
            if child in seen:
                raise damaged(f"a B-tree at {tree} that comes back to itself")
            seen.add(child)
        if level == 0:
            yield from children
        else:
            stack += reversed(children)
