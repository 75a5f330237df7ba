"""Reads what the messages of an HDF5 object header say of a dataset or an attribute: its shape, its type, its bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from grurt.converters.keras.hdf5_bytes import UNDEFINED, FileBytes, damaged, not_of_keras

MAX_AXES = 32
MAX_TEXT = 16 << 20
"""Bytes of the texts of one attribute."""

_INTEGER, _FLOAT, _STRING, _OPAQUE, _VARIABLE = 0, 1, 3, 5, 9
_FLOATS = {(2, 5, 10): "f2", (2, 8, 7): "bfloat16", (4, 8, 23): "f4", (8, 11, 52): "f8"}
"""Types by their bytes, and by the bits of exponent and mantissa."""


@dataclass(frozen=True)
class Type:
    """The type of each element of an array.

    ``name`` is NumPy's, with the byte order, or ``"bfloat16"``; for a text it is ``"text"`` or, of variable length,
    ``"texts"``; for two opaque bytes, as which h5py stores bfloat16, ``"opaque"``; empty for anything else.
    """

    name: str
    size: int


@dataclass(frozen=True)
class Space:
    """The shape of an array; None for one without elements or axes (a null dataspace)."""

    shape: tuple[int, ...] | None

    @property
    def elements(self) -> int:
        return 0 if self.shape is None else math.prod(self.shape)


@dataclass(frozen=True)
class Attribute:
    """An attribute: its name, type and shape, and where its bytes are."""

    name: str
    type: Type
    space: Space
    start: int
    end: int


def read_space(file: FileBytes, start: int) -> Space:
    """Read a dataspace message."""
    version, rank, flags = file.number(start, 1), file.number(start + 1, 1), file.number(start + 2, 1)
    if version not in (1, 2) or rank > MAX_AXES:
        raise damaged(f"a dataspace of version {version} with {rank} axes")
    if version == 2 and file.number(start + 3, 1) == 2:
        return Space(None)
    sizes = start + (8 if version == 1 else 4)
    file.at(sizes, 8 * rank * (2 if flags & 1 else 1))
    return Space(tuple(file.number(sizes + 8 * axis, 8) for axis in range(rank)))


def read_type(file: FileBytes, start: int) -> Type:
    """Read a datatype message."""
    kind, bits, size = file.number(start, 1) & 0x0F, file.number(start + 1, 3), file.number(start + 4, 4)
    order: Literal["<", ">"] = ">" if bits & 1 else "<"
    if kind == _INTEGER and size in (1, 2, 4, 8):
        return Type(f"{order}{'i' if bits & 8 else 'u'}{size}", size)
    if kind == _FLOAT:
        known = _FLOATS.get((size, file.number(start + 13, 1), file.number(start + 15, 1)), "")
        return Type(f"{order}{known}" if known.startswith("f") else known, size)
    if kind == _STRING:
        return Type("text", size)
    if kind == _VARIABLE and bits & 0x0F == 1:
        return Type("texts", size)
    return Type("opaque" if kind == _OPAQUE and size == 2 else "", size)


def read_layout(file: FileBytes, start: int) -> tuple[int, int]:
    """Read a data layout message: where the bytes of a dataset are, and how many."""
    version, kind = file.number(start, 1), file.number(start + 1, 1)
    if version != 3 or kind not in (0, 1):
        raise not_of_keras("a dataset that is split into chunks, compressed or virtual")
    if kind == 0:
        return start + 4, file.number(start + 2, 2)
    address, size = file.number(start + 2, 8), file.number(start + 10, 8)
    return (0, 0) if address == UNDEFINED else (address, size)


def attribute_name(file: FileBytes, start: int, size: int) -> str:
    """Return the name in an attribute message."""
    begin, length = (9 if _version(file, start) == 3 else 8), file.number(start + 2, 2)
    if begin + length > size:
        raise damaged(f"an attribute at {start} that is longer than its message")
    return bytes(file.at(start + begin, length)).partition(b"\0")[0].decode("utf-8", "replace")


def read_attribute(file: FileBytes, start: int, size: int) -> Attribute:
    """Read an attribute message."""
    version = _version(file, start)
    position = start + (9 if version == 3 else 8)
    starts = []
    for length in [file.number(start + offset, 2) for offset in (2, 4, 6)]:
        starts.append(position)
        position += (length + 7) // 8 * 8 if version == 1 else length
    if position > start + size:
        raise damaged(f"an attribute at {start} that is longer than its message")
    kind, space = read_type(file, starts[1]), read_space(file, starts[2])
    return Attribute(attribute_name(file, start, size), kind, space, position, start + size)


def _version(file: FileBytes, start: int) -> int:
    version = file.number(start, 1)
    if version not in (1, 2, 3) or (version > 1 and file.number(start + 1, 1)):
        raise not_of_keras(f"an attribute of version {version}, or of a shared type")
    return version


def read_texts(file: FileBytes, attribute: Attribute) -> Iterator[str]:
    """Yield the texts of an attribute, one after the other along its axes."""
    kind, size, count = attribute.type.name, attribute.type.size, attribute.space.elements
    if count == 0:  # an empty list has no type: h5py stores it as one of numbers
        return
    if kind not in ("text", "texts"):
        raise damaged(f"an attribute {attribute.name[:100]!r} that is no text")
    if size < (16 if kind == "texts" else 1) or attribute.start + count * size > attribute.end:
        raise damaged(f"an attribute {attribute.name[:100]!r} that is longer than its message")
    left = MAX_TEXT
    for position in range(attribute.start, attribute.start + count * size, size):
        start, length = position, size
        if kind == "texts":
            start, length = 0, file.number(position, 4)
            if length:
                start, held = file.heap_object(file.number(position + 4, 8), file.number(position + 12, 4))
                length = min(length, held)
        left -= length
        if left < 0:
            raise damaged(f"an attribute {attribute.name[:100]!r} of more than {MAX_TEXT} bytes of text")
        file.charge(length)
        yield str(file.at(start, length), "utf-8", "replace").rstrip("\0")
