"""Writes small HDF5 files as Keras has them: groups of the old layout, and arrays of float32 in one piece."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

Tree = Mapping[str, Any]
"""Arrays, or groups of them, by name."""

_UNDEFINED = (1 << 64) - 1
_FLOAT32 = struct.pack("<BBBBIHHBBBBI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127)


def written(tree: Tree) -> bytes:
    """Return the bytes of a file with these groups and arrays."""
    data = bytearray(96)  # the superblock, which is written last
    root = _group(data, tree)
    data[:24] = b"\x89HDF\r\n\x1a\n" + struct.pack("<BBBBBBBBHHI", 0, 0, 0, 0, 0, 8, 8, 0, 4, 16, 0)
    data[24:96] = struct.pack("<QQQQQQII16x", 0, _UNDEFINED, len(data), _UNDEFINED, 0, root, 0, 0)
    return bytes(data)


def _append(data: bytearray, content: bytes) -> int:
    """Append bytes, and return where they are."""
    start = len(data)
    data += content + bytes(-len(content) % 8)
    return start


def _header(data: bytearray, *messages: tuple[int, bytes]) -> int:
    """Append an object header of messages, each of a kind."""
    padded = [(kind, content + bytes(-len(content) % 8)) for kind, content in messages]
    body = b"".join(struct.pack("<HHI", kind, len(content), 0) + content for kind, content in padded)
    return _append(data, struct.pack("<BBHIII", 1, 0, len(messages), 1, len(body), 0) + body)


def _group(data: bytearray, tree: Tree) -> int:
    names, entries = bytearray(8), b""
    for name, item in tree.items():
        child = _group(data, item) if isinstance(item, Mapping) else _dataset(data, np.asarray(item, "<f4"))
        entries += struct.pack("<QQII16x", len(names), child, 0, 0)
        names += name.encode() + bytes(8 - len(name) % 8)
    nodes = _append(data, b"SNOD" + struct.pack("<BBH", 1, 0, len(tree)) + entries)
    segment = _append(data, bytes(names))
    heap = _append(data, b"HEAP" + struct.pack("<IQQQ", 0, len(names), _UNDEFINED, segment))
    b_tree = b"TREE" + struct.pack("<BBHQQQQQ", 0, 0, 1, _UNDEFINED, _UNDEFINED, 0, nodes, len(names))
    return _header(data, (0x11, struct.pack("<QQ", _append(data, b_tree), heap)))


def _dataset(data: bytearray, array: np.ndarray[Any, Any]) -> int:
    start = _append(data, array.tobytes())
    space = struct.pack(f"<BBB5x{array.ndim}Q", 1, array.ndim, 0, *array.shape)
    layout = struct.pack("<BBQQ", 3, 1, start, array.nbytes)
    return _header(data, (0x01, space), (0x03, _FLOAT32), (0x08, layout))
