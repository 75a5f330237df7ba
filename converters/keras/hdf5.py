"""Reads the HDF5 files that Keras writes, without libhdf5: groups, arrays of numbers, and attributes that are text.

libhdf5 is not made for files of strangers: of files with a few bytes changed, one in five hundred crashes it, or keeps
it busy for ever. What Keras uses of the format is small, and the same since Keras 1: the layouts of HDF5 1.6, with
arrays in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from grurt.array_types import Array
from grurt.converters.keras.hdf5_bytes import (
    FileBytes,
    Header,
    Message,
    damaged,
    group_entries,
    not_of_keras,
    read_header,
    root_address,
)
from grurt.converters.keras.hdf5_types import (
    Attribute,
    attribute_name,
    read_attribute,
    read_layout,
    read_space,
    read_texts,
    read_type,
)
from grurt.errors import UnsupportedError

MAX_OBJECTS = 1 << 16
MAX_DEPTH = 64
MAX_PATH = 1000

_SPACE, _LINK_INFO, _TYPE, _EXTERNAL, _LINK, _LAYOUT, _FILTERS = 0x01, 0x02, 0x03, 0x07, 0x06, 0x08, 0x0B
_SYMBOL_TABLE, _ATTRIBUTE_INFO = 0x11, 0x15

_NOTHING = Header({}, ())


class Hdf5:
    """The groups and datasets of a file, by path; the root is ``""``.

    Nothing in it leads out of the file: links, virtual datasets and external storage are refused.

    Parameters
    ----------
    data
        The bytes of the file.

    Raises
    ------
    ConversionError
        If the file is damaged.
    UnsupportedError
        If it uses parts of the format that Keras does not.
    """

    def __init__(self, data: bytes) -> None:
        self._file = FileBytes(data)
        self._headers: dict[str, Header] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._budget = len(data)
        self._arrays: dict[str, Array] = {}
        self._attributes: dict[str, dict[str, Message]] = {}
        self._walk()

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The names in each group."""
        return MappingProxyType(self._groups)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The paths of the datasets."""
        return tuple(path for path in self._headers if path not in self._groups)

    def array(self, path: str) -> Array:
        """Return a dataset: floating point as float32, integers as they are. All of them together must fit the file.

        Raises
        ------
        ConversionError
            If there is none, or its bytes are not those that its shape needs.
        UnsupportedError
            If it does not hold numbers.
        """
        if path not in self._arrays:
            self._arrays[path] = self._read(path)
        return self._arrays[path]

    def _read(self, path: str) -> Array:
        messages = self._header(path).messages
        if path in self._groups or not {_SPACE, _TYPE, _LAYOUT} <= messages.keys():
            raise damaged(f"no dataset {path[:200]!r}")
        if _FILTERS in messages or _EXTERNAL in messages:
            raise not_of_keras(f"a dataset {path[:200]!r} that is compressed, or kept in another file")
        shape = read_space(self._file, messages[_SPACE].start).shape
        dtype = self.dtype(path)
        if shape is None or 0 in shape or not dtype:
            raise UnsupportedError(
                f"HDF5: dataset {path[:200]!r}: expected an array of numbers, got something else; save the model in "
                "float32"
            )
        start, size = read_layout(self._file, messages[_LAYOUT].start)
        item = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        needed = item * int(np.prod([1, *shape], dtype=object))
        self._budget -= needed
        if size < needed or self._budget < 0:
            raise damaged(f"a dataset {path[:200]!r} of {size} bytes for the shape {shape} of {dtype}")
        return _decode(self._file.at(start, needed), dtype).reshape(shape)

    def dtype(self, path: str) -> str:
        """Return NumPy's name of a dataset's type, or ``"bfloat16"``, or ``""`` if it holds no numbers."""
        messages = self._header(path).messages
        found = read_type(self._file, messages[_TYPE].start).name if _TYPE in messages else ""
        if found == "opaque":
            return "bfloat16"
        return "" if found in ("text", "texts") else found

    def text(self, path: str, name: str) -> str | None:
        """Return an attribute that is a text, or None if there is none of that name."""
        attribute = self._attribute(path, name)
        return None if attribute is None else next(read_texts(self._file, attribute), "")

    def texts(self, path: str, name: str) -> list[str] | None:
        """Return an attribute that is a list of texts, or None if there is none of that name.

        Keras splits lists that are too long for one attribute: ``name0``, ``name1`` and so on.
        """
        whole = self._attribute(path, name)
        if whole is not None:
            return list(read_texts(self._file, whole))
        found: list[str] = []
        index = 0
        while (part := self._attribute(path, f"{name}{index}")) is not None:
            found += read_texts(self._file, part)
            index += 1
        return found if index else None

    def charge(self, size: int) -> None:
        """Count what is made of the file's structures; ConversionError if it is more than the file can hold."""
        self._file.charge(size)

    def _walk(self) -> None:
        root = root_address(self._file)
        stack, seen = [("", root)], {root}
        while stack:
            path, address = stack.pop()
            header = self._headers[path] = read_header(self._file, address)
            table = header.messages.get(_SYMBOL_TABLE)
            if table is None:
                self._check_dataset(path)
                continue
            tree, heap = self._file.number(table.start, 8), self._file.number(table.start + 8, 8)
            entries = dict(group_entries(self._file, tree, heap))
            self._groups[path] = tuple(entries)
            for name, child in entries.items():
                if not name or child in seen or len(seen) >= MAX_OBJECTS or path.count("/") >= MAX_DEPTH:
                    raise damaged(f"a tree that is too large, or comes back to itself, at {path[:100]}/{name[:100]}")
                if len(path) + len(name) > MAX_PATH:
                    raise damaged(f"a path of more than {MAX_PATH} characters, at {path[:100]}/{name[:100]}")
                seen.add(child)
                stack.append((f"{path}/{name}" if path else name, child))
                self._file.charge(len(path))

    def _check_dataset(self, path: str) -> None:
        kinds = self._headers[path].messages.keys()
        if kinds & {_LINK_INFO, _LINK} or not path:
            raise not_of_keras(f"a group {path[:200]!r} of HDF5's newer layout")

    def _header(self, path: str) -> Header:
        return self._headers.get(path, _NOTHING)

    def _attribute(self, path: str, name: str) -> Attribute | None:
        if path not in self._attributes:
            header = self._header(path)
            if _ATTRIBUTE_INFO in header.messages:
                raise not_of_keras(f"attributes of {path[:200]!r} in HDF5's newer layout")
            self._attributes[path] = {
                attribute_name(self._file, item.start, item.size): item for item in header.attributes
            }
        message = self._attributes[path].get(name)
        return None if message is None else read_attribute(self._file, message.start, message.size)


def _decode(data: memoryview, dtype: str) -> Array:
    if dtype == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    array = np.frombuffer(data, dtype)
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):  # what is no float32 becomes infinite or NaN, and is refused by name
        return array.astype(np.float32)
