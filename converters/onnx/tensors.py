"""Tensors as ONNX files store them, inside the protobuf or in a file beside it, to NumPy arrays.

Source: ``TensorProto`` and ``ExternalData`` of the ONNX specification (onnx/onnx.proto).
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from onnx import TensorProto

from grurt.array_types import Array
from grurt.converters.graph.elements import MAX_RANK, STORED, Element, dtype_of
from grurt.errors import ConversionError

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
    dtype_of(proto.data_type, where)
    shape = tuple(proto.dims)
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise ConversionError(f"{where}: expected at most {MAX_RANK} axes, none of negative size, got {shape[:20]}")
    dtype = STORED[proto.data_type]
    if proto.data_location == TensorProto.EXTERNAL:
        flat = np.frombuffer(external.read(proto, math.prod(shape) * dtype.itemsize), dtype)
    elif proto.HasField("raw_data"):
        flat = _from_bytes(proto.raw_data, dtype, where)
    else:
        flat = _from_fields(proto, dtype)
    if flat.size != math.prod(shape):
        raise ConversionError(
            f"{where}: its shape {shape} needs {math.prod(shape)} elements, the file holds {flat.size}: it is damaged"
        )
    array = _widened(flat) if proto.data_type == Element.BFLOAT16 else flat.astype(dtype.newbyteorder("="), copy=False)
    return array.reshape(shape)


def text(value: str | bytes) -> str:
    """Return a string of the file; protobuf hands out those that are not UTF-8 as bytes, and they are refused."""
    if isinstance(value, bytes):
        raise ConversionError(f"expected names in UTF-8, got {value[:50]!r}: the file is damaged")
    return value


class ExternalData:
    """The files beside a model that hold its larger weights.

    Parameters
    ----------
    folder
        The model's folder. Nothing outside of it is opened. None if the model has no folder, as one in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._contents: dict[str, bytes] = {}

    def read(self, proto: TensorProto, n_bytes: int) -> memoryview:
        """Return the bytes of a tensor, checked to be ``n_bytes`` and to lie inside the file."""
        where = f"tensor {proto.name[:100]!r}"
        entries = {text(entry.key): text(entry.value) for entry in proto.external_data}
        location = entries.get("location", "")
        content = self._content(location, where)
        start = _natural_number(entries.get("offset", "0"), where)
        length = _natural_number(entries.get("length", str(n_bytes)), where)
        if length != n_bytes or start + length > len(content):
            raise ConversionError(
                f"{where}: expected {n_bytes} bytes of {location!r}, got {length} at offset {start} of {len(content)}: "
                "the model and its data file do not belong together"
            )
        return memoryview(content)[start : start + length]

    def _content(self, location: str, where: str) -> bytes:
        if location not in self._contents:
            path = self._path(location, where)
            try:
                self._contents[location] = path.read_bytes()
            except OSError as error:
                raise ConversionError(f"{where}: cannot read {location!r}: {error.strerror}") from error
        return self._contents[location]

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
        return np.array(proto.float_data, dtype)
    if proto.data_type == TensorProto.DOUBLE:
        return np.array(proto.double_data, dtype)
    if proto.data_type == TensorProto.INT64:
        return np.array(proto.int64_data, dtype)
    numbers = np.array(proto.int32_data, np.int32)
    if proto.data_type in _BITS_IN_INT32:
        return numbers.astype(np.uint16).view(dtype)
    return numbers.astype(dtype)


def _widened(bfloat16: Array) -> Array:
    """Return bfloat16 bit patterns as float32: they are the upper halves of float32 numbers."""
    return (bfloat16.astype(np.uint32) << 16).view(np.float32)


def _natural_number(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise ConversionError(f"{where}: expected an offset or length in bytes, got {text[:50]!r}: the file is damaged")
    return int(text)
