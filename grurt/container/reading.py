"""Reads ``.grurt`` files, which anybody may have written."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from grurt.container.header import REFERENCE_INPUTS, REFERENCE_OUTPUTS, WEIGHTS, Header
from grurt.errors import ModelError, ModelFileError
from grurt.network.network import Network
from grurt.network.reference_run import ReferenceRun
from grurt.network.values import weight_dtypes
from grurt.network.versions import FILE_VERSION, file_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1"}
_MAX_AXES = 8

_FOREIGN = {
    b"PK\x03\x04": "a zip archive, as PyTorch (.pt) and Keras (.keras) write them",
    b"\x89HDF": "an HDF5 file, as Keras (.h5) writes them",
    b"\x80\x02": "a pickle, as old PyTorch checkpoints are",
    b"\x08": "something else, perhaps an ONNX file",
    b"{": "a JSON text",
}
"""How foreign files begin."""


_BEGINNING = b'{"__metadata__":{"grurt":'
"""How the header of a ``.grurt`` file begins."""


class _Extent(msgspec.Struct, frozen=True):
    """Where the data of a tensor lies; metadata has none."""

    data_offsets: tuple[int, int] = (0, 0)


_Extents = dict[str, _Extent]


class _Version(msgspec.Struct, frozen=True):
    version: int


class _Metadata(msgspec.Struct, frozen=True):
    grurt: str | None = None


class _Container(msgspec.Struct, frozen=True):
    """The part of a safetensors header that is not about tensors."""

    metadata: _Metadata = msgspec.field(name="__metadata__", default=_Metadata())


def read(path: str | os.PathLike[str]) -> Network:
    """Read a file; all of it is checked before anything is used, and nothing in it is ever run.

    Raises
    ------
    ModelFileError
        If it is not a ``.grurt`` file, is damaged, contradicts itself, or is of a newer version.
    OSError
        If there is no such file, or it cannot be read.
    """
    try:
        return _decode(_content(Path(path)))
    except (ModelFileError, ModelError) as error:
        raise ModelFileError(f"{path}: {error}") from error


def _decode(content: bytes) -> Network:
    entries = _entries(content)
    header = _header(content)
    tensors = {name: _array(name, entry["dtype"], entry["shape"], entry["data"]) for name, entry in entries}
    weights = _take(tensors, WEIGHTS)
    inputs = _take(tensors, REFERENCE_INPUTS)
    outputs = _take(tensors, REFERENCE_OUTPUTS)
    if tensors:
        raise ModelFileError(f"tensors that a model does not have: {', '.join(sorted(tensors))}")
    dtypes = weight_dtypes(header.layers)
    for name, array in weights.items():
        if array.dtype != (expected := dtypes.get(name, "float32")):
            raise ModelFileError(f"weight {name}: expected {expected}, got {array.dtype}")
    run = ReferenceRun(inputs, outputs, header.reference_run.produced_by) if header.reference_run else None
    if run is None and (inputs or outputs):
        raise ModelFileError("the file has tensors of a reference run, but its header describes none")
    return Network(
        inputs=header.inputs,
        layers=header.layers,
        outputs=header.outputs,
        weights=weights,
        signature=header.signature,
        source=header.source,
        reference_run=run,
    )


def _content(path: Path) -> bytes:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "neither a file nor a folder"
        raise ModelFileError(f"expected a .grurt file, got {found}")
    return path.read_bytes()


def _entries(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the container's tensors by name: dtype, shape and data of each, which is checked to be within the file."""
    from safetensors import SafetensorError, deserialize

    try:
        return list(deserialize(content))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ModelFileError(_not_a_container(content)) from error


def _array(name: str, dtype: str, shape: list[int], data: bytearray) -> NDArray[np.generic]:
    if dtype not in _DTYPES:
        raise ModelFileError(f"tensor {name}: expected a dtype of {', '.join(_DTYPES)}, got {dtype}")
    if len(shape) > _MAX_AXES or not data:
        raise ModelFileError(f"tensor {name}: expected at most {_MAX_AXES} axes, none of them empty, got shape {shape}")
    array: NDArray[np.generic] = np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _not_a_container(content: bytes) -> str:
    if not content:
        return "expected a .grurt file, got an empty file"
    for beginning, description in _FOREIGN.items():
        if content.startswith(beginning):
            return f"expected a .grurt file, got {description}: use `grurt convert` to make a model of it"
    if content[8:].startswith(_BEGINNING):
        return _damage(content)
    return "expected a .grurt file, got something else"


def _damage(content: bytes) -> str:
    """Say what is wrong with a container that begins as one of grurt's, but that safetensors does not take."""
    size = 8 + int.from_bytes(content[:8], "little")
    with contextlib.suppress(ValueError, RecursionError):  # a DecodeError is a ValueError; or there is no tensor
        size += max(entry.data_offsets[1] for entry in msgspec.json.decode(content[8:size], type=_Extents).values())
    if len(content) < size:
        return f"the file is truncated: expected {size} bytes, got {len(content)}"
    return "the file is damaged: its header does not fit the data behind it"


def _header(content: bytes) -> Header:
    length = int.from_bytes(content[:8], "little")
    try:
        text = msgspec.json.decode(content[8 : 8 + length], type=_Container).metadata.grurt
        if text is None:
            raise ModelFileError(
                "expected a .grurt file, got another safetensors file: use `grurt convert` to make a model of it"
            )
        version = msgspec.json.decode(text, type=_Version).version
        if version > FILE_VERSION:
            raise ModelFileError(
                f"expected format version {FILE_VERSION}, got the newer version {version}: upgrade grurt to read it"
            )
        if version < 1:
            raise ModelFileError(f"expected format version 1 to {FILE_VERSION}, got version {version}")
        header = msgspec.json.decode(text, type=Header)
        if version < file_version(header.layers):
            kinds = ", ".join(sorted({layer.kind for layer in header.layers if layer.first_file_version > version}))
            raise ModelFileError(f"the header is damaged: format version {version} does not have the layers {kinds}")
        return header
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelFileError(f"the header is damaged: {error}") from error


def _take(tensors: dict[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.generic]]:
    """Remove the tensors whose names begin with the prefix, and return them by the rest of their names."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
