"""Writes small HDF5 files as Keras has them: groups of the old layout, arrays of float32 in one piece, and texts.

`written` makes a file of a tree of arrays; what a file may not be is put together from the parts.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Tree = Mapping[str, Any]
"""Arrays, or groups of them, by name."""

Message = tuple[int, bytes]
"""A message of an object header: its kind and its data."""

UNDEFINED = (1 << 64) - 1
SCALAR = struct.pack("<BB6x", 1, 0)
SPACE, TYPE, LAYOUT, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0x01, 0x03, 0x08, 0x0C, 0x10, 0x11

_FLOAT32 = struct.pack("<BBBBIHHBBBBI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127)
_TEXTS = struct.pack("<BBHIBBHI", 0x19, 1, 0, 16, 0x10, 0, 0, 1)


def written(tree: Tree) -> bytes:
    """Return the bytes of a file with these groups and arrays."""
    data = empty()
    return finished(data, groups(data, tree))


def empty() -> bytearray:
    """Return what parts are appended to: room for the superblock, which is written last."""
    return bytearray(96)


def finished(data: bytearray, root: int) -> bytes:
    """Return the bytes of a file whose root group has its object header at this place."""
    data[:24] = b"\x89HDF\r\n\x1a\n" + struct.pack("<BBBBBBBBHHI", 0, 0, 0, 0, 0, 8, 8, 0, 4, 16, 0)
    data[24:96] = struct.pack("<QQQQQQII16x", 0, UNDEFINED, len(data), UNDEFINED, 0, root, 0, 0)
    return bytes(data)


def append(data: bytearray, content: bytes) -> int:
    """Append bytes, and return where they are."""
    start = len(data)
    data += content + bytes(-len(content) % 8)
    return start


def messages(*given: Message) -> bytes:
    """Return messages as a part of an object header has them."""
    padded = [(kind, content + bytes(-len(content) % 8)) for kind, content in given]
    return b"".join(struct.pack("<HHI", kind, len(content), 0) + content for kind, content in padded)


def header(data: bytearray, *given: Message) -> int:
    """Append an object header of messages, each of a kind."""
    body = messages(*given)
    return append(data, struct.pack("<BBHIII", 1, 0, len(given), 1, len(body), 0) + body)


def group(data: bytearray, entries: Sequence[tuple[str, int]], *given: Message) -> int:
    """Append a group of objects, each with its name and the place of its header."""
    names, nodes = bytearray(8), []
    for first in range(0, max(1, len(entries)), 1000):
        part = b""
        for name, child in entries[first : first + 1000]:
            part += struct.pack("<QQII16x", len(names), child, 0, 0)
            names += name.encode() + bytes(8 - len(name.encode()) % 8)
        nodes.append(append(data, b"SNOD" + struct.pack("<BBH", 1, 0, len(part) // 40) + part))
    segment = append(data, bytes(names))
    heap = append(data, b"HEAP" + struct.pack("<IQQQ", 0, len(names), UNDEFINED, segment))
    return header(data, (SYMBOL_TABLE, struct.pack("<QQ", b_tree(data, 0, nodes), heap)), *given)


def b_tree(data: bytearray, level: int, children: Sequence[int]) -> int:
    """Append a node of the tree of a group."""
    keys = b"".join(struct.pack("<QQ", child, 0) for child in children)
    return append(data, b"TREE" + struct.pack("<BBHQQQ", 0, level, len(children), UNDEFINED, UNDEFINED, 0) + keys)


def dataset(data: bytearray, array: np.ndarray[Any, Any]) -> int:
    """Append an array of float32."""
    return header(
        data, *dataset_messages(array.shape, append(data, np.asarray(array, "<f4").tobytes()), array.size * 4)
    )


def dataset_messages(shape: Sequence[int], start: int, size: int) -> list[Message]:
    """Return the messages of an array of float32 whose bytes are at a place."""
    space = struct.pack(f"<BBB5x{len(shape)}Q", 1, len(shape), 0, *shape)
    return [(SPACE, space), (TYPE, _FLOAT32), (LAYOUT, struct.pack("<BBQQ", 3, 1, start, size))]


def text(name: str, value: bytes) -> Message:
    """Return an attribute that is a text."""
    return _attribute(name, struct.pack("<BBHI", 0x13, 0, 0, len(value)), SCALAR, value)


def texts(name: str, objects: Sequence[tuple[int, int, int]]) -> Message:
    """Return an attribute of texts, each of a length, and an object of a global heap."""
    space = struct.pack("<BB6xQ", 1, 1, len(objects))
    return _attribute(name, _TEXTS, space, b"".join(struct.pack("<IQI", *place) for place in objects))


def global_heap(data: bytearray, objects: Sequence[tuple[int, bytes]]) -> int:
    """Append a global heap of objects, each of a number."""
    body = b"".join(
        struct.pack("<HHIQ", index, 1, 0, len(content)) + content + bytes(-len(content) % 8)
        for index, content in objects
    )
    return append(data, b"GCOL" + struct.pack("<B3xQ", 1, 16 + len(body)) + body)


def _attribute(name: str, kind: bytes, space: bytes, value: bytes) -> Message:
    parts = [name.encode() + b"\0", kind, space]
    head = struct.pack("<BBHHH", 1, 0, *map(len, parts))
    return ATTRIBUTE, head + b"".join(part + bytes(-len(part) % 8) for part in parts) + value


def groups(data: bytearray, tree: Tree, *given: Message) -> int:
    """Append groups and arrays; the messages are those of the first group."""
    entries = [
        (name, groups(data, item) if isinstance(item, Mapping) else dataset(data, np.asarray(item)))
        for name, item in tree.items()
    ]
    return group(data, entries, *given)
