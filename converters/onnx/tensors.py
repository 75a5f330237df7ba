"""Tensors as ONNX files store them, inside the protobuf or in a file beside it, to NumPy arrays.

Source: ``TensorProto`` and ``ExternalData`` of the ONNX specification (onnx/onnx.proto).
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from onnx import TensorProto

from grurt.array_types import Array
from grurt.converters.graph.elements import MAX_RANK, STORED, Element, dtype_of
from grurt.converters.onnx.narrow import NARROW, bits_of
from grurt.errors import ConversionError
from grurt.regular_files import open_regular_file

_File = tuple[int, int]
"""The device and the number of a file, which are the same for all its names."""

_Part = tuple[_File, int, int]
"""A part of a file: where it begins, and how long it is."""

_BITS_IN_INT32 = (Element.FLOAT16, Element.BFLOAT16)


def read_tensor(proto: TensorProto, external: ExternalData) -> Array:
    """Return the array that a ``TensorProto`` holds: a view of its bytes where possible, read-only.

    Raises
    ------
    ConversionError
        If its data are missing, or are not as long as its shape and type say.
    UnsupportedError
        If the element type is not supported.
    """
    where = f"tensor {text(proto.name)[:100]!r}"
    shape = tuple(proto.dims)
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise ConversionError(f"{where}: expected at most {MAX_RANK} axes, none of negative size, got {shape[:20]}")
    dtype, needed = _storage(proto, where)
    if proto.data_location == TensorProto.EXTERNAL:
        return external.array(proto, where).reshape(shape)
    flat = _from_bytes(proto.raw_data, dtype, where) if proto.HasField("raw_data") else _from_fields(proto, dtype)
    if flat.size != needed:
        raise ConversionError(
            f"{where}: its shape {shape} needs {needed} elements, the file holds {flat.size}: it is damaged"
        )
    return _numbers(flat, proto.data_type)[: math.prod(shape)].reshape(shape)


def _storage(proto: TensorProto, where: str) -> tuple[np.dtype[Any], int]:
    """Return what a tensor is stored in, and how many of these: as many as it has elements, or fewer, where packed."""
    count = math.prod(proto.dims)
    if proto.data_type in NARROW:
        return np.dtype(np.uint8), -(-count * bits_of(proto.data_type) // 8)
    dtype_of(proto.data_type, where)
    return STORED[proto.data_type], count


def text(value: str | bytes) -> str:
    """Return a string of the file; protobuf hands out those that are not UTF-8 as bytes, and they are refused."""
    if isinstance(value, bytes):
        raise ConversionError(f"expected names in UTF-8, got {value[:50]!r}: the file is damaged")
    return value


class ExternalData:
    """The files beside a model that hold its larger weights: each part of them is read once.

    Parameters
    ----------
    folder
        The model's folder. Nothing outside of it is opened. None if the model has no folder, as one in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.size = 0
        """Bytes read."""
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._parts: dict[_Part, bytes] = {}
        self._numbers: dict[tuple[_Part, int], Array] = {}
        self._taken: Counter[_File] = Counter()

    def read(self, proto: TensorProto) -> bytes:
        """Return the bytes of a tensor, checked to be as many as it needs, and to lie inside the file.

        Raises
        ------
        ConversionError
            If they are not there, or are longer together than the file: then parts of it overlap.
        """
        return self._parts[self._part(proto, f"tensor {text(proto.name)[:100]!r}")]

    def array(self, proto: TensorProto, where: str) -> Array:
        """Return the numbers of a tensor, one behind the other; tensors of the same bytes share them."""
        part = self._part(proto, where)
        key = part, int(proto.data_type)
        if key not in self._numbers:
            dtype, _ = _storage(proto, where)
            self._numbers[key] = _numbers(np.frombuffer(self._parts[part], dtype), proto.data_type)
        return self._numbers[key][: math.prod(proto.dims)]

    def _part(self, proto: TensorProto, where: str) -> _Part:
        """Return where a tensor's bytes lie, and have them read."""
        entries = {text(entry.key): text(entry.value) for entry in proto.external_data}
        location = entries.get("location", "")
        dtype, needed = _storage(proto, where)
        n_bytes = needed * dtype.itemsize
        start = _natural_number(entries.get("offset", "0"), where)
        length = _natural_number(entries.get("length", str(n_bytes)), where)
        if location not in self._paths:
            self._paths[location] = self._path(location, where)
        try:
            with open_regular_file(self._paths[location]) as file:
                status = os.fstat(file.fileno())
                if length != n_bytes or start + length > status.st_size:
                    raise ConversionError(
                        f"{where}: expected {n_bytes} bytes of {location[:200]!r}, got {length} at offset {start} of "
                        f"{status.st_size}: the model and its data file do not belong together"
                    )
                part = (status.st_dev, status.st_ino), start, length
                if part not in self._parts:
                    self._count(part, status.st_size, location, where)
                    file.seek(start)
                    self._parts[part] = file.read(length)
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or "memory cannot hold it"
            raise ConversionError(f"{where}: cannot read {location[:200]!r}: {reason}") from error
        if len(self._parts[part]) != length:
            raise ConversionError(f"{where}: the file {location[:200]!r} became shorter while it was read")
        return part

    def _count(self, part: _Part, file_size: int, location: str, where: str) -> None:
        """Count what is read of a file, by whatever name it is called."""
        file, _, length = part
        self._taken[file] += length
        self.size += length
        if self._taken[file] > file_size:
            raise ConversionError(
                f"{where}: expected tensors beside each other in {location[:200]!r}, got some that overlap: export "
                "the model again"
            )

    def _path(self, location: str, where: str) -> Path:
        if self._folder is None:
            raise ConversionError(
                f"{where}: its data are in another file, {location[:200]!r}, which a model in memory does not have; "
                "export with external_data=False"
            )
        parts = PurePosixPath(location).parts
        outside = not parts or PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
        if outside or ".." in parts or "\\" in location or "\0" in location:
            raise ConversionError(f"{where}: its data file {location[:200]!r} must lie in the model's own folder")
        folder = self._folder.resolve()
        try:
            path = (folder / location).resolve()
            present = path.is_file()
        except (OSError, RuntimeError) as error:  # a loop of links, or a name that is too long
            raise ConversionError(f"{where}: its data file {location[:200]!r} cannot be found") from error
        if not path.is_relative_to(folder):
            raise ConversionError(f"{where}: its data file {location[:200]!r} is a link that leaves the model's folder")
        if not present:
            raise ConversionError(
                f"{where}: its data are in {location[:200]!r}, which is not there; put the file beside the model, "
                "where the exporter wrote it, or export with external_data=False"
            )
        return path


