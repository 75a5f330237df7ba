"""Tells what a file is by its content: its name decides nothing."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from grurt.container.header import is_of_model
from grurt.converters.archive import open_archive
from grurt.converters.foreign_formats import HEAD_BYTES, by_content, by_members, by_name, of_folder
from grurt.converters.reading import unreadable_files_named
from grurt.errors import ConversionError, DesignReason, UnsupportedError
from grurt.regular_files import NotRegularError, open_regular_file

_TAR_MAGIC = (257, b"ustar")
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""torch's magic number as a pickle, with which its files began before version 1.6: behind the protocol, and a frame."""


class FileFormat(Enum):
    """What `converters.convert` reads."""

    ONNX = "onnx"
    TORCH = "torch"
    """A checkpoint of ``torch.save``, in the zip format."""
    LEGACY_TORCH = "legacy torch"
    """A checkpoint in the format before torch 1.6."""
    SAFETENSORS = "safetensors"
    TORCHSCRIPT = "torchscript"
    """A program of ``torch.jit.save``: its weights are read, its code is not."""
    PT2 = "pt2"
    """A program of ``torch.export.save``: graph and weights."""
    JSON = "json"
    """RTNeural's list of layers, or a state dict."""
    NPZ = "npz"
    """Arrays by name, of ``numpy.savez``."""
    KERAS = "keras"
    """A Keras model: a zip archive of JSON and HDF5."""
    HDF5 = "hdf5"
    """A Keras model, or weights of one, in HDF5 alone."""


_REASONS = {"grurt": None, "pickle": DesignReason.OWN_CODE}
"""Why those of the files below stay refused that are none of another program's formats."""

_REFUSED = {
    "grurt": ("a grurt model already", "use it as it is, grurt.load reads it"),
    "tar": ("a tar archive, as torch wrote them before version 0.1.10", "load and save it with a newer torch"),
    "pickle": (
        "a pickle that torch.save did not write",
        "unpickling runs code, so grurt does not: save module.state_dict() with torch.save",
    ),
    "zip": ("a zip archive that no known framework wrote", "give the model file itself"),
}


def detect_format(path: Path) -> FileFormat:
    """Return the format of a file.

    Raises
    ------
    ConversionError
        If there is no such file, or it is empty, or nothing known.
    UnsupportedError
        If it is known, but not read; the message says what to do.
    """
    with unreadable_files_named(path.name):
        try:
            with open_regular_file(path) as file:
                known = _known(path, file)
        except NotRegularError as error:
            if error.found != "a folder":
                raise ConversionError(f"{path.name}: expected a file, got {error.found}; write it to a file") from error
            known = _of_folder(path, error)
    if isinstance(known, FileFormat):
        return known
    found = _REFUSED[known] if isinstance(known, str) else known or by_name(path.name)
    if found is not None:
        what, advice = found
        raise UnsupportedError(
            f"{path.name}: expected a model that grurt reads, got {what}; {advice}",
            reason=_REASONS.get(known, DesignReason.OTHER_FORMAT)
            if isinstance(known, str)
            else DesignReason.OTHER_FORMAT,
        )
    raise ConversionError(
        f"{path.name}: expected a model that grurt reads (.onnx, .pt, .pt2, .safetensors, .keras, .h5, .npz, .json), "
        "got an unknown format; the file is damaged, or not a model"
    )


def _of_folder(path: Path, error: Exception) -> tuple[str, str]:
    found = of_folder(path)
    if found is None:
        named = path.name or path
        raise ConversionError(f"{named}: expected a file, got a folder; give the model file in it") from error
    return found


def _known(path: Path, file: BinaryIO) -> FileFormat | tuple[str, str] | str | None:
    head = file.read(HEAD_BYTES)
    if not head:
        raise ConversionError(f"{path.name}: expected a model, got an empty file; was it written to the end?")
    found = _format(head, os.fstat(file.fileno()).st_size)
    return _zip_format(path, file) if found is None and head.startswith(b"PK\x03\x04") else found


def _format(head: bytes, size: int) -> FileFormat | tuple[str, str] | str | None:
    if _is_safetensors(head, size):
        return "grurt" if is_of_model(head) else FileFormat.SAFETENSORS
    if head.startswith(b"\x80") and _LEGACY_MAGIC in head[:32]:
        return FileFormat.LEGACY_TORCH
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return FileFormat.HDF5
    if head[_TAR_MAGIC[0] :].startswith(_TAR_MAGIC[1]):
        return "tar"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head.lstrip()[:1] in (b"{", b"["):
        return FileFormat.JSON
    return by_content(head) or (FileFormat.ONNX if _is_model_proto(head) else None)


def _is_safetensors(head: bytes, size: int) -> bool:
    """Tell a safetensors file: the length of its header as 8 bytes, and the header, a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _is_model_proto(head: bytes) -> bool:
    """Tell an ONNX ``ModelProto``, which begins with field 1, ``ir_version``, a small varint."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 0x80


def _zip_format(path: Path, file: BinaryIO) -> FileFormat | tuple[str, str] | str:
    try:
        with open_archive(file) as archive:
            names = archive.names
    except ConversionError as error:
        raise ConversionError(f"{path.name}: {error}") from error
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files:
        return FileFormat.TORCHSCRIPT
    if "data.pkl" in files:
        return FileFormat.TORCH
    if "model.weights.h5" in files:
        return FileFormat.KERAS
    if {"archive_format", "serialized_exported_program.json"} & files:
        return FileFormat.PT2
    if (foreign := by_members(names)) is not None:
        return foreign
    if "model.json" in files:
        return FileFormat.PT2
    return FileFormat.NPZ if names and all(name.endswith(".npy") for name in names) else "zip"
