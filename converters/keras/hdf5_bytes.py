"""Reads the structures of an HDF5 file that hold other things: object headers, group trees and heaps.

The names are those of the HDF5 File Format Specification, version 3.0. Every address and size is checked against the
file before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grurt.errors import ConversionError, UnsupportedError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = (1 << 64) - 1
"""The address of what does not exist."""

MAX_NAME = 1 << 12

_MAX_MESSAGES = 1 << 12
_MAX_NODES = 1 << 16
_CONTINUATION = 0x10
_SHARED = 0x02
_SYMBOLIC_LINK = 2
_ENTRY_BYTES = 40


@dataclass(frozen=True)
class Message:
    """A message of an object header: its type, and where its data are."""

    kind: int
    start: int
    size: int


class FileBytes:
    """The bytes of a file, read as little-endian numbers inside of its bounds."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def at(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes; ConversionError if the file does not have them."""
        if start < 0 or size < 0 or start + size > len(self._data):
            raise damaged(f"something of {size} bytes at {start}, outside of the file's {len(self._data)}")
        return self._data[start : start + size]

    def number(self, start: int, size: int) -> int:
        """Return an unsigned number of ``size`` bytes."""
        return int.from_bytes(self.at(start, size), "little")

    def expect(self, start: int, signature: bytes, what: str) -> None:
        """Raise ConversionError unless a structure begins with its signature."""
        if self.at(start, len(signature)) != signature:
            raise damaged(f"no {what} at {start}")

    def text(self, start: int, end: int) -> str:
        """Return a text of at most `MAX_NAME` bytes that ends with a zero byte, before ``end``."""
        found = self._data.find(b"\0", start, min(end, start + MAX_NAME)) if 0 <= start < len(self._data) else -1
        if found < 0:
            raise damaged(f"a name without an end at {start}")
        return self._data[start:found].decode("utf-8", "replace")


def damaged(found: str) -> ConversionError:
    """Return the error for a file that contradicts itself."""
    return ConversionError(f"HDF5: expected a sound file, got {found}; it is damaged, or was not written to the end")


def not_of_keras(found: str) -> UnsupportedError:
    """Return the error for what the format allows, but Keras does not write."""
    return UnsupportedError(
        f"HDF5: expected a file as Keras writes them, got {found}; load the model with Keras, and save it again"
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


def read_messages(file: FileBytes, address: int) -> list[Message]:
    """Return the messages of an object header, with those of its continuation blocks."""
    if file.number(address, 1) != 1:
        raise not_of_keras(f"an object header at {address} that is not of version 1")
    blocks = [(address + 16, file.number(address + 8, 4))]
    messages: list[Message] = []
    for start, size in blocks:  # grows while it is read
        position, end = start, start + size
        file.at(start, size)
        while position + 8 <= end:
            kind, length = file.number(position, 2), file.number(position + 2, 2)
            shared = file.number(position + 4, 1) & _SHARED
            position += 8
            if position + length > end:
                raise damaged(f"a message at {position} that is longer than its object header")
            if shared:
                raise not_of_keras("messages shared between objects")
            if kind == _CONTINUATION:
                blocks.append((file.number(position, 8), file.number(position + 8, 8)))
            else:
                messages.append(Message(kind, position, length))
            position += length
            if len(messages) + len(blocks) > _MAX_MESSAGES:
                raise damaged(f"an object header at {address} with more than {_MAX_MESSAGES} messages")
    return messages


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
        for index in range(file.number(node + 6, 2)):
            entry = node + 8 + index * _ENTRY_BYTES
            name = file.text(names + file.number(entry, 8), names_end)
            if file.number(entry + 16, 4) == _SYMBOLIC_LINK:
                raise not_of_keras(f"{name[:100]!r}, a link to somewhere else")
            yield name, file.number(entry + 8, 8)


def heap_object(file: FileBytes, collection: int, index: int) -> tuple[int, int]:
    """Return where an object of the global heap starts, and its size: the bytes of a text, for example."""
    file.expect(collection, b"GCOL", "global heap")
    end = collection + file.number(collection + 8, 8)
    position = collection + 16
    while position + 16 <= end:
        found, size = file.number(position, 2), file.number(position + 8, 8)
        if found == index and index > 0:
            return position + 16, size
        if found == 0:
            break
        position += 16 + (size + 7) // 8 * 8
    raise damaged(f"no object {index} in the global heap at {collection}")


def _symbol_nodes(file: FileBytes, tree: int) -> Iterator[int]:
    seen = {tree}
    stack = [tree]
    while stack:
        node = stack.pop()
        file.expect(node, b"TREE", "B-tree")
        if file.number(node + 4, 1) != 0:
            raise damaged(f"a B-tree at {node} that is not of a group")
        level, count = file.number(node + 5, 1), file.number(node + 6, 2)
        children = [file.number(node + 32 + 16 * index, 8) for index in range(count)]
        if len(seen) + count > _MAX_NODES or len(seen.union(children)) < len(seen) + count:
            raise damaged(f"a B-tree at {tree} that is too large, or comes back to itself")
        seen.update(children)
        if level == 0:
            yield from children
        else:
            stack += reversed(children)