def _from_bytes(data: bytes, dtype: np.dtype[Any], where: str) -> Array:
    if len(data) % dtype.itemsize:
        raise ConversionError(f"{where}: {len(data)} bytes are no multiple of {dtype.itemsize}: the file is damaged")
    return np.frombuffer(data, dtype)


def _from_fields(proto: TensorProto, dtype: np.dtype[Any]) -> Array:
    if proto.data_type == TensorProto.FLOAT:
        return _listed(proto.float_data, dtype)
    if proto.data_type == TensorProto.DOUBLE:
        return _listed(proto.double_data, dtype)
    if proto.data_type == TensorProto.INT64:
        return _listed(proto.int64_data, dtype)
    if proto.data_type in (TensorProto.UINT32, TensorProto.UINT64):
        return _listed(proto.uint64_data, dtype)
    numbers = _listed(proto.int32_data, np.dtype(np.int32))
    if proto.data_type in _BITS_IN_INT32:
        return numbers.astype(np.uint16).view(dtype)
    return numbers.astype(dtype)


def _listed(numbers: Sequence[float], dtype: np.dtype[Any]) -> Array:
    return np.fromiter(numbers, dtype, len(numbers))


def _numbers(stored: Array, data_type: int) -> Array:
    """Return the numbers that are stored, in the byte order of this machine: a view where possible."""
    if data_type in NARROW:
        return NARROW[data_type].numbers(stored)
    if data_type == Element.BFLOAT16:
        return _widened(stored)
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _widened(bfloat16: Array) -> Array:
    """Return bfloat16 bit patterns as float32: they are the upper halves of float32 numbers."""
    return (bfloat16.astype(np.uint32) << 16).view(np.float32)


def _natural_number(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise ConversionError(f"{where}: expected an offset or length in bytes, got {text[:50]!r}: the file is damaged")
    return int(text)
